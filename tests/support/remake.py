"""Remake images in a subprocess, as another processor or other threads would.

As a program it reads jobs from stdin, recipes each with the name of an example photo or none, and
prints a hash of each image.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence

import torch

from dream import Engine, LiveRecipe, VideoRecipe, load_image
from dream.recipe.base import Recipe
from dream.tensors import resize_clamped, size_of
from tests.conftest import EXAMPLES
from tests.support.processes import run_python

# A recipe, and its example photo.
Job = tuple[Recipe, str | None]

# Make the libraries compute as on a processor with AVX2 at most.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
# Make MKL compute as on a non-Intel or very old processor.
OTHER_MKL = {"MKL_CBWR": "COMPATIBLE"}

# With more threads than cores, busy-waiting would take the cores from threads with work.
PASSIVE_WAIT = {"OMP_WAIT_POLICY": "PASSIVE"}
FLOAT32 = {"DREAM_PRECISION": "float32"}


def picture_digest(engine: Engine, job: Job) -> str:
    """Hash a job's last float32 image; a video is the photo, then the photo moved by 3 pixels."""
    recipe, photo = job
    picture = load_image(EXAMPLES / photo) if photo else None
    (planned,) = engine.plan([recipe], None if picture is None else size_of(picture))
    if isinstance(recipe, VideoRecipe):
        assert picture is not None
        picture = resize_clamped(picture, planned.stages[-1].size)
        picture = torch.cat([picture, picture.roll(3, 3)])
    if isinstance(recipe, VideoRecipe | LiveRecipe):
        planned = planned.for_frames(1 if picture is None else len(picture))
    *_, frame = engine.render([planned], picture)
    return hashlib.sha256(frame.tensor.contiguous().numpy().tobytes()).hexdigest()


def remake_digests(jobs: Sequence[Job], threads: int, settings: Mapping[str, str]) -> list[str]:
    """Return the jobs' digests, computed in a subprocess with those threads and settings."""
    env = os.environ | {"OMP_NUM_THREADS": str(threads), **PASSIVE_WAIT, **FLOAT32, **settings}
    given = json.dumps([(recipe.to_dict(), photo) for recipe, photo in jobs])
    done = run_python("-m", "tests.support.remake", env=env, input=given, timeout=None)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


if __name__ == "__main__":
    engine = Engine("cpu")
    for fields, name in json.load(sys.stdin):
        print(picture_digest(engine, (Recipe.from_dict(fields), name)))
