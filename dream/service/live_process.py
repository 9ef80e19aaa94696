"""A live dream in a process of its own, on the processor: where GPUs are lent for whole pictures.

What has computed gradients cannot be forked to do so, and forking is how GPUs are lent.
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
from dream.render.loop import to_batch

# Of the longest side: such machines have few cores, and others' work to do.
MAX_SIDE = 240
# For so many seconds a process waits for the next frame.
IDLE_SECONDS = 10.0


class LiveProcess:
    """A `Mirror` there; its process is there while frames come."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def dream_frame(self, frame: Image.Image, recipe: LiveRecipe) -> Image.Image:
        """As `Mirror.dreamed`, in a smaller size."""
        if not self._process or self._process.poll() is not None:
            self.close()
            self._process = _start_process()
        process = self._process
        assert process.stdin and process.stdout
        frame.thumbnail((MAX_SIDE, MAX_SIDE))
        try:
            pickle.dump((frame, recipe.with_max_side(MAX_SIDE)), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, OSError) as error:
            raise DreamError("the live dream came to an end; begin it again") from error
        if isinstance(answer, DreamError):
            raise answer
        return cast(Image.Image, answer)

    def close(self) -> None:
        """End its process, if it has one."""
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
    """Dream what comes on stdin, until nothing does for some seconds."""
    torch.set_num_threads(allowed_threads())
    engine = Engine("cpu")
    mirror = LiveDreamer(lambda job, given: engine.render([job], to_batch(given)))
    there, back = sys.stdin.buffer, sys.stdout.buffer
    while select.select([there], [], [], IDLE_SECONDS)[0]:
        try:
            answer: object = mirror.dream_frame(*pickle.load(there))
        except DreamError as error:
            answer = error
        except (EOFError, KeyboardInterrupt):
            return
        pickle.dump(answer, back)
        back.flush()


if __name__ == "__main__":
    main()
