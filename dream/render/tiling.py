"""Tiled gradients: large images in bounded memory, with tile borders that move at each step."""

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
# Whether a window touches the image's top, bottom, left and right edge.
ImageEdges = tuple[bool, bool, bool, bool]
# The edges of a window and its pixels (N, 3, h, w). A window is a tile plus a margin.
Window = tuple[ImageEdges, Tensor]

# Pixels of context that the network reads around a tile. The gradient of the margin is dropped.
TILE_MARGIN = 96
# Windows start at multiples of the coarsest stride of all networks, so that a layer's positions lie
# where they do when the image is read whole.
GRID_STRIDE = 32


def no_shift(image: Tensor) -> tuple[int, int]:
    """Return a shift of zero."""
    return 0, 0


def make_tiled_evaluator(
    evaluator_for: Callable[[ImageEdges], ValueAndGrad],
    tile: int,
    shift: Shift,
    generator: torch.Generator,
    deadline: float = math.inf,
    measure: Callable[[Iterator[Window]], None] | None = None,
) -> ValueAndGrad:
    """Return a function that computes values and gradient of images (N, 3, H, W) tile by tile.

    Tiles have about `tile` pixels a side. `generator` moves their borders at each call, so that no
    seam forms. The image is read as if rolled by a random `shift`, without a rolled copy. Values
    are summed over windows, so overlaps count twice. `measure` receives all windows first, for
    quantities that depend on the whole image. No tile begins after the deadline.
    """

    def evaluate(image: Tensor) -> tuple[Tensor, Tensor]:
        down, right = shift(image)
        height, width = image.shape[2:]
        rows, columns = (tile_spans(side, tile, generator) for side in (height, width))
        tiles = list(itertools.product(rows, columns))

        def windows() -> Iterator[Window]:
            for (_, row_window), (_, column_window) in tiles:
                check_deadline(deadline)
                edges = *_touches_edges(row_window, height), *_touches_edges(column_window, width)
                yield (
                    edges,
                    _read_rolled(_read_rolled(image, row_window, down, 2), column_window, right, 3),
                )

        if measure:
            measure(windows())
        values = image.new_zeros(len(image))
        gradient = torch.empty_like(image)
        for (row, column), (edges, window) in zip(tiles, windows(), strict=True):
            window_values, window_gradient = evaluator_for(edges)(window)
            values += window_values
            inner = window_gradient[:, :, _relative_slice(*row), _relative_slice(*column)]
            for to_rows, from_rows in _source_spans(row[0], down, height):
                for to_columns, from_columns in _source_spans(column[0], right, width):
                    gradient[:, :, to_rows, to_columns] = inner[:, :, from_rows, from_columns]
        return values, gradient

    return evaluate


def _touches_edges(window: slice, side: int) -> tuple[bool, bool]:
    return window.start == 0, window.stop == side


def check_deadline(deadline: float) -> None:
    """Check that there is time left.

    Raises:
        OutOfTime: if `time.monotonic()` is past the deadline.
    """
    if time.monotonic() > deadline:
        raise OutOfTime(f"this exceeds the time limit; {TIME_LIMIT_ADVICE}")


def _read_rolled(image: Tensor, span: slice, shift: int, dim: int) -> Tensor:
    """Return a span of the image as if it were rolled by `shift` pixels along `dim`."""
    pieces = _source_spans(span, shift, image.shape[dim])
    return torch.cat([image.narrow(dim, at.start, at.stop - at.start) for at, _ in pieces], dim)


def _source_spans(span: slice, shift: int, side: int) -> list[tuple[slice, slice]]:
    """Return where a span of a rolled side lies in the unrolled side: one or two pieces.

    Each piece is a pair: its slice of the unrolled side, and its slice of the span.
    """
    start, length = (span.start - shift) % side, span.stop - span.start
    first = min(length, side - start)
    pieces = [(slice(start, start + first), slice(0, first))]
    if first < length:
        pieces.append((slice(0, length - first), slice(first, length)))
    return pieces


def tile_spans(side: int, tile: int, generator: torch.Generator) -> list[tuple[slice, slice]]:
    """Return (tile, window) slices along a side; borders between tiles move at random.

    All windows but the last have the same length, so that means over a window are comparable. The
    last one ends at the image's edge.
    """
    count = math.ceil(side / tile)
    length = math.ceil(side / count)
    window = _floor_to_grid(length + 2 * TILE_MARGIN + 2 * GRID_STRIDE - 2)
    if count == 1 or window >= side:
        return [(slice(0, side), slice(0, side))]
    offset = int(torch.randint(-TILE_MARGIN, TILE_MARGIN + 1, (), generator=generator))
    borders = [0, *(index * length + offset for index in range(1, count)), side]
    last_start = _floor_to_grid(side - window)
    spans = []
    for start, stop in itertools.pairwise(borders):
        window_start = min(max(0, _floor_to_grid(start - TILE_MARGIN)), last_start)
        window_stop = side if window_start == last_start else window_start + window
        spans.append((slice(start, stop), slice(window_start, window_stop)))
    return spans


def _floor_to_grid(pixels: int) -> int:
    """Round down to a multiple of the grid."""
    return pixels // GRID_STRIDE * GRID_STRIDE


def _relative_slice(tile: slice, window: slice) -> slice:
    """Return the tile's slice within its window."""
    return slice(tile.start - window.start, tile.stop - window.start)
