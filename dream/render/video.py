"""Dreamed videos: each frame starts from the previous dream, warped by optical flow.

The flow is backward, from the new frame to the previous one, so that each pixel finds its source.
Pixels that were not visible before, or look different, start from the new frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dream.networks.network import Network
from dream.recipe.motion import VideoRecipe
from dream.render.ascent import Ascent
from dream.render.dream import dream_ascents, plan_octaves
from dream.render.plan import FrameStages, Job, recipe_sizes
from dream.render.transform import quantise_8bit
from dream.tensors import Size, even_size, luminance, size_of

Flow = NDArray[np.float32]
# Difference between the warped previous frame and the new one, as a share of the range, at which
# half of the previous dream is kept.
MISMATCH_TOLERANCE = 0.08
# The fast flow treats smaller motion per frame as camera noise.
MIN_MOTION_PIXELS = 0.3


def plan(recipe: VideoRecipe, size: Size) -> FrameStages:
    """Plan the first two frames of a video (see `Job.for_frames`)."""
    full_size = even_size(*recipe_sizes(recipe, size))
    dreams = recipe.first_frame_recipe(), recipe.frame_recipe()
    return tuple(plan_octaves(dream, full_size) for dream in dreams)


def ascents(
    network: Network, job: Job[VideoRecipe], image: Tensor, deadline: float
) -> Iterator[Ascent]:
    """Yield the ascents of a part of a video.

    `image` holds the frames (N, 3, H, W) in [0, 1]; unless the part is the first, they follow the
    previous frame and its dream.
    """
    (recipe,) = job.recipes
    first_recipe, later_recipe = recipe.first_frame_recipe(), recipe.frame_recipe()
    frames = list(torch.split(image, 1))
    previous, dream = (frames.pop(0), frames.pop(0)) if job.first_frame else (None, None)
    for frame, stages in zip(frames, job.frames, strict=True):
        start, frame_recipe = frame, first_recipe
        if previous is not None and dream is not None:
            start = warp_previous_dream(dream, previous, frame, recipe.carry)
            frame_recipe = later_recipe
        reached = yield from dream_ascents(
            network, frame_recipe, start, stages, deadline, detail_image=frame
        )
        previous, dream = frame, quantise_8bit(reached)


def warp_previous_dream(
    dream: Tensor, previous_frame: Tensor, frame: Tensor, strength: float, *, fast: bool = False
) -> Tensor:
    """Warp the previous dream by optical flow and blend it into the new frame.

    `strength` is the share of the dream, from 0 to 1. It falls where the warped previous frame
    differs from the new one, and is 0 where the flow leaves the frame. `fast` as in
    `backward_flow`.
    """
    flow = backward_flow(previous_frame, frame, fast=fast)
    mismatch = (warp(previous_frame, flow) - frame).abs().amax(1, keepdim=True)
    mismatch = F.avg_pool2d(mismatch, 5, 1, 2, count_include_pad=False)
    share = strength / (1 + (mismatch / MISMATCH_TOLERANCE) ** 4)
    return frame.lerp(warp(dream, flow), share * in_bounds_mask(flow).to(frame.device)).clamp_(0, 1)


def backward_flow(previous_frame: Tensor, frame: Tensor, *, fast: bool = False) -> Flow:
    """Return the motion from each pixel of `frame` (1, 3, H, W) back to `previous_frame`.

    It is (H, W, 2), in pixels to the right and down, by OpenCV's DIS (Kroeger et al. 2016) with its
    medium preset. `fast` uses the ultrafast preset and sets motion below `MIN_MOTION_PIXELS` to 0.
    """
    import cv2

    cv2.setNumThreads(1)  # The flow depends on the number of threads.
    new, old = (
        np.ascontiguousarray((luminance(each)[0, 0] * 255).round().to("cpu", torch.uint8).numpy())
        for each in (frame, previous_frame)
    )
    medium, ultrafast = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
    estimator = cv2.DISOpticalFlow.create(ultrafast if fast else medium)
    flow = np.asarray(estimator.calc(new, old, None), np.float32)
    if fast:
        flow[np.hypot(flow[..., 0], flow[..., 1]) < MIN_MOTION_PIXELS] = 0
    return flow


def warp(image: Tensor, flow: Flow) -> Tensor:
    """Sample an image (1, C, H, W) where the flow leads; bilinear, edge pixels repeated."""
    height, width = size_of(image)
    offsets = torch.from_numpy(flow).to(image.device)
    x = torch.arange(width, device=image.device) + offsets[..., 0]
    y = torch.arange(height, device=image.device)[:, None] + offsets[..., 1]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), 2)[None]
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def in_bounds_mask(flow: Flow) -> Tensor:
    """Return 1 where the flow stays inside the image and 0 elsewhere, (1, 1, H, W)."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return torch.from_numpy(inside.astype(np.float32))[None, None]
