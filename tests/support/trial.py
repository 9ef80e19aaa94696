"""Send the corpus to the program's readers: each returns a correct image or one line."""

from __future__ import annotations

import contextlib
import io
import time
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
from tests.support.processes import peak_mb, reset_peak, resident_mb

MAX_SECONDS = 12.0
MAX_MEGABYTES = 1000.0
NO_STEPS = {"octaves": 1, "iterations": 0}

# Reads a file; returns its pixels (H, W, 3), or a message why not.
Reader = Callable[[Sample], np.ndarray | str]


@dataclass
class Trial:
    """Counts of accepted and refused cases, the faults in words, and the worst time and memory."""

    fine: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    megabytes: float = 0.0

    @property
    def cases(self) -> int:
        return self.fine + self.refused + len(self.wrong)

    def add_seconds(self, took: float) -> None:
        self.seconds += took
        self.slowest = max(self.slowest, took)

    def count(self, work: Callable[[], object]) -> None:
        """Run a case: it must succeed, or be refused in one line."""
        try:
            work()
        except DreamError as error:
            message = str(error)
            assert message.isprintable() and 0 < len(message) <= 1000
            self.refused += 1
        else:
            self.fine += 1


def try_files(
    files: Iterable[Sample], reader: Reader, process: int | str = "self", least: int = 0
) -> Trial:
    """Send the files to a reader in turn; it must refuse images with a side below `least`."""
    trial = Trial()
    for sample in files:
        reset_peak(process)
        before, start = resident_mb(process), time.perf_counter()
        try:
            result = reader(sample)
        except (Exception, SystemExit) as error:
            trial.wrong.append(f"{sample.name}: {type(error).__name__}: {error}"[:300])
            continue
        took = time.perf_counter() - start
        megabytes = max(0.0, peak_mb(process) - before)
        trial.add_seconds(took)
        trial.megabytes = max(trial.megabytes, megabytes)
        if fault := _fault(sample, result, took, megabytes, least):
            trial.wrong.append(f"{sample.name}: {fault}")
        elif isinstance(result, str):
            trial.refused += 1
        else:
            trial.fine += 1
    return trial


def _fault(
    sample: Sample, result: np.ndarray | str, took: float, megabytes: float, least: int
) -> str:
    if took > MAX_SECONDS:
        return f"took {took:.1f} seconds"
    if megabytes > MAX_MEGABYTES:
        return f"took {megabytes:.0f} MB"
    if isinstance(result, str):
        if not result or "\n" in result or not result.isprintable() or "Traceback" in result:
            return f"was refused in other than one line: {result[:200]!r}"
        small = least and "the network needs" in result
        return "" if sample.expected in ("refused", "either") or small else f"was refused: {result}"
    if min(result.shape[:2]) < least:
        return "was dreamed though it is too small"
    return "" if looks_right(result, sample) else f"came out wrong, {result.shape}"


def loader_reader(folder: Path) -> Reader:
    """Return a reader that loads the file."""

    def reader(sample: Sample) -> np.ndarray | str:
        path = folder / sample.name
        path.write_bytes(sample.content)
        try:
            return np.asarray(to_pil_image(load_image(path)))
        except DreamError as error:
            return str(error)
        finally:
            path.unlink()

    return reader


def command_reader(folder: Path) -> Reader:
    """Return a reader that runs the command line."""

    def reader(sample: Sample) -> np.ndarray | str:
        path, out = folder / sample.name, folder / "out.png"
        path.write_bytes(sample.content)
        out.unlink(missing_ok=True)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            options = ["--octaves", "1", "--iterations", "0"]
            code = main(["image", str(path), "-o", str(out), *options])
        path.unlink()
        assert code == (0 if out.exists() else 2), code
        return read_pixels(out) if code == 0 else said.getvalue().rstrip("\n")

    return reader


def api_reader(api: httpx.Client) -> Reader:
    """Return a reader that calls the API of a server on this machine."""

    def reader(sample: Sample) -> np.ndarray | str:
        path = upload(api, (sample.name, sample.content))
        good, said = call(api, "deep_dream", {"image": {"path": path}, **NO_STEPS})
        return read_pixels(Path(said[0]["path"])) if good else str(said["error"])

    return reader


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
