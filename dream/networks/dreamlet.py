"""Dreamlet, the network that ships with the project: GoogLeNet at 5/8 of its width.

Szegedy et al. 2014 without batch norm and local response norm, distilled for this project from
BVLC GoogLeNet (README, "Credits"). Weights: `dreamlet.safetensors` beside this file, 6 MB, MIT.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream import deterministic


class ConvReLU(nn.Module):
    """A convolution with bias and "same" padding, then ReLU."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, H, W), with sides divided by the stride and rounded up."""
        return torch.relu(self.conv(x))


class Inception(nn.Module):
    """Inception block: four branches of one input, concatenated by channel."""

    def __init__(
        self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int
    ) -> None:
        super().__init__()
        self.branch1 = ConvReLU(channels, one, 1)
        self.branch2 = nn.Sequential(ConvReLU(channels, three[0], 1), ConvReLU(*three, 3))
        self.branch3 = nn.Sequential(ConvReLU(channels, five[0], 1), ConvReLU(*five, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), ConvReLU(channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the concatenated branches (N, C, H, W) of x."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class LogitLayer(nn.Linear):
    """Fully connected layer, in float64 on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of (N, C)."""
        return F.linear(
            deterministic.upcast(x),
            deterministic.upcast(self.weight),
            deterministic.upcast(self.bias),
        )


class Dreamlet(nn.Module):
    """The network, for ImageNet-normalised RGB (N, 3, H, W) of at least 32 pixels a side."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = ConvReLU(3, 40, 7, stride=2)
        self.conv2 = ConvReLU(40, 40, 1)
        self.conv3 = ConvReLU(40, 120, 3)
        self.inception3a = Inception(120, 40, (64, 80), (8, 24), 24)
        self.inception3b = Inception(168, 80, (80, 120), (24, 64), 40)
        self.inception4a = Inception(304, 120, (64, 128), (8, 32), 40)
        self.inception4b = Inception(320, 104, (72, 144), (16, 40), 40)
        self.inception4c = Inception(328, 80, (80, 160), (16, 40), 40)
        self.inception4d = Inception(320, 72, (88, 184), (24, 40), 40)
        self.inception4e = Inception(336, 160, (104, 200), (24, 80), 80)
        self.inception5a = Inception(520, 160, (104, 200), (24, 80), 80)
        self.inception5b = Inception(520, 240, (120, 240), (32, 80), 80)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.fc = LogitLayer(640, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes)."""
        x = self.pool(self.conv1(x))
        x = self.pool(self.conv3(self.conv2(x)))
        x = self.pool(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.pool(self.inception4e(self.inception4d(x)))
        x = self.inception5b(self.inception5a(x))
        logits: Tensor = self.fc(deterministic.upcast(x).mean((2, 3)))
        return logits
