"""How a network reads an image: whole, in tiles of bounded memory, or with circular padding."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dream.errors import TIME_LIMIT_ADVICE, OutOfTime
from dream.networks.network import Network, ValueAndGrad
from dream.render.objective import AnyObjective, ImageEdges, NormalisedBlend
from dream.render.transform import pad_edges
from dream.tensors import Size, WrapDims, size_of

Shift = Callable[[Tensor], tuple[int, int]]

# Pixels of context that the network reads around a tile, or beyond an edge that wraps. Their
# gradient is dropped.
TILE_MARGIN = 96
# Windows start at multiples of the coarsest stride of all networks, so that a layer's positions lie
# where they do when the image is read whole.
GRID_STRIDE = 32


def make_image_evaluator(
    network: Network,
    objective: AnyObjective,
    tile: int,
    shift: Shift | None,
    generator: torch.Generator,
    deadline: float = math.inf,
    *,
    redirect_relus: bool = False,
) -> ValueAndGrad:
    """Return a function for the values and gradient of images (N, 3, H, W).

    They are read whole, or in tiles of about `tile` pixels a side. `generator` moves the borders of
    tiles at each call, so that no seam forms. Tiles are read as if the image was rolled by a random
    `shift`, without a rolled copy. Values are summed over windows, so overlaps count twice. No tile
    begins after the deadline.
    """
    if not tile:
        return network.value_and_grad(objective, redirect_relus=redirect_relus)

    def evaluate(image: Tensor) -> tuple[Tensor, Tensor]:
        tiles = _cut_tiles(image, tile, shift(image) if shift else (0, 0), generator)
        whole = _measure_blend(network, objective, _timely(tiles, deadline), image)
        values, gradient = image.new_zeros(len(image)), torch.empty_like(image)
        for each in _timely(tiles, deadline):
            part = whole.for_window(each.edges)
            value_and_grad = network.value_and_grad(part, redirect_relus=redirect_relus)
            window_values, window_gradient = value_and_grad(each.read_window(image))
            values += window_values
            each.write_tile(gradient, window_gradient)
        return values, gradient

    return evaluate


def _measure_blend(
    network: Network, objective: AnyObjective, tiles: Iterable[Tile], image: Tensor
) -> AnyObjective:
    """Return the objective; a blend with its magnitudes in the whole image, measured by tiles."""
    if not isinstance(objective, NormalisedBlend):
        return objective
    magnitudes = []
    with torch.no_grad():
        for each in tiles:
            activations = network.activations(each.read_window(image), objective.layers)
            magnitudes.append(objective.for_window(each.edges).measure(activations))
    return replace(objective, magnitudes=torch.stack(magnitudes).sum(0))


@dataclass(frozen=True)
class Tile:
    """A tile of an image rolled by `shift`, and its window: the tile plus a margin.

    `spans` are the (tile, window) slices of rows and of columns, `edges` those of the image that
    the window touches.
    """

    spans: tuple[tuple[slice, slice], ...]
    shift: tuple[int, int]
    edges: ImageEdges

    def read_window(self, image: Tensor) -> Tensor:
        """Return the window (N, 3, h, w) of the rolled image."""
        for dim, ((_, window), shift) in enumerate(zip(self.spans, self.shift, strict=True), 2):
            image = image.index_select(dim, _unrolled_indices(window, shift, image, dim))
        return image

    def write_tile(self, target: Tensor, window: Tensor) -> None:
        """Copy the tile's part of a window to its place in the unrolled target."""
        (tile_rows, window_rows), (tile_columns, window_columns) = self.spans
        rows = _unrolled_indices(tile_rows, self.shift[0], target, 2)
        columns = _unrolled_indices(tile_columns, self.shift[1], target, 3)
        down, right = tile_rows.start - window_rows.start, tile_columns.start - window_columns.start
        inner = window[:, :, down : down + len(rows), right : right + len(columns)]
        target[:, :, rows[:, None], columns] = inner


def _unrolled_indices(span: slice, shift: int, image: Tensor, dim: int) -> Tensor:
    """Return where the positions of a span of a rolled side lie in the unrolled side."""
    return torch.arange(span.start - shift, span.stop - shift, device=image.device).remainder(
        image.shape[dim]
    )


def _cut_tiles(
    image: Tensor, tile: int, shift: tuple[int, int], generator: torch.Generator
) -> list[Tile]:
    """Return the tiles of an image rolled by `shift`."""
    height, width = size_of(image)
    rows, columns = (tile_spans(side, tile, generator) for side in (height, width))
    tiles = []
    for row, column in itertools.product(rows, columns):
        (_, across), (_, along) = row, column
        edges = across.start == 0, across.stop == height, along.start == 0, along.stop == width
        tiles.append(Tile((row, column), shift, edges))
    return tiles


def _timely(tiles: Iterable[Tile], deadline: float) -> Iterator[Tile]:
    """Yield the tiles while there is time left. Raises as `check_deadline`."""
    for each in tiles:
        check_deadline(deadline)
        yield each


def check_deadline(deadline: float) -> None:
    """Check that there is time left.

    Raises:
        OutOfTime: if `time.monotonic()` is past the deadline.
    """
    if time.monotonic() > deadline:
        raise OutOfTime(f"this exceeds the time limit; {TIME_LIMIT_ADVICE}")


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


def padded_size(size: Size, wrap_dims: WrapDims) -> Size:
    """Return the (height, width) of an image after wrap padding."""
    down, right = _wrap_margins(size, wrap_dims)
    return size[0] + 2 * down, size[1] + 2 * right


def with_wrap_padding(value_and_grad: ValueAndGrad, wrap_dims: WrapDims) -> ValueAndGrad:
    """Return `value_and_grad` on images padded circularly; the padding's gradient is dropped."""
    if not wrap_dims:
        return value_and_grad

    def evaluate(image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = size_of(image)
        down, right = _wrap_margins((height, width), wrap_dims)
        values, gradient = value_and_grad(pad_edges(image, down, right, wrap_dims))
        return values, gradient[:, :, down : down + height, right : right + width]

    return evaluate


def _wrap_margins(size: Size, wrap_dims: WrapDims) -> Size:
    down, right = (
        min(TILE_MARGIN, side) if dim in wrap_dims else 0 for dim, side in enumerate(size, start=2)
    )
    return down, right
