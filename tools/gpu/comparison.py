"""Check that a device renders the CPU's images, without waits, and the same image twice."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine
from dream.files.contact_sheet import draw_contact_sheet
from dream.tensors import to_pil_image
from tools.gpu.cases import Case, cases, use_known_flow
from tools.gpu.settings import Settings, cudnn
from tools.measure import correlation, last_frame
from tools.report import Report

# Least correlation of the first step's change with the CPU's. Later steps are chaotic: the last
# bits of a sum lead to another image.
MIN_CORRELATION = {"float32": 0.97, "bfloat16": 0.9}
# From noise, and by Adam, a first step is little more than the gradient's sign.
MIN_CORRELATION_FROM_NOISE, MIN_CORRELATION_OF_PIXELS = 0.6, 0.35
WAIT = "called a synchronizing CUDA operation"
DIFFERENCE_GAIN = 8
# On a CPU one case of each kind suffices, since the tests render all of them.
SMALL_CASES = ("dream", "channels, a batch", "class image, single", "zoom", "video", "live")


def compare_with_cpu(settings: Settings, report: Report) -> None:
    """Render every case in both precisions, and on the CPU in float32.

    Writes `cases.png`: for each case a row of start, CPU, float32 and bfloat16.
    """
    known = cases(160)
    if settings.is_small:
        known = {name: case for name, case in cases(64, steps=1).items() if name in SMALL_CASES}
    # On a CPU float32 would be compared with itself.
    precisions = ["bfloat16"] if settings.is_small else list(MIN_CORRELATION)
    rows: dict[str, list[Tensor]] = {}
    # By default cuDNN computes float32 in TF32, which changes a first step from noise.
    with use_known_flow() as remark, cudnn(allow_tf32=False):
        cpu = settings.engine("float32", "cpu")
        for name, case in known.items():
            try:
                rows[name] = [*_start_and_steps(case, cpu)]
            except Exception as error:
                report.check(False, f"{name} on the CPU: {type(error).__name__}: {error}")
                traceback.print_exc()
        for precision in precisions:
            engine = settings.engine(precision)
            for name in rows:
                _compare(name, known[name], engine, precision, rows, report)
    if remark:
        report.add_row("remarks", remark=remark)
    sheet: list[tuple[str, Tensor]] = []
    for name, (start, _, *ends) in rows.items():
        sheet += [(name, start), *zip(("on the CPU", *precisions), ends, strict=True)]
    save_sheet(settings.folder / "cases.png", sheet, 2 + len(precisions))


def _compare(
    name: str,
    case: Case,
    engine: Engine,
    precision: str,
    rows: dict[str, list[Tensor]],
    report: Report,
) -> None:
    start, first, last = rows[name][:3]
    try:
        with count_waits() as counts:
            _, own_first, own_last = _start_and_steps(case, engine, counts)
    except Exception as error:
        report.check(False, f"{name} in {precision}: {type(error).__name__}: {error}")
        traceback.print_exc()
        rows[name].append(torch.zeros_like(start))
        return
    rows[name].append(own_last)
    at_first, at_last = correlation(first, own_first, start), correlation(last, own_last, start)
    waits = max(counts, default=None)
    numbers = {"alike after a step": at_first, "at the end": at_last}
    counted = "" if waits is None else waits
    report.add_row(
        "pictures", case=name, precision=precision, **numbers, **{"waits a step": counted}
    )
    is_picture = bool(((own_last >= 0) & (own_last <= 1)).all())  # False for NaN.
    about = f"{name} in {precision}"
    report.check(is_picture, f"{about}: values outside of [0, 1]")
    is_alike = at_first >= min_correlation(case, precision)
    report.check(is_alike, f"{about}: only {at_first:.2f} alike after a step")
    report.check(not waits, f"{about}: a step waits {waits} times for the device")


def min_correlation(case: Case, precision: str) -> float:
    """Return the least correlation of a case's first step with the CPU's."""
    recipe = case.recipes[0]
    if precision == "float32" or not isinstance(recipe, ChannelRecipe | ClassRecipe):
        return MIN_CORRELATION[precision]
    is_pixels = isinstance(recipe, ChannelRecipe) and recipe.canvas == "pixels"
    return MIN_CORRELATION_OF_PIXELS if is_pixels else MIN_CORRELATION_FROM_NOISE


def _start_and_steps(
    case: Case, engine: Engine, waits: list[int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Render a case; return its images (N, 3, H, W) before and after the first step and at the end.

    How often the CPU waited for the device is appended to `waits` for each step but a stage's first
    and the last.
    """
    start = first = last = torch.empty(0)
    frames = case.render(engine)
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = next(frames, None)
        if frame is None:
            return start, first, last
        # The last step hands over its image, for which the CPU has to wait.
        if waits is not None and frame.octave_step > 1 and not frame.finished:
            waits.append(sum(WAIT in str(each.message) for each in caught))
        if not frame.step:
            start = frame.tensor.cpu().float()
        elif frame.step == 1:
            first = frame.tensor.cpu().float()
        last = frame.tensor.cpu().float() if frame.finished or frame.step == 1 else last


@contextmanager
def count_waits() -> Iterator[list[int]]:
    """Make CUDA warn whenever the CPU waits for it; yield a list for the counts."""
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        torch.cuda.set_sync_debug_mode("warn")
    try:
        yield []
    finally:
        if has_cuda:
            torch.cuda.set_sync_debug_mode("default")


def check_repeatability(settings: Settings, report: Report) -> None:
    """Dream a recipe twice as the page does, twice as programs do, and on the CPU.

    Writes `repeat_*.png`: the photo, the CPU's dream, two of the device, and their difference.
    """
    photo = settings.photo((72, 96) if settings.is_small else (450, 600))
    recipe = settings.shorten(DreamRecipe(max_side=max(photo.shape[2:])))
    cpu = last_frame(settings.engine("float32", "cpu").dream(photo, recipe)).tensor
    for precision in MIN_CORRELATION:
        engine = settings.engine(precision)
        pair = []
        for is_exact in (False, True):
            with cudnn(deterministic=is_exact):
                pair = [last_frame(engine.dream(photo, recipe)).tensor.cpu() for _ in range(2)]
            apart = (pair[0] - pair[1]).abs()
            report.add_row(
                "the same recipe twice",
                precision=precision,
                **{
                    "repeat exactly": str(is_exact),
                    "grey levels apart": float(apart.mean() * 255),
                    "alike": correlation(pair[0], pair[1], photo),
                    "alike to the CPU's": correlation(pair[0], cpu, photo),
                },
            )
        report.check(
            torch.equal(*pair), f"a dream in {precision} does not repeat with `repeat_exactly`"
        )
        apart = ((pair[0] - pair[1]).abs() * DIFFERENCE_GAIN).clamp(0, 1)
        images = (photo, cpu, *pair, apart)
        labels = ("the photo", "on the CPU", "on the device", "again", "their difference")
        sheet = list(zip(labels, images, strict=True))
        save_sheet(settings.folder / f"repeat_{precision}.png", sheet, len(sheet))


def save_sheet(path: Path, pictures: Sequence[tuple[str, Tensor]], columns: int = 0) -> None:
    """Write images (N, 3, H, W), the first of each batch, with their labels as one PNG."""
    images = [
        (label, to_pil_image(each[:1].nan_to_num().clamp(0, 1).cpu())) for label, each in pictures
    ]
    draw_contact_sheet(images, columns).save(path)
