"""Every kind of image once, small.

An engine renders a case, so that the same case runs on any device. The software device of
`tests/support/software_device.py` runs them too, where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    Frame,
    LiveRecipe,
    VideoRecipe,
    ZoomRecipe,
    load_image,
)
from dream.files.embedded_images import embed_guide, encode_mask
from dream.recipe import Recipe
from dream.recipe.knob import knobs
from dream.render import video
from dream.tensors import resize_clamped, size_of

EXAMPLES = Path(__file__).parents[2] / "examples"
# How far the video's camera pans between two frames, in pixels.
PAN_PIXELS = 4
STEPS = 3


@dataclass(frozen=True)
class Case:
    """A recipe, and the start images (N, 3, H, W) in [0, 1] if it has any.

    `copies` photos are dreamed in one batch; a video or a live dream has `frames` frames. Where
    `is_continued`, the first two images are the previous frame and its dream.
    """

    recipes: tuple[Recipe, ...]
    pictures: Tensor | None = None
    copies: int = 1
    frames: int = 0
    is_continued: bool = False

    def render(self, engine: Engine) -> Iterator[Frame]:
        """Yield a frame before each image and after each step."""
        size = None if self.pictures is None else size_of(self.pictures)
        jobs = [
            replace(job, first_frame=int(self.is_continued)).for_batch(self.copies)
            for job in engine.plan(self.recipes, size)
        ]
        jobs = [job.for_frames(self.frames) if self.frames else job for job in jobs]
        return engine.render(jobs, self.pictures)


def cases(side: int, steps: int = STEPS) -> dict[str, Case]:
    """Return all cases by name, with images of about `side` pixels and `steps` a stage."""
    photo = load_image(EXAMPLES / "cat.jpg")
    photo = resize_clamped(photo, (side * 3 // 4 // 2 * 2, side // 2 * 2))
    height, width = size_of(photo)
    mask = torch.zeros(1, 3, height, width)
    mask[..., height // 4 :, : width // 2] = 1
    large = resize_clamped(photo, (max(height, 264), max(width, 288)))
    guide = embed_guide(EXAMPLES / "coffee.jpg")
    film = torch.cat([torch.roll(photo, -PAN_PIXELS * place, 3) for place in range(3)])
    continued = torch.cat([film[:1], (film[:1] * 0.9).clamp(0, 1), film[1:]])
    dream = DreamRecipe(octaves=2, iterations=steps, max_side=max(height, width))
    tiles = dream.with_changes(tile=128, octaves=1, max_side=max(size_of(large)))
    channel = ChannelRecipe(size=max(64, side // 2), steps=2 * steps)
    # One try: in another precision another one may be the best after a step.
    classes = ClassRecipe(target="goldfish", size=max(96, side // 2), steps=2 * steps, tries=1)
    moving: dict[str, Any] = {"max_side": max(height, width), "iterations": steps, "octaves": 1}
    in_photo = partial(Case, pictures=photo)
    return {
        "dream": in_photo((dream,)),
        "dream, several layers": in_photo(
            (dream.with_changes(layer="inception5a>inception3b:.5,conv2"),)
        ),
        "dream, a mean": in_photo((dream.with_changes(objective="mean", border=1),)),
        "dream, absolute values": in_photo((dream.with_changes(objective="absolute"),)),
        "dream, channels": in_photo((dream.with_changes(channels="7,12:0.5"),)),
        "dream, guide": in_photo((dream.with_changes(guide=guide),)),
        "dream, texture of a guide": in_photo(
            (dream.with_changes(guide=guide, objective="texture"),)
        ),
        "dream, mask": in_photo((dream.with_changes(mask=encode_mask(mask), feather=0),)),
        "dream, bands and restraints": in_photo(
            (
                dream.with_changes(
                    laplacian=3, total_variation=0.5, pull=0.05, keep_colours=True, smoothing=2
                ),
            )
        ),
        "dream, Adam": in_photo((dream.with_changes(rule="adam"),)),
        "dream, seamless": in_photo((dream.with_changes(seamless="all"),)),
        "dream, tiles": Case((tiles,), large),
        "dream, seamless tiles": Case((tiles.with_changes(seamless="across"),), large),
        "dreams, one after the other": in_photo((dream, dream.with_changes(seed=1))),
        "dreams, a batch": Case((dream,), torch.cat([photo, photo.flip(3)]), copies=2),
        "channels, a batch": Case(tuple(channel.with_changes(channel=each) for each in (0, 7, 42))),
        "channel, pixels": Case((channel.with_changes(canvas="pixels", objective="neuron"),)),
        "channel in a photo": in_photo((channel.with_changes(size=max(height, width)),)),
        **{
            f"class image, {mode}": Case((classes.with_changes(mode=mode),))
            for mode in knobs(ClassRecipe)["mode"].choices
        },
        "class image, several tries": Case((classes.with_changes(tries=2),)),
        "class image in a photo": in_photo((classes,)),
        "zoom": in_photo((ZoomRecipe(**moving, seconds=1, fps=3, rotation=20),)),
        "zoom, from layer to layer": in_photo(
            (ZoomRecipe(**moving, seconds=1, fps=3, layer="0 s: inception3b; 1 s: inception5a"),)
        ),
        "video": Case((VideoRecipe(**moving),), film, frames=3),
        "video, going on": Case((VideoRecipe(**moving),), continued, frames=2, is_continued=True),
        "live": Case((LiveRecipe(max_side=width),), continued[:3], frames=1, is_continued=True),
        "live, from layer to layer": Case(
            (LiveRecipe(max_side=width, layer="inception3b:.5,inception5a:.5"),),
            continued[:3],
            frames=1,
            is_continued=True,
        ),
    }


@contextmanager
def use_known_flow() -> Iterator[str]:
    """Give videos the known flow of their pan where OpenCV is missing; yield a remark or ""."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        pass
    else:
        yield ""
        return
    measured = video.backward_flow

    def pan(previous_frame: Tensor, frame: Tensor, *, fast: bool = False) -> video.Flow:
        flow = np.zeros((*size_of(frame), 2), np.float32)
        flow[..., 0] = PAN_PIXELS
        return flow

    video.backward_flow = pan
    try:
        yield "OpenCV is missing, so films are given the flow of their pan"
    finally:
        video.backward_flow = measured
