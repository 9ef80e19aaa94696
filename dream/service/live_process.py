"""Run a live dream in a CPU subprocess, for ZeroGPU, where GPUs are leased per job.

ZeroGPU forks the main process, and a process that has computed gradients cannot compute any after
a fork, so the main process must not dream.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
from pathlib import Path
from typing import cast

import torch
from PIL import Image

from dream.engine import Engine
from dream.errors import DreamError
from dream.recipe import LiveRecipe
from dream.render.cpu_threads import allowed_threads
from dream.render.live import LiveDreamer

# Longest side, in pixels; small, because these machines have few cores for many visitors.
MAX_FRAME_SIDE = 240
# The process exits after this time without a frame.
IDLE_SECONDS = 10.0


class LiveProcess:
    """Client of a `LiveDreamer` in a subprocess, which starts with the first frame."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def dream_frame(self, frame: Image.Image, recipe: LiveRecipe) -> Image.Image:
        """Return `LiveDreamer.dream_frame` of the frame, reduced to `MAX_FRAME_SIDE`."""
        if not self._process or self._process.poll() is not None:
            self.close()
            self._process = _start_process()
        process = self._process
        assert process.stdin
        assert process.stdout
        frame.thumbnail((MAX_FRAME_SIDE, MAX_FRAME_SIDE))
        try:
            pickle.dump((frame, recipe.with_max_side(MAX_FRAME_SIDE)), process.stdin)
            process.stdin.flush()
            result = pickle.load(process.stdout)
        except (EOFError, OSError) as error:
            raise DreamError("the live dream ended unexpectedly; start it again") from error
        if isinstance(result, DreamError):
            raise result
        return cast(Image.Image, result)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process:
            with self._process as process:
                process.kill()
            self._process = None

    def __del__(self) -> None:
        self.close()


def _start_process() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DREAM_DEVICE": "cpu"}
    environment.pop("SPACES_ZERO_GPU", None)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=Path(__file__).parents[2],
        stdin=pipe,
        stdout=pipe,
        env=environment,
    )


def main() -> None:
    """Dream pickled frames from stdin to stdout until none arrives for `IDLE_SECONDS`."""
    torch.set_num_threads(allowed_threads())
    engine = Engine("cpu")
    dreamer = LiveDreamer(engine.render_images)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        try:
            result: object = dreamer.dream_frame(*pickle.load(source))
        except DreamError as error:
            result = error
        except (EOFError, KeyboardInterrupt):
            return
        pickle.dump(result, sink)
        sink.flush()


if __name__ == "__main__":
    main()
