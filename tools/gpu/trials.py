"""What may make a step faster, tried in turn: each with its ratio to the step as it is.

A step reads VGG-16 as a dream of 600 x 450 does. None of this is in the engine: what helps on a GPU
goes in after it was measured there.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dream.networks import architecture
from dream.networks.network import Network
from dream.paint.objective import Objective, energy
from tools.gpu.settings import Settings, cudnn
from tools.report import Report

TILES = 4
STEPS, SMALL_STEPS = 50, 2
Step = Callable[[], object]


def try_improvements(settings: Settings, report: Report) -> None:
    """Time a step as it is, and with each improvement; in turn, so that ratios are fair."""
    network = settings.engine().network(settings.classics[0])
    layer = network.card.layer(network.card.default_layer)
    objective = energy(layer)
    size = (96, 128) if settings.is_small else (450, 600)
    picture = settings.photo(size).to(settings.device)
    as_it_is = _step(network, objective, picture)
    pace = _seconds_a_step(settings, as_it_is)
    report.row("trials", trial="as it is", **{"ms a step": pace * 1e3, "ratio": 1.0})
    for name, needs_cuda, prepare in (
        ("contiguous memory", False, _contiguous),
        ("four tiles, one by one", False, _tiles_one_by_one),
        ("four tiles in a batch", False, _tiles_in_a_batch),
        ("a CUDA graph", True, _cuda_graph),
        ("cuDNN's autotuner", True, _autotuned),
        ("torch.compile", True, _compiled),
    ):
        if needs_cuda and not settings.is_cuda:
            report.row("trials", trial=name, remark="needs CUDA")
            continue
        if settings.is_late:
            report.row("trials", trial=name, remark="left out, the time is over")
            continue
        try:
            with cudnn(benchmark=name == "cuDNN's autotuner"):
                start = time.perf_counter()
                step = prepare(network, objective, picture)
                step()
                settings.synchronize()
                ready = time.perf_counter() - start
                base, own = _seconds_a_step(settings, as_it_is), _seconds_a_step(settings, step)
        except Exception as error:  # What does not run here is a result, too.
            report.row("trials", trial=name, remark=f"{type(error).__name__}: {error}"[:200])
            continue
        report.row(
            "trials", trial=name, **{"ms a step": own * 1e3, "ratio": own / base, "ready s": ready}
        )


def _seconds_a_step(settings: Settings, step: Step) -> float:
    count = SMALL_STEPS if settings.is_small else STEPS
    step()
    return settings.seconds(lambda: [step() for _ in range(count)]) / count


def _step(network: Network, objective: Objective, picture: Tensor) -> Step:
    evaluate = network.value_and_grad(objective)
    return lambda: evaluate(picture)


def _own_step(
    extractor: Callable[[Tensor], dict[str, Tensor]],
    network: Network,
    objective: Objective,
    picture: Tensor,
    memory: torch.memory_format,
) -> Step:
    """What `Network.value_and_grad` does, through another extractor or in another memory format."""

    def step() -> tuple[Tensor, Tensor]:
        leaf = picture.detach().requires_grad_()
        with torch.enable_grad():
            view = (leaf - network.mean) / network.std
            values = objective(extractor(view.to(network.dtype, memory_format=memory)))
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values, gradient

    return step


def _contiguous(network: Network, objective: Objective, picture: Tensor) -> Step:
    """The step with channels first, as PyTorch has it by default."""
    plain = copy.deepcopy(network.network).to(memory_format=torch.contiguous_format)
    extractor = architecture.extractor(plain, objective.layers)
    return _own_step(extractor, network, objective, picture, torch.contiguous_format)


def _tiles(picture: Tensor) -> Iterator[Tensor]:
    height, width = (side // 2 for side in picture.shape[2:])
    for place in range(TILES):
        down, right = place // 2 * height, place % 2 * width
        yield picture[:, :, down : down + height, right : right + width].contiguous()


def _tiles_one_by_one(network: Network, objective: Objective, picture: Tensor) -> Step:
    steps = [_step(network, objective, tile) for tile in _tiles(picture)]
    return lambda: [step() for step in steps]


def _tiles_in_a_batch(network: Network, objective: Objective, picture: Tensor) -> Step:
    return _step(network, objective, torch.cat(list(_tiles(picture))))


def _cuda_graph(network: Network, objective: Objective, picture: Tensor) -> Step:
    """The step, captured at this size: replayed, it costs the CPU one call."""
    step = _step(network, objective, picture.clone())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _autotuned(network: Network, objective: Objective, picture: Tensor) -> Step:
    return _step(network, objective, picture)


def _compiled(network: Network, objective: Objective, picture: Tensor) -> Step:
    compiled = torch.compile(network.extractor(objective.layers))
    return _own_step(compiled, network, objective, picture, torch.channels_last)
