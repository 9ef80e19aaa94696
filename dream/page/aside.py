"""A live dream in a process of its own, on the processor: where GPUs are lent for whole pictures.

What has computed gradients cannot be forked to do so, and forking is how GPUs are lent.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import cast

from PIL import Image

from dream.engine import Engine
from dream.errors import DreamError
from dream.paint.frames import to_tensors
from dream.paint.live import Mirror
from dream.recipe import LiveRecipe

# Of the longest side: such machines have few cores, and others' work to do.
SIDE = 240


class Aside:
    """A `Mirror` there; its process ends with it."""

    def __init__(self) -> None:
        environment = {**os.environ, "DREAM_DEVICE": "cpu"}
        environment.pop("SPACES_ZERO_GPU", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def dreamed(self, seen: Image.Image, recipe: LiveRecipe) -> Image.Image:
        """As `Mirror.dreamed`, in a smaller size."""
        there, back = self._process.stdin, self._process.stdout
        assert there and back
        seen.thumbnail((SIDE, SIDE))
        try:
            pickle.dump((seen, recipe.within(SIDE)), there)
            there.flush()
            answer = pickle.load(back)
        except (EOFError, OSError) as error:
            raise DreamError("the live dream came to an end; begin it again") from error
        if isinstance(answer, DreamError):
            raise answer
        return cast(Image.Image, answer)

    def __del__(self) -> None:
        if process := getattr(self, "_process", None):
            process.kill()
            process.communicate()


def main() -> None:
    """Dream what comes on stdin, until nothing more does."""
    engine = Engine("cpu")
    mirror = Mirror(lambda job, given: engine.paint([job], to_tensors(given)))
    there, back = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            answer: object = mirror.dreamed(*pickle.load(there))
        except DreamError as error:
            answer = error
        except (EOFError, KeyboardInterrupt):
            return
        pickle.dump(answer, back)
        back.flush()


if __name__ == "__main__":
    main()
