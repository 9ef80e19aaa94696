"""The corpus sent to the doors of the program: each file a right-looking picture, or one line."""

from __future__ import annotations

import contextlib
import io
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from dream import DreamError, load_image
from dream.__main__ import main
from dream.tensors import to_pil_image
from tests.support.api import call, upload
from tests.support.corpus import Sample, looks_right
from tests.support.memory import peak_mb, reset_peak, resident_mb

MAX_SECONDS = 12.0
MAX_MEGABYTES = 1000.0
NO_STEPS = {"octaves": 1, "iterations": 0}

# A door is given a file; it brings its pixels (H, W, 3), or says in words why not.
Reader = Callable[[Sample], np.ndarray | str]


@dataclass
class Trial:
    """What came of the files: how many were fine and refused, and what went wrong, in words."""

    fine: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    megabytes: float = 0.0

    @property
    def cases(self) -> int:
        return self.fine + self.refused + len(self.wrong)


def try_files(
    files: Iterable[Sample], door: Reader, process: int | str = "self", least: int = 0
) -> Trial:
    """The files sent through a door one by one; pictures with a side below `least` are refused."""
    trial = Trial()
    for made in files:
        reset_peak(process)
        before, start = resident_mb(process), time.perf_counter()
        try:
            came = door(made)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            trial.wrong.append(f"{made.name}: {type(error).__name__}: {error}"[:300])
            continue
        took = time.perf_counter() - start
        grown = max(0.0, peak_mb(process) - before)
        trial.seconds += took
        trial.slowest = max(trial.slowest, took)
        trial.megabytes = max(trial.megabytes, grown)
        if fault := _fault(made, came, took, grown, least):
            trial.wrong.append(f"{made.name}: {fault}")
        elif isinstance(came, str):
            trial.refused += 1
        else:
            trial.fine += 1
    return trial


def _fault(made: Sample, came: np.ndarray | str, took: float, grown: float, least: int) -> str:
    if took > MAX_SECONDS:
        return f"took {took:.1f} seconds"
    if grown > MAX_MEGABYTES:
        return f"took {grown:.0f} MB"
    if isinstance(came, str):
        if not came or "\n" in came or not came.isprintable() or "Traceback" in came:
            return f"was refused in other than one line: {came[:200]!r}"
        small = least and "the network needs" in came
        return "" if made.expected in ("refused", "either") or small else f"was refused: {came}"
    if min(came.shape[:2]) < least:
        return "was dreamed though it is too small"
    return "" if looks_right(came, made) else f"came out wrong, {came.shape}"


def loader_reader(folder: Path) -> Reader:
    """The loader."""

    def door(made: Sample) -> np.ndarray | str:
        path = folder / made.name
        path.write_bytes(made.content)
        try:
            return np.asarray(to_pil_image(load_image(path)))
        except DreamError as error:
            return str(error)
        finally:
            path.unlink()

    return door


def command_reader(folder: Path) -> Reader:
    """The command line."""

    def door(made: Sample) -> np.ndarray | str:
        path, out = folder / made.name, folder / "out.png"
        path.write_bytes(made.content)
        out.unlink(missing_ok=True)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            options = ["--octaves", "1", "--iterations", "0"]
            code = main(["image", str(path), "-o", str(out), *options])
        path.unlink()
        assert code == (0 if out.exists() else 2), code
        return read_pixels(out) if code == 0 else said.getvalue().rstrip("\n")

    return door


def api_reader(api: httpx.Client) -> Reader:
    """The API of a server on this machine."""

    def door(made: Sample) -> np.ndarray | str:
        path = upload(api, (made.name, made.content))
        good, said = call(api, "deep_dream", {"image": {"path": path}, **NO_STEPS})
        return read_pixels(Path(said[0]["path"])) if good else str(said["error"])

    return door


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def count_by_kind(files: Iterable[Sample]) -> Counter[str]:
    """How many there are of each kind, by the start of their names."""
    return Counter(made.name.split("-")[0].split(".")[0] for made in files)
