"""Try possible speed-ups of a step, each with its ratio to the step as it is.

A step reads VGG-16 as a dream of 600 x 450 does. The engine has none of these: one that helps goes
in after it was measured on a GPU.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dream.networks import architecture
from dream.networks.network import Network
from dream.render.objective import Objective, energy
from tools.gpu.settings import Settings, cudnn
from tools.report import Report

AUTOTUNER = "cuDNN's autotuner"
TILE_COUNT = 4
STEP_COUNT, SMALL_STEP_COUNT = 50, 2
Step = Callable[[], object]


def try_improvements(settings: Settings, report: Report) -> None:
    """Time a step as it is and with each improvement, in turn, so that ratios are fair."""
    network = settings.engine().network(settings.classics[0])
    layer = network.card.resolve_layer(network.card.default_layer)
    objective = energy(layer)
    size = (96, 128) if settings.is_small else (450, 600)
    picture = settings.photo(size).to(settings.device)
    as_it_is = _make_step(network, objective, picture)
    pace = _seconds_a_step(settings, as_it_is)
    report.add_row("trials", trial="as it is", **{"ms a step": pace * 1e3, "ratio": 1.0})
    for name, is_cuda_only, prepare in (
        ("contiguous memory", False, _make_contiguous_step),
        ("four tiles, one by one", False, _make_tile_steps),
        ("four tiles in a batch", False, _make_batch_step),
        ("a CUDA graph", True, _make_graph_step),
        (AUTOTUNER, True, _make_step),
        ("torch.compile", True, _make_compiled_step),
    ):
        if is_cuda_only and not settings.is_cuda:
            report.add_row("trials", trial=name, remark="needs CUDA")
            continue
        if settings.is_late:
            report.add_row("trials", trial=name, remark="left out, the time is over")
            continue
        # cuDNN caches its choice by shape and TF32 setting. Another setting, which has no effect in
        # bfloat16, makes it choose again.
        flags = {"benchmark": True, "allow_tf32": False} if name == AUTOTUNER else {}
        try:
            with cudnn(**flags):
                start = time.perf_counter()
                step = prepare(network, objective, picture)
                step()
                settings.synchronize()
                ready = time.perf_counter() - start
                own = _seconds_a_step(settings, step)
            base = _seconds_a_step(settings, as_it_is)
        except Exception as error:  # The table says why it does not run here.
            report.add_row("trials", trial=name, remark=f"{type(error).__name__}: {error}"[:200])
            continue
        report.add_row(
            "trials", trial=name, **{"ms a step": own * 1e3, "ratio": own / base, "ready s": ready}
        )


def _seconds_a_step(settings: Settings, step: Step) -> float:
    count = SMALL_STEP_COUNT if settings.is_small else STEP_COUNT
    step()
    return settings.seconds(lambda: [step() for _ in range(count)]) / count


def _make_step(network: Network, objective: Objective, picture: Tensor) -> Step:
    evaluate = network.value_and_grad(objective)
    return lambda: evaluate(picture)


def _make_own_step(
    extractor: Callable[[Tensor], dict[str, Tensor]],
    network: Network,
    objective: Objective,
    picture: Tensor,
    memory: torch.memory_format,
) -> Step:
    """Return `Network.value_and_grad` with another extractor or memory format."""

    def step() -> tuple[Tensor, Tensor]:
        leaf = picture.detach().requires_grad_()
        with torch.enable_grad():
            view = (leaf - network.mean) / network.std
            values = objective(extractor(view.to(network.dtype, memory_format=memory)))
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values, gradient

    return step


def _make_contiguous_step(network: Network, objective: Objective, picture: Tensor) -> Step:
    """Return the step in PyTorch's default memory format, channels first."""
    plain = copy.deepcopy(network.network).to(memory_format=torch.contiguous_format)
    extractor = architecture.create_extractor(plain, objective.layers)
    return _make_own_step(extractor, network, objective, picture, torch.contiguous_format)


def _tiles(picture: Tensor) -> Iterator[Tensor]:
    height, width = (side // 2 for side in picture.shape[2:])
    for place in range(TILE_COUNT):
        down, right = place // 2 * height, place % 2 * width
        yield picture[:, :, down : down + height, right : right + width].contiguous()


def _make_tile_steps(network: Network, objective: Objective, picture: Tensor) -> Step:
    steps = [_make_step(network, objective, tile) for tile in _tiles(picture)]
    return lambda: [step() for step in steps]


def _make_batch_step(network: Network, objective: Objective, picture: Tensor) -> Step:
    return _make_step(network, objective, torch.cat(list(_tiles(picture))))


def _make_graph_step(network: Network, objective: Objective, picture: Tensor) -> Step:
    """Return the step captured at this size, whose replay costs the CPU one call."""
    step = _make_step(network, objective, picture.clone())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay() -> Step:
        graph.replay()
        return step  # Keeps the image alive, which the graph reads in place.

    return replay


def _make_compiled_step(network: Network, objective: Objective, picture: Tensor) -> Step:
    compiled = torch.compile(network.get_extractor(objective.layers))
    return _make_own_step(compiled, network, objective, picture, torch.channels_last)
