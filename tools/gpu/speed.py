"""Measure how fast a device dreams, and which operations take the time."""

from __future__ import annotations

import math
import statistics
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]

from dream import DreamRecipe, Engine, LiveRecipe
from dream.files.image import load_image
from dream.render import cost
from dream.tensors import Size, size_of, to_pil_image
from tools.gpu.cases import EXAMPLES, PAN_PIXELS, use_known_flow
from tools.gpu.settings import Settings
from tools.measure import correlation, last_frame, live_dreamer, min_seconds
from tools.report import Report

WARM_TRIES = 5
MAX_PROFILE_ROWS = 10
# Goal for the first dream at a new size: at most twice a warm dream plus this.
EXTRA_FIRST_SECONDS = 0.1


def time_dreams(settings: Settings, report: Report) -> None:
    """Time default dreams of three networks at two sizes: the first at a size, then warm ones."""
    engine = settings.engine()
    dtype = engine.precision("dreamlet")
    rate = matrix_rate(settings, dtype)
    report.add_row("matrix rate", precision=str(dtype), **{"flops a second": rate})
    sizes: tuple[Size, ...] = ((450, 600), (900, 1200))
    for model in (*settings.classics, "dreamlet"):
        recipe = settings.shorten(DreamRecipe(model=model))
        other_size = settings.photo((96, 128) if settings.is_small else (396, 528))
        last_frame(engine.dream(other_size, recipe))
        for size in ((72, 96), (96, 120)) if settings.is_small else sizes:
            if settings.is_late:
                return
            _time_dream(
                settings, engine, recipe.with_changes(max_side=max(size)), size, rate, report
            )


def _time_dream(
    settings: Settings, engine: Engine, recipe: DreamRecipe, size: Size, rate: float, report: Report
) -> None:
    photo = settings.photo(size)

    def dream() -> None:
        last_frame(engine.dream(photo, recipe)).picture()

    first = settings.seconds(dream)
    tries = 1 if settings.is_small else WARM_TRIES
    warm = statistics.median(settings.seconds(dream) for _ in range(tries))
    (job,) = engine.plan([recipe], size)
    # The backward pass to the image costs as much as the forward pass.
    flops = 2 * cost.total_cost(job.stages).flops
    report.add_row(
        "dreams",
        model=recipe.model,
        size=f"{size[1]} x {size[0]}",
        **{
            "first ms": first * 1e3,
            "warm ms": warm * 1e3,
            "steps a second": job.steps / warm,
            "share of the matrix rate": flops / warm / rate,
            "first as aimed at": str(first <= EXTRA_FIRST_SECONDS + 2 * warm),
        },
    )


def matrix_rate(settings: Settings, dtype: torch.dtype) -> float:
    """Measure the floating-point operations per second of a matrix product."""
    side = 512 if settings.is_small else 8192
    matrix = torch.randn(side, side, device=settings.device, dtype=dtype)

    def multiply() -> None:
        torch.mm(matrix, matrix)
        settings.synchronize()

    multiply()
    return 2 * side**3 / min_seconds(multiply, 10)


def time_live(settings: Settings, report: Report) -> None:
    """Dream the frames of a panning camera, 640 x 480, in turn."""
    engine, count = settings.engine(), 3 if settings.is_small else 60
    size = (72, 96) if settings.is_small else (480, 640)
    photo = settings.photo(size)
    camera = [to_pil_image(torch.roll(photo, -PAN_PIXELS * place, 3)) for place in range(count)]
    recipe = engine.settle(LiveRecipe(max_side=max(size)), photo)
    dreamer = live_dreamer(engine)
    with use_known_flow():
        dreamer.dream_frame(camera[0], recipe)
        seconds = settings.seconds(
            lambda: [dreamer.dream_frame(each, recipe) for each in camera[1:]]
        )
    report.add_row(
        "live", size=f"{size[1]} x {size[0]}", **{"frames a second": (count - 1) / seconds}
    )


def profile_dream(settings: Settings, report: Report) -> None:
    """Report the operations that take most of a warm dream, by PyTorch's profiler."""
    engine = settings.engine()
    size = (72, 96) if settings.is_small else (450, 600)
    photo, recipe = settings.photo(size), DreamRecipe(model=settings.classics[0], iterations=2)
    last_frame(engine.dream(photo, recipe))
    with torch.profiler.profile() as profiler:
        last_frame(engine.dream(photo, recipe))
        settings.synchronize()
    times = {}
    for each in profiler.key_averages():
        # On CUDA count kernels alone, since operators repeat their time.
        if not settings.is_cuda:
            times[each.key] = float(each.self_cpu_time_total)
        elif each.device_type == DeviceType.CUDA and not each.is_user_annotation:
            times[each.key] = float(each.self_device_time_total)
    whole = math.fsum(times.values()) or 1.0
    for name in sorted(times, key=times.__getitem__, reverse=True)[:MAX_PROFILE_ROWS]:
        report.add_row(
            "profile", operation=name[:60], ms=times[name] / 1e3, share=times[name] / whole
        )


def dream_on_all_gpus(settings: Settings, report: Report) -> None:
    """Dream on every GPU at once; compare the images, and the time with one GPU's."""
    count = torch.cuda.device_count() if settings.is_cuda else 0
    if count < 2:
        report.add_row("several GPUs", devices=count, remark="fewer than two are here")
        return
    photo = load_image(EXAMPLES / "cat.jpg")
    recipe = DreamRecipe(max_side=max(size_of(photo)))
    engines = [settings.engine(device=f"cuda:{each}") for each in range(count)]
    pictures = [last_frame(engine.dream(photo, recipe)).tensor.cpu() for engine in engines]

    def dream_on_all() -> None:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda engine: last_frame(engine.dream(photo, recipe)), engines))
        for each in range(count):
            torch.cuda.synchronize(each)

    one = settings.seconds(lambda: last_frame(engines[0].dream(photo, recipe)))
    least = min(correlation(pictures[0], other, photo) for other in pictures[1:])
    report.add_row(
        "several GPUs",
        devices=count,
        **{"times one alone": settings.seconds(dream_on_all) / one, "alike": least},
    )
    report.check(least > 0.5, f"several GPUs: pictures are only {least:.2f} alike")
