"""A layer's response to an image: its most active channels, and where they are active."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream.errors import RecipeError
from dream.recipe.channel import COUNT_KNOB
from dream.tensors import to_pil_image

# Marks where a channel is active: the page's coral, RGB.
HIGHLIGHT_COLOUR = (1.0, 0.35, 0.35)
BACKGROUND_BRIGHTNESS = 0.55


@dataclass(frozen=True)
class ChannelResponse:
    """A channel and its activation: the mean over the image, or the value at a spot."""

    channel: int
    strength: float


@dataclass(frozen=True)
class LayerResponse:
    """The activation (1, C, h, w) of a layer for an image (1, 3, H, W) in [0, 1]."""

    image: Tensor
    activation: Tensor

    def __repr__(self) -> str:
        _, channels, height, width = self.activation.shape
        return f"LayerResponse({channels} channels of {width} x {height})"

    def top(self, count: int = 8, spot: tuple[float, float] | None = None) -> list[ChannelResponse]:
        """Return the most active channels, the strongest first.

        Strength is the mean over the image, or the value at a spot (across, down), in shares of
        width and height from 0 to 1. Channels of zero or negative strength (as before a ReLU) are
        left out; but negative logits are listed, because only their differences matter.

        Raises:
            RecipeError: if the spot lies outside the image, or the count outside 1 to 65536.
        """
        count = COUNT_KNOB.check("count", count)
        if spot is None:
            strengths = self.activation[0].flatten(1).mean(1)
        else:
            if not all(0 <= share <= 1 for share in spot):
                raise RecipeError(f"the spot must be 0 to 1 across and 0 to 1 down, not {spot}")
            across, down = spot
            height, width = self.activation.shape[2:]
            row, column = min(int(down * height), height - 1), min(int(across * width), width - 1)
            strengths = self.activation[0, :, row, column]
        # A stable sort lists equally strong channels by number.
        order = torch.argsort(strengths, descending=True, stable=True)[:count].tolist()
        threshold = 0.0 if self.activation[0, 0].numel() > 1 else -math.inf
        responses = [ChannelResponse(channel, float(strengths[channel])) for channel in order]
        return [each for each in responses if each.strength and each.strength > threshold]

    def heatmap(self, channel: int) -> Tensor:
        """Return a channel's activation at the image's size, (1, 1, H, W), scaled to [0, 1]."""
        activation = self.activation[:, channel : channel + 1].clamp(min=0)
        heatmap = F.interpolate(activation, self.image.shape[2:], mode="bilinear")
        return heatmap / heatmap.amax().clamp(min=torch.finfo(heatmap.dtype).tiny)

    def overlay_heatmap(self, channel: int) -> Image.Image:
        """Return the image in dark grey, coloured where the channel is active."""
        heatmap = self.heatmap(channel)
        grey = self.image.mean(1, keepdim=True)
        colour = self.image.new_tensor(HIGHLIGHT_COLOUR).view(1, 3, 1, 1)
        highlighted = (self.image * 0.7 + colour * 0.5).clamp(0, 1)
        return to_pil_image(BACKGROUND_BRIGHTNESS * grey * (1 - heatmap) + highlighted * heatmap)
