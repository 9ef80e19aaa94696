"""A step goes uphill by its size in grey levels, whatever the gradient's magnitude."""

from functools import partial

import pytest
import torch
from torch import Tensor

from dream.networks.network import Network, ValueAndGrad
from dream.render.ascent import (
    Adam,
    Ascent,
    NormalisedStep,
    Optimizer,
    SmoothedGradient,
    gradient_ascent,
)
from dream.render.objective import energy
from dream.render.transform import blur, jitter


def run_ascent(
    picture: Tensor,
    value_and_grad: ValueAndGrad,
    *,
    steps: int = 3,
    step: float = 1.5,
    limit: int = 0,
    smoothing: float = 0.0,
    rule: Optimizer | None = None,
) -> list[Tensor]:
    view = partial(jitter, max_shift=limit, generator=torch.Generator().manual_seed(3))
    rule = rule or SmoothedGradient(NormalisedStep(step), smoothing)
    ascent = Ascent(picture, value_and_grad, rule, transform=view)
    return [ascent.variables for _ in gradient_ascent(ascent, steps)]


def ramp_objective(picture: Tensor) -> tuple[Tensor, Tensor]:
    """An objective with a known gradient: bright on the left, dark on the right."""
    ramp = torch.linspace(1, -1, picture.shape[3]).expand_as(picture)
    return (picture * ramp).sum(), ramp.clone()


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_a_step_moves_pixels_by_its_grey_levels_on_the_mean(size: float) -> None:
    grey = torch.full((1, 3, 40, 40), 0.5)
    (after,) = run_ascent(grey, lambda x: (x.sum(), ramp_objective(x)[1] * size), steps=1, step=2.0)
    assert (after - grey).abs().mean().item() * 255 == pytest.approx(2.0, rel=1e-3)
    assert after[0, 0, 0, 0] > 0.5 > after[0, 0, 0, -1]


def test_a_gradient_of_zeros_leaves_the_picture_as_it_is(noise: Tensor) -> None:
    (after,) = run_ascent(noise, lambda x: (x.sum(), torch.zeros_like(x)), steps=1)
    assert torch.equal(after, noise)


def test_the_picture_stays_in_range(noise: Tensor) -> None:
    last = run_ascent(noise, ramp_objective, steps=20, step=20.0)[-1]
    assert (last.min().item(), last.max().item()) == (0, 1)


def test_steps_equal_a_plain_loop(network: Network, noise: Tensor) -> None:
    value_and_grad = network.value_and_grad(energy("inception3b"))
    generator, expected = torch.Generator().manual_seed(3), noise
    for _ in range(3):
        shift = [int(torch.randint(-8, 9, (), generator=generator)) for _ in range(2)]
        view = torch.roll(expected, shift, (2, 3)).requires_grad_()
        activation = network.activations(view, ("inception3b",))["inception3b"]
        (activation.square().sum() / 2).backward()
        assert view.grad is not None
        gradient = blur(torch.roll(view.grad, (-shift[0], -shift[1]), (2, 3)), 0.5)
        step = 1.5 / 255 * gradient / gradient.abs().mean()
        expected = (expected + step).clamp(0, 1).detach()
    last = run_ascent(noise, value_and_grad, limit=8, smoothing=0.5)[-1]
    assert (last - expected).abs().max() < 1e-5


def test_adam_equals_torchs(noise: Tensor) -> None:
    target = noise.flip(3)
    parameter = torch.nn.Parameter(noise.clone())
    reference = torch.optim.Adam([parameter], lr=0.05, maximize=True)
    variables, rule = noise, Adam(0.05)
    for _ in range(20):
        reference.zero_grad()
        (-(parameter - target).square().sum()).backward()
        reference.step()
        variables = rule(variables, -2 * (variables - target))
    assert (variables - parameter).abs().max() < 1e-5


def test_the_gradient_is_carried_back_through_view_and_canvas(noise: Tensor) -> None:
    # The canvas doubles and the transform mirrors, so the gradient is known.
    weights = torch.rand(noise.shape, generator=torch.Generator().manual_seed(5))
    seen: list[Tensor] = []

    def rule(variables: Tensor, gradient: Tensor) -> Tensor:
        seen.append(gradient)
        return variables

    ascent = Ascent(
        noise,
        lambda x: ((x * weights).sum(), weights),
        rule,
        render=lambda x: 2 * x,
        transform=lambda x: x.flip(3),
    )
    (value,) = gradient_ascent(ascent, 1)
    assert torch.allclose(seen[0], 2 * weights.flip(3))
    assert value.item() == pytest.approx((2 * noise.flip(3) * weights).sum().item(), rel=1e-5)
