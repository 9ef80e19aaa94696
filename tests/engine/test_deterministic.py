"""Deterministic sums are correct and independent of their order."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dream import deterministic
from dream.networks import catalogue
from dream.networks.convolution import (
    HAS_DETERMINISTIC_ONEDNN,
    FrozenConv,
    FrozenStridedConv,
    freeze_convolution,
    merge_pointwise,
)
from dream.networks.network import MAX_EXTRACTORS, Network
from dream.render.canvas import FourierCanvas
from tests.conftest import load_dreamlet, use_threads
from tools.measure import save_random_weights

needs_avx2 = pytest.mark.skipif(not HAS_DETERMINISTIC_ONEDNN, reason="no x86-64, or no oneDNN")


def random_convolution(
    channels: int, width: int, kernel: int | tuple[int, int], stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """Return a convolution with random weights and bias."""
    torch.manual_seed(0)
    made = nn.Conv2d(channels, width, kernel, stride, padding=padding)
    return made.requires_grad_(False).to(memory_format=torch.channels_last)


def sequential_convolution(x: Tensor, weight: Tensor, bias: Tensor, edge: int) -> Tensor:
    """Convolve at stride 1 by fused multiply-adds: by row, column and channel, the bias last."""
    height, width = (
        side + 2 * edge - kernel + 1
        for side, kernel in zip(x.shape[2:], weight.shape[2:], strict=True)
    )
    around = F.pad(x, (edge, edge, edge, edge)).double()
    total = torch.zeros(len(x), len(weight), height, width)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            for channel in range(weight.shape[1]):
                seen = around[:, channel, None, row : row + height, column : column + width]
                factor = weight[:, channel, row, column].double().view(1, -1, 1, 1)
                total = (total.double() + seen * factor).float()
    return total + bias.view(1, -1, 1, 1)


@needs_avx2
@pytest.mark.parametrize(
    ("channels", "width", "kernel"),
    [
        *((40, 40, 1), (120, 8, 1), (328, 80, 1), (520, 104, 1)),
        *((8, 24, 5), (40, 120, 3), (200, 104, 3), (12, 40, 4), (40, 12, 4)),
    ],
)
@pytest.mark.parametrize("size", [(1, 7, 11), (2, 6, 6)])
def test_a_frozen_convolution_adds_up_one_by_one(
    channels: int, width: int, kernel: int, size: tuple[int, int, int]
) -> None:
    # Also where PyTorch would use another library: for one thread, or a small image.
    plain = random_convolution(channels, width, kernel, padding=kernel // 2)
    x = torch.randn(size[0], channels, *size[1:], generator=torch.Generator().manual_seed(1))
    assert isinstance(freeze_convolution(plain), FrozenConv) and plain.bias is not None
    expected = sequential_convolution(x, plain.weight, plain.bias, kernel // 2)
    assert torch.equal(freeze_convolution(plain)(x), expected)


@needs_avx2
@pytest.mark.parametrize("size", [(96, 96), (133, 200), (297, 447)])
def test_threads_do_not_decide_over_the_gradient_of_the_first_convolution(
    size: tuple[int, int],
) -> None:
    first = freeze_convolution(random_convolution(3, 40, 7, 2, 3))
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)).requires_grad_()
    gradients: list[Tensor] = []
    for threads in range(1, 9):
        with use_threads(threads):
            gradients += torch.autograd.grad(first(x).square().sum(), x)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


@needs_avx2
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (45, 67), (64, 31)])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding"),
    [
        *((3, 7, 2, 3), (3, 3, 2, 0), (3, 3, 2, 1), (3, 11, 4, 2), (3, 3, 1, 1)),
        *((16, 1, 1, 0), (16, 3, 1, 1), (16, 5, 1, 2), (16, (1, 7), 1, (0, 3))),
    ],
)
def test_a_frozen_convolution_equals_the_one_it_was(
    channels: int, kernel: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    plain = random_convolution(channels, 8, kernel, stride, padding)
    frozen = freeze_convolution(plain)
    assert type(frozen) is (FrozenStridedConv if stride > 1 else FrozenConv)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, *size, generator=generator).requires_grad_()
    made = frozen(x)
    wide = x.detach().double().requires_grad_()
    expected = plain.double()(wide)
    assert made.shape == expected.shape and (made - expected).abs().max() < 1e-5
    slope = torch.randn(expected.shape, generator=generator)
    (gradient,) = torch.autograd.grad(made, x, slope)
    (right,) = torch.autograd.grad(expected, wide, slope.double())
    assert gradient.shape == x.shape and (gradient - right).abs().max() < 1e-5


@needs_avx2
@pytest.mark.parametrize("relu", [False, True])
def test_convolutions_that_are_one_make_what_each_made(relu: bool) -> None:
    widths = (8, 1, 12)
    plain = [random_convolution(16, width, 1) for width in widths]
    frozen = [freeze_convolution(each) for each in plain]
    one = merge_pointwise([each for each in frozen if isinstance(each, FrozenConv)])
    generator = torch.Generator().manual_seed(1)
    for size in ((33, 47), (5, 9), (33, 47)):  # The weight is cached for one size at a time.
        x = torch.randn(2, 16, *size, generator=generator).requires_grad_()
        made = one(x, relu)
        alone = [each(x) for each in frozen]
        assert all(map(torch.equal, made, map(torch.relu, alone) if relu else alone))
        slopes = [torch.randn(each.shape, generator=generator) for each in alone]
        (gradient,) = torch.autograd.grad(made, x, slopes)
        wide = x.detach().double().requires_grad_()
        expected = [each.double()(wide) for each in plain]
        shut = [
            each * (made > 0) if relu else each for each, made in zip(slopes, alone, strict=True)
        ]
        (right,) = torch.autograd.grad(expected, wide, [each.double() for each in shut])
        assert (gradient - right).abs().max() < 1e-5


@needs_avx2
def test_each_block_of_inception_reads_its_input_once() -> None:
    extractor = load_dreamlet().get_extractor(("inception4c",))
    several = [
        each
        for each in extractor.modules()
        if isinstance(each, FrozenConv) and len(each.split_sizes) == 3
    ]
    assert len(several) == 5
    assert isinstance(extractor, fx.GraphModule) and "relu(" not in extractor.code


@pytest.mark.parametrize(
    "plain",
    [
        nn.Conv2d(16, 16, 3, groups=16, padding=1),
        nn.Conv2d(16, 16, 3, dilation=2, padding=2),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(16, 16, 3, padding="same"),
        nn.Conv2d(16, 16, 1, padding=1),
        nn.Conv2d(16, 16, 3, stride=2),
        nn.Conv2d(3, 16, 3).double(),
        nn.Conv2d(3, 16, 3).bfloat16(),
        nn.Conv2d(3, 16, 3, device="meta"),
    ],
)
def test_what_cannot_be_frozen_stays_as_it_is(plain: nn.Conv2d) -> None:
    assert freeze_convolution(plain) is plain


@needs_avx2
def test_layer_sets_share_their_frozen_convolutions() -> None:
    network = load_dreamlet()
    alone = network.memory_bytes
    for layers in (("inception5b",), ("inception3b", "inception4c"), ("conv3",)):
        network.get_extractor(layers)
    first, *others = (network.get_extractor((each,)) for each in ("inception5b", "inception3b"))
    for name, module in others[0].named_modules():
        if isinstance(module, FrozenConv):
            assert first.get_submodule(name) is module
    # Counts oneDNN's copies, twice the weights: the gradients use them transposed.
    assert 2.5 * alone < network.memory_bytes < 3.1 * alone


@pytest.fixture
def resnet(tmp_path: Path) -> Network:
    """Return ResNet-50 with random weights."""
    card, path = catalogue.get_card("resnet50"), tmp_path / "resnet50.safetensors"
    save_random_weights(card, path)
    return Network(card, torch.device("cpu"), torch.float32, path)


@needs_avx2
def test_folded_batch_norms_are_shared_too(resnet: Network) -> None:
    one, other = (resnet.get_extractor((layer,)) for layer in ("layer1", "layer2"))
    shared = {id(each) for each in one.modules()} & {id(each) for each in other.modules()}
    kept = [module for module in resnet._module_cache.values() if id(module) in shared]
    assert len(kept) == 11 and isinstance(kept[0], FrozenStridedConv)
    assert not any(isinstance(each, nn.BatchNorm2d) for each in other.modules())


@needs_avx2
def test_what_is_frozen_counts_and_goes_with_the_layers_it_is_for(resnet: Network) -> None:
    gc.disable()
    try:
        alone = resnet.memory_bytes
        resnet.get_extractor(("layer2",))
        shallow = resnet.memory_bytes
        resnet.get_extractor(("layer4",))
        assert shallow > alone and resnet.memory_bytes > 2.5 * alone
        for block in range(MAX_EXTRACTORS):
            resnet.get_extractor((f"layer1.0.conv{block % 3 + 1}",), redirect_relus=block > 2)
            resnet.get_extractor(("layer1.1.conv1",), redirect_relus=block > 2)
        assert resnet.memory_bytes < shallow
        assert len(resnet._module_cache) < 12
    finally:
        gc.enable()


def test_rounding_forgets_the_errors_of_float64_and_nothing_that_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 50, 70, generator=generator, dtype=torch.float64)
    values *= torch.tensor([1e-3, 1e6]).view(2, 1, 1, 1)
    errors = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    rounded, largest = deterministic.round_to_float32(values), values.abs().amax((1, 2, 3))
    wrong = values + 1e-12 * largest.view(2, 1, 1, 1) * errors
    assert torch.equal(rounded, deterministic.round_to_float32(wrong))
    assert not torch.equal(values.float(), wrong.float())  # Without it some last bits differ.
    assert rounded.dtype == torch.float32
    assert ((rounded - values).abs().amax((1, 2, 3)) <= largest * 2.0**-20).all()
    # Each image is independent of the rest of its batch.
    assert torch.equal(rounded[:1], deterministic.round_to_float32(values[:1]))
    assert deterministic.round_to_float32(0 * values[:1]).abs().max() == 0


def test_work_done_widely_and_its_gradient_are_those_of_float64() -> None:
    matrix = np.random.default_rng(0).normal(size=(30, 40))
    wide = torch.from_numpy(matrix)
    x = torch.randn(5, 30, generator=torch.Generator().manual_seed(0)).requires_grad_()
    made = deterministic.in_float64_on_cpu(lambda _, values: (values @ wide).sigmoid())(None, x)
    slope = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(made, x, slope)
    share = 1 / (1 + np.exp(-x.detach().numpy().astype(float) @ matrix))
    expected = (slope.numpy() * share * (1 - share)) @ matrix.T
    assert np.abs(made.detach().numpy() - share).max() < 1e-5
    assert np.abs(gradient.numpy() - expected).max() < 1e-5 * np.abs(expected).max()
    assert made.dtype == gradient.dtype == torch.float32


def test_a_canvas_paints_the_same_by_any_fourier_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = FourierCanvas((45, 64), torch.device("cpu"))
    variables = canvas.random_variables(torch.Generator().manual_seed(0)) * 30

    def picture_and_gradient() -> tuple[Tensor, Tensor]:
        leaf = variables.clone().requires_grad_()
        picture = canvas.to_image(leaf)
        (gradient,) = torch.autograd.grad(picture, leaf, picture.detach())
        return picture.detach(), gradient

    plain = torch.fft.irfft2

    def in_thirds(waves: Tensor, **how: Any) -> Tensor:
        """Return the same transform with other last bits."""
        return 3 * plain(waves / 3, **how)

    waves = torch.view_as_complex(variables.double()) * canvas.amplitude
    assert not torch.equal(plain(waves, s=(45, 64)), in_thirds(waves, s=(45, 64)))
    ours = picture_and_gradient()
    monkeypatch.setattr(torch.fft, "irfft2", in_thirds)
    assert all(map(torch.equal, ours, picture_and_gradient()))


@pytest.mark.parametrize("dims", [(1, 2), (0, 1, 2)])
def test_a_mean_is_that_of_float64(dims: tuple[int, ...]) -> None:
    values = torch.rand(3, 500, 700, generator=torch.Generator().manual_seed(0)) + 1000
    expected = values.numpy().astype(float).mean(dims).astype(np.float32)
    assert deterministic.mean(values, dims).numpy().tolist() == expected.tolist()
