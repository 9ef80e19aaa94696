"""Large pictures in bounded memory: a gradient put together of tiles, their borders never alike."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dream.errors import TIME_LIMIT_ADVICE, OutOfTime
from dream.networks.network import ValueAndGrad

Shift = Callable[[Tensor], tuple[int, int]]
# Whether a window has the picture's own edge above, below, to its left and to its right.
ImageEdges = tuple[bool, bool, bool, bool]
# A window by its edges, and what is seen in it (N, 3, h, w).
Window = tuple[ImageEdges, Tensor]

# What lies within so many pixels of a tile is looked at with it, its gradient thrown away: so what
# is at the border of a tile is seen in its surroundings.
TILE_MARGIN = 96
# Windows begin at multiples of this, the coarsest grid of the networks here: a position of a layer
# then lies where it does when the picture is looked at whole.
GRID_STRIDE = 32


def no_shift(image: Tensor) -> tuple[int, int]:
    """No shift."""
    return 0, 0


def tiled_value_and_grad(
    evaluator_for: Callable[[ImageEdges], ValueAndGrad],
    tile: int,
    shift: Shift,
    generator: torch.Generator,
    deadline: float = math.inf,
    measure: Callable[[Iterator[Window]], None] | None = None,
) -> ValueAndGrad:
    """Values and gradients of pictures (N, 3, H, W), worked out in tiles of about that side.

    `at` says how a window is read that has those edges of the picture; `measure` is given all
    windows before, for what depends on the whole picture.
    The picture is looked at rolled by what `shift` draws, as `jitter` does it, but without a copy
    of it all. The borders between tiles move by a random amount each time, so that no seam stays
    where it was. The values are those of all windows together, what they share counted twice. No
    tile begins after `until` (see `check_time`).
    """

    def evaluate(picture: Tensor) -> tuple[Tensor, Tensor]:
        turns = shift(picture)
        rows, columns = (tile_spans(side, tile, generator) for side in picture.shape[2:])
        tiles = list(itertools.product(rows, columns))

        def windows() -> Iterator[Window]:
            for (_, height), (_, width) in tiles:
                check_deadline(deadline)
                edges = (
                    *_touches_edges(height, picture.shape[2]),
                    *_touches_edges(width, picture.shape[3]),
                )
                yield (
                    edges,
                    _read_rolled(_read_rolled(picture, height, turns[0], 2), width, turns[1], 3),
                )

        if measure:
            measure(windows())
        values = picture.new_zeros(len(picture))
        gradient = torch.empty_like(picture)
        for ((down, height), (right, width)), (edges, seen) in zip(tiles, windows(), strict=True):
            value, change = evaluator_for(edges)(seen)
            values += value
            inner = change[:, :, _relative_slice(down, height), _relative_slice(right, width)]
            for place, own in _source_spans(down, turns[0], picture.shape[2]):
                for across, part in _source_spans(right, turns[1], picture.shape[3]):
                    gradient[:, :, place, across] = inner[:, :, own, part]
        return values, gradient

    return evaluate


def _touches_edges(window: slice, side: int) -> tuple[bool, bool]:
    return window.start == 0, window.stop == side


def check_deadline(deadline: float) -> None:
    """Whether work may go on.

    Raises:
        OutOfTime: if it is later than that, by `time.monotonic`.
    """
    if time.monotonic() > deadline:
        raise OutOfTime(f"this takes longer than it may here; {TIME_LIMIT_ADVICE}")


def _read_rolled(image: Tensor, span: slice, turn: int, dim: int) -> Tensor:
    """That span of a picture rolled by so many pixels along one side."""
    pieces = _source_spans(span, turn, image.shape[dim])
    return torch.cat([image.narrow(dim, at.start, at.stop - at.start) for at, _ in pieces], dim)


def _source_spans(span: slice, turn: int, side: int) -> list[tuple[slice, slice]]:
    """Where a span of a side lies before it is rolled: in pieces, each with its place in it."""
    start, length = (span.start - turn) % side, span.stop - span.start
    first = min(length, side - start)
    pieces = [(slice(start, start + first), slice(0, first))]
    if first < length:
        pieces.append((slice(0, length - first), slice(first, length)))
    return pieces


def tile_spans(side: int, tile: int, generator: torch.Generator) -> list[tuple[slice, slice]]:
    """The tiles along a side, each with the window in which it is looked at.

    All windows are of one length, but for the last, which ends where the picture does: values that
    are means over a window are then of one scale.
    """
    count = math.ceil(side / tile)
    length = math.ceil(side / count)
    window = _floor_to_grid(length + 2 * TILE_MARGIN + 2 * GRID_STRIDE - 2)
    if count == 1 or window >= side:
        return [(slice(0, side), slice(0, side))]
    moved = int(torch.randint(-TILE_MARGIN, TILE_MARGIN + 1, (), generator=generator))
    borders = [0, *(place * length + moved for place in range(1, count)), side]
    tiles = []
    for start, stop in zip(borders, borders[1:], strict=False):
        first = min(max(0, _floor_to_grid(start - TILE_MARGIN)), _floor_to_grid(side - window))
        last = side if first == _floor_to_grid(side - window) else first + window
        tiles.append((slice(start, stop), slice(first, last)))
    return tiles


def _floor_to_grid(pixels: int) -> int:
    """The largest multiple of the grid that is no more."""
    return pixels // GRID_STRIDE * GRID_STRIDE


def _relative_slice(tile: slice, window: slice) -> slice:
    return slice(tile.start - window.start, tile.stop - window.start)
