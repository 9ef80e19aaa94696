"""A soak run: many dreams of all kinds in one process, with its memory over time.

    python -m tests.support.nights FOLDER COUNT EVERY

prints a line of JSON after each EVERY dreams, the fields of `Progress`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine
from dream.files.embedded_images import embed_guide
from dream.networks import catalogue
from dream.page import image_stream as page
from dream.page.server import temp_files
from dream.recipe.class_image import DEFAULT_STEPS
from dream.service.job_runner import JobRunner
from tests.conftest import EXAMPLES
from tests.support.processes import resident_mb, run_python
from tools.measure import save_random_weights

# Bytes of visitors' files that are kept.
MAX_KEPT_BYTES = 3_000_000


@dataclass(frozen=True)
class Progress:
    """The dreams done so far, and the resources in use."""

    done: int
    megabytes: float
    files: int
    networks: int


def run_dreams(count: int, every: int) -> list[Progress]:
    """Run `count` dreams in a subprocess; return its progress after each `every` of them."""
    with tempfile.TemporaryDirectory(prefix="dream-night-") as folder:
        env = os.environ | {"OMP_NUM_THREADS": "1", "DREAM_DEVICE": "cpu"}
        command = ["-m", "tests.support.nights", folder, str(count), str(every)]
        run = run_python(*command, env=env, timeout=None)
    assert not run.returncode, run.stderr
    return [Progress(**json.loads(line)) for line in run.stdout.splitlines()]


def recipes(chance: random.Random) -> Iterator[tuple[Any, bool]]:
    """Yield recipes of every kind, size and layer, and whether each needs a photo."""
    guide = embed_guide(EXAMPLES / "rocket.jpg")
    layers = [layer.name for layer in catalogue.get_card("dreamlet").layers]
    while True:
        kind, seed, size = chance.random(), chance.randrange(10**6), chance.randint(64, 120)
        if kind < 0.1:
            mode = chance.choice(list(DEFAULT_STEPS))
            yield ClassRecipe(mode=mode, size=size, steps=4, tries=2, seed=seed), False
        elif kind < 0.3:
            layer = chance.choice(layers)
            channel = ChannelRecipe(layer=layer, channel=0, size=size, steps=2, seed=seed)
            yield channel, chance.random() < 0.3
        else:
            given: dict[str, Any] = {
                "max_side": chance.randint(64, 200),
                "octaves": chance.randint(1, 3),
                "iterations": chance.randint(0, 2),
                "seed": seed,
            }
            if chance.random() < 0.1:
                given["model"] = "squeezenet1_1"
            elif chance.random() < 0.1:
                given["guide"] = guide
            else:
                given["layer"] = ">".join(chance.sample(layers, chance.randint(1, 2)))
            if chance.random() < 0.3:
                given |= {"rule": "adam", "laplacian": chance.randint(1, 3), "keep_colours": True}
            yield DreamRecipe(**given), True


def environment(folder: Path) -> dict[str, str]:
    """Return variables that allow few files and networks, all in one folder."""
    return {
        "GRADIO_TEMP_DIR": str(folder / "files"),
        "DREAM_CACHE_DIR": str(folder / "cache"),
        "DREAM_CACHE_MB": "1",
        "DREAM_WEIGHTS_DIR": str(folder),
        "DREAM_MODEL_CACHE_GB": "0.02",
        "DREAM_PRECISION": "float32",
    }


def make_dreams(folder: Path, count: int, every: int) -> Iterator[Progress]:
    """Make `count` dreams; yield the progress after each `every` of them."""
    torch.manual_seed(0)
    save_random_weights(catalogue.get_card("squeezenet1_1"), folder / "squeezenet1_1.safetensors")
    work = JobRunner(Engine())
    photos = [str(EXAMPLES / f"{name}.jpg") for name in ("cat", "rocket", "coffee")]
    chance = random.Random(0)
    for done, (recipe, photo) in zip(range(1, count + 1), recipes(chance), strict=False):
        stream = page.stream_render(work, [recipe], chance.choice(photos) if photo else None)
        words = [next(stream).status]
        if chance.random() < 0.1:
            stream.close()  # As a visitor who left does.
        words += [moment.status for moment in stream]
        assert all(words)
        if done % every == 0:
            temp_files.remove_old_files(folder / "files", max_bytes=MAX_KEPT_BYTES)
            files = sum(1 for path in folder.rglob("*") if path.is_file())
            yield Progress(done, resident_mb(), files, len(work.engine.networks._networks))


if __name__ == "__main__":
    home = Path(sys.argv[1])
    os.environ |= environment(home)
    for hour in make_dreams(home, *map(int, sys.argv[2:])):
        print(json.dumps(asdict(hour)), flush=True)
