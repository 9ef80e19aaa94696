"""A recipe gives the same image bit by bit on any x86-64 and with any number of threads."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, VideoRecipe, ZoomRecipe
from dream.files import embedded_images
from dream.networks.convolution import HAS_DETERMINISTIC_ONEDNN
from dream.recipe import LiveRecipe
from tests.conftest import EXAMPLES
from tests.support.remake import AVX2, OTHER_MKL, Job, picture_digest, remake_digests

pytestmark = [
    pytest.mark.skipif(
        not HAS_DETERMINISTIC_ONEDNN, reason="the same bits are promised for x86-64"
    ),
]

SMALL = {"max_side": 160, "iterations": 3}


def make_jobs(folder: Path) -> list[Job]:
    """Return recipes of all kinds and knobs, all of them small; every third is tested each time."""
    disc = np.hypot(*(np.mgrid[:300, :451] - np.array([[[150]], [[200]]]))) < 100
    mask = folder / "mask.png"
    Image.fromarray((disc * 255).astype(np.uint8)).save(mask)
    guide = embedded_images.embed_guide(str(EXAMPLES / "rocket.jpg"))
    dreams = [
        DreamRecipe(max_side=200, iterations=4),
        DreamRecipe(layer="inception5b>inception3b:0.5,conv3", laplacian=3, **SMALL),  # type: ignore[arg-type]
        DreamRecipe(guide=guide, objective="texture", pull=0.05, **SMALL),  # type: ignore[arg-type]
        DreamRecipe(guide=guide, mask=embedded_images.embed_mask(str(mask)), **SMALL),  # type: ignore[arg-type]
        DreamRecipe(rule="adam", octaves=1, iterations=8, smoothing=2.0, max_side=131),
        DreamRecipe(channels="7,12:0.5", keep_colours=True, total_variation=0.5, **SMALL),  # type: ignore[arg-type]
        DreamRecipe(octaves=1, iterations=3, max_side=448),  # Sums that several threads share.
        DreamRecipe(tile=128, octaves=1, iterations=1, max_side=400),
    ]
    channels = [
        ChannelRecipe(layer="inception5a", channel=100, size=97, steps=12),
        ChannelRecipe(channel=7, objective="neuron", canvas="pixels", size=64, steps=8),
    ]
    classes = [
        ClassRecipe(mode=mode, size=112, steps=12)
        for mode in ("octaves", "single", "phase", "classic", "growing")
    ]
    keys = "0 s: inception4c; 0.4 s: inception3b seed 7"
    moving = [
        ZoomRecipe(layer=keys, seconds=0.3, fps=10, max_side=160, iterations=2),
        VideoRecipe(max_side=160, iterations=2),
        LiveRecipe(layer="inception4c,inception3b:0.5", max_side=160, iterations=2),
    ]
    return [
        *((recipe, "cat.jpg") for recipe in (*dreams, *moving)),
        *((recipe, None) for recipe in channels),
        (ChannelRecipe(channel=80, size=128, steps=8), "cat.jpg"),
        *((recipe, None) for recipe in classes),
        (ClassRecipe(target="tiger", size=128, steps=4), "cat.jpg"),
    ]


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.at_scale)])
def test_another_processor_and_other_threads_make_the_same_bits(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make machines` tries each processor by itself."""
    monkeypatch.setenv("DREAM_PRECISION", "float32")
    engine, jobs = Engine("cpu"), make_jobs(tmp_path)[::every]
    here = [picture_digest(engine, job) for job in jobs]
    there = remake_digests(jobs, 3, AVX2 | OTHER_MKL)
    differing = [
        recipe.kind
        for (recipe, _), ours, theirs in zip(jobs, here, there, strict=True)
        if ours != theirs
    ]
    assert not differing and len(set(here)) == len(jobs)
