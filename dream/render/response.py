"""What a layer answers to a picture: which channels, how strongly, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream.errors import RecipeError
from dream.recipe.knob import Knob
from dream.tensors import to_pil_image

# The colour that marks where a channel answers: the page's coral.
HIGHLIGHT_COLOUR = (1.0, 0.35, 0.35)
BACKGROUND_BRIGHTNESS = 0.55
# How many channels may be asked for; a layer that has fewer gives those.
COUNT_KNOB = Knob("How many channels.", 1, 65536, value_type=int)


@dataclass(frozen=True)
class ChannelResponse:
    """A channel and how strongly it answers."""

    channel: int
    strength: float


@dataclass(frozen=True)
class LayerResponse:
    """The activations (1, C, h, w) of a layer for a picture (1, 3, H, W) in [0, 1]."""

    image: Tensor
    activation: Tensor

    def top(self, count: int = 8, spot: tuple[float, float] | None = None) -> list[ChannelResponse]:
        """The channels that answer most strongly, the strongest first; silent ones are left out,
        and those that answer negatively, as before a ReLU. Logits, which have no place, are all
        there: in them only differences count.

        Over the whole picture on average; or at a spot (across, down), in shares of width and
        height from 0 to 1.

        Raises:
            RecipeError: if the spot lies outside, or the count is none from 1 to 65536.
        """
        count = COUNT_KNOB.check("count", count)
        if spot is None:
            strengths = self.activation[0].flatten(1).mean(1)
        else:
            if not all(0 <= share <= 1 for share in spot):
                raise RecipeError(
                    f"the spot must lie in the picture: 0 to 1 across and down, not {spot}"
                )
            across, down = spot
            height, width = self.activation.shape[2:]
            row, column = min(int(down * height), height - 1), min(int(across * width), width - 1)
            strengths = self.activation[0, :, row, column]
        # Sorted so that equals come in the order of their numbers.
        order = torch.argsort(strengths, descending=True, stable=True)[:count].tolist()
        least = 0.0 if self.activation[0, 0].numel() > 1 else -math.inf
        answers = [ChannelResponse(channel, float(strengths[channel])) for channel in order]
        return [each for each in answers if each.strength and each.strength > least]

    def heatmap(self, channel: int) -> Tensor:
        """Where a channel answers: (1, 1, H, W) at the size of the picture, from 0 to 1."""
        activation = self.activation[:, channel : channel + 1].clamp(min=0)
        seen = F.interpolate(activation, self.image.shape[2:], mode="bilinear")
        return seen / seen.amax().clamp(min=torch.finfo(seen.dtype).tiny)

    def overlay_heatmap(self, channel: int) -> Image.Image:
        """The picture, dimmed and marked where the channel answers."""
        share = self.heatmap(channel)
        grey = self.image.mean(1, keepdim=True)
        mark = self.image.new_tensor(HIGHLIGHT_COLOUR).view(1, 3, 1, 1)
        lit = (self.image * 0.7 + mark * 0.5).clamp(0, 1)
        return to_pil_image(BACKGROUND_BRIGHTNESS * grey * (1 - share) + lit * share)
