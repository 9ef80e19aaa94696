"""Videos, dreamed: each frame begins with the last dream, carried along by what moves.

The flow goes from the new frame back to the old one, so that each pixel finds where it was; what
was not there, or looks other than it did, begins with the new frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dream.networks.network import Network
from dream.recipe.video import VideoRecipe
from dream.render.dream import dream_ascents, plan_octaves, require_photo
from dream.render.loop import Ascents
from dream.render.octave import sizes_of
from dream.render.plan import Job
from dream.render.transform import quantise_8bit
from dream.tensors import Size, even_size, luminance, size_of

Flow = NDArray[np.float32]
# By how much, in shares of the range, what was carried along may look other than it did: half of
# the dream is left at this.
MISMATCH_TOLERANCE = 0.08
# Motion of fewer pixels a frame is none, where the flow is a quick one.
MIN_MOTION_PIXELS = 0.3


def plan(recipes: Sequence[VideoRecipe], size: Size | None) -> list[Job[VideoRecipe]]:
    """One frame of a video of that (height, width), for each recipe.

    Raises:
        PictureError: if there is no video, or a side of it is smaller than the network reads.
    """
    jobs = []
    for recipe in recipes:
        full = even_size(*sizes_of(recipe, require_photo(size)))
        *before, last = plan_octaves(recipe.frame_recipe(), full)
        jobs.append(Job((recipe,), (*before, replace(last, ends_frame=True))))
    return jobs


def ascents(
    network: Network, job: Job[VideoRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """The frames of a part of a video, (N, 3, H, W) in [0, 1].

    Where they are not the first, the two before them are the last frame and its dream.
    """
    (recipe,) = job.recipes
    pictures = list(torch.split(require_photo(image), 1))
    before, last = (pictures.pop(0), pictures.pop(0)) if job.first_frame else (None, None)
    for seen, stages in zip(pictures, job.stages_by_frame, strict=True):
        begun = seen
        if before is not None and last is not None:
            begun = warp_previous_dream(last, before, seen, recipe.carry)
        reached = yield from dream_ascents(network, recipe.frame_recipe(), begun, stages, deadline)
        before, last = seen, quantise_8bit(reached)


def warp_previous_dream(
    dream: Tensor, previous_frame: Tensor, frame: Tensor, strength: float, *, fast: bool = False
) -> Tensor:
    """That share of a dream of the frame before, moved to where things are in the new one.

    It is less where they look other than they did. `quick` as in `backward_flow`.
    """
    flow = backward_flow(previous_frame, frame, fast=fast)
    apart = (warp(previous_frame, flow) - frame).abs().amax(1, keepdim=True)
    apart = F.avg_pool2d(apart, 5, 1, 2, count_include_pad=False)
    trust = strength / (1 + (apart / MISMATCH_TOLERANCE) ** 4)
    return frame.lerp(warp(dream, flow), trust * in_bounds_mask(flow).to(frame.device)).clamp_(0, 1)


def backward_flow(previous_frame: Tensor, frame: Tensor, *, fast: bool = False) -> Flow:
    """From each pixel of a picture (1, 3, H, W) to where it was in the one before: (H, W, 2), in
    pixels to the right and down. By DIS (Kroeger et al. 2016), medium, as OpenCV has it; or as
    `quick` as it can, what is below `STILL` taken for the noise of a camera.
    """
    import cv2

    cv2.setNumThreads(1)  # In as many stripes as threads, each flow would be another.
    new, old = (
        np.ascontiguousarray((luminance(each)[0, 0] * 255).round().to("cpu", torch.uint8).numpy())
        for each in (frame, previous_frame)
    )
    medium, ultrafast = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
    found = cv2.DISOpticalFlow.create(ultrafast if fast else medium).calc(new, old, None)
    flow = np.asarray(found, np.float32)
    if fast:
        flow[np.hypot(flow[..., 0], flow[..., 1]) < MIN_MOTION_PIXELS] = 0
    return flow


def warp(image: Tensor, flow: Flow) -> Tensor:
    """What of a picture (1, C, H, W) a flow leads to; bilinear, its edges drawn out."""
    height, width = size_of(image)
    offsets = torch.from_numpy(flow).to(image.device)
    x = torch.arange(width, device=image.device) + offsets[..., 0]
    y = torch.arange(height, device=image.device)[:, None] + offsets[..., 1]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), 2)[None]
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def in_bounds_mask(flow: Flow) -> Tensor:
    """Where a flow stays within the picture, (1, 1, H, W): 1, else 0."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    within = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return torch.from_numpy(within.astype(np.float32))[None, None]
