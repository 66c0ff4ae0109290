"""Box arithmetic of MTCNN. Boxes are `(N, 4) float32` x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from facerec.detection.mtcnn.arrays import Array, as_like, as_numpy, as_tensor, namespace
from facerec.parallel.threads import Map, map_serially

Overlap = Literal["union", "min"]
Counts = list[int]
"""Rows of an array per image (or per level of each image), in order."""

_BLOCK = 128
_SORTED_FROM, _SORTED_PAIRS = 256, 1 << 16
"""Boxes from which only those are compared that lie side by side, and pairs of a block then."""
_PARALLEL_FROM = 1500
"""Boxes from which threads share the pairs: with fewer they mostly wait for the GIL."""
_OUTSIDE = -3.0


def image_indices(counts: Counts) -> NDArray[np.intp]:
    """Index of each row's image."""
    return np.repeat(np.arange(len(counts)), counts)


def count_kept(kept: Array, counts: Counts) -> Counts:
    """Rows of each image that a mask `(N,) bool` keeps."""
    ends = np.cumsum([0, *counts])
    if isinstance(kept, np.ndarray):
        before = np.concatenate([[0], np.cumsum(kept)])[ends]
    else:
        running = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
        before = as_numpy(running[as_like(ends, kept)])
    left: Counts = np.diff(before).tolist()
    return left


def order_by_score(scores: Array, sizes: Sequence[int] = (), most: int | None = None) -> Array:
    """Indices of the scores `(N,)`, highest first.

    Scores near 1 are often equal. NumPy's default sort, reversed, breaks ties as mtcnn 1.0.0 does,
    which decides which of two neighbouring boxes is refined.

    Args:
        scores: `(N,)`.
        sizes: of groups, each sorted by itself; empty: one group.
        most: kept of each group.
    """
    sizes = sizes or [len(scores)]
    if not isinstance(scores, np.ndarray):
        return _order_on_device(scores, sizes, most)
    edges = np.cumsum([0, *sizes]).tolist()
    ranked = [
        start + _argsort_descending(scores[start:stop])[:most] for start, stop in pairwise(edges)
    ]
    return np.concatenate(ranked)


def _argsort_descending(scores: NDArray[Any]) -> NDArray[np.intp]:
    return np.argsort(scores.astype(np.float64))[::-1]


def _order_on_device(scores: Tensor, sizes: Sequence[int], most: int | None) -> Tensor:
    """`order_by_score` of all groups at once; which rows are kept is known from the sizes."""
    group = as_like(np.repeat(np.arange(len(sizes)), sizes), scores)
    order = scores.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    if most is None or max(sizes, default=0) <= most:
        return order
    rank = np.concatenate([np.arange(size) for size in sizes])
    return order[as_like(np.flatnonzero(rank < most), scores)]


def suppress(
    boxes: Array,
    threshold: float,
    overlap: Overlap,
    *,
    sizes: Sequence[int] = (),
    run: Map = map_serially,
) -> Array:
    """Non-maximum suppression: mask `(N,) bool` of boxes that no box before them overlaps more than
    `threshold`.

    A suppressed box suppresses others too, as in mtcnn 1.0.0, so all pairs are compared at once.

    Args:
        boxes: `(N, 4)`, best first.
        threshold: largest overlap of two kept boxes.
        overlap: intersection over the `union`, or over the smaller box (`min`).
        sizes: of groups, which do not suppress each other; empty: one group.
        run: applies a function to items, perhaps in parallel.
    """
    if len(boxes) < _PARALLEL_FROM:
        run = map_serially
    if isinstance(boxes, np.ndarray) and len(boxes) >= _SORTED_FROM:
        return _suppress_sorted(boxes, threshold, overlap, sizes or [len(boxes)], run)
    xp = namespace(boxes)
    kept: Array = as_like(np.ones(len(boxes), bool), boxes)
    if len(boxes) < 2:
        return kept
    columns: Any = _corners_and_area(boxes)
    ends = np.cumsum(sizes or [len(boxes)], dtype=np.int32)
    end = as_like(np.repeat(ends, sizes or [len(boxes)]), boxes)

    def overlapped(start: int) -> Any:
        """Mask of the boxes from `start` on that one of the next `_BLOCK` suppresses."""
        last = min(start + _BLOCK, len(boxes))
        block, rest = slice(start, last), slice(start, int(ends[np.searchsorted(ends, last)]))
        excess = _excess_overlap(
            columns[:, block, None], columns[:, None, rest], threshold, overlap
        )
        excess[:, : last - start] = xp.triu(excess[:, : last - start], 1)
        if len(ends) > 1:
            excess *= end[block, None] == end[rest]
        return xp.amax(excess, 0) > 0

    starts = range(0, len(boxes), _BLOCK)
    for start, lost in zip(starts, run(overlapped, starts), strict=True):
        kept[start : start + len(lost)] &= ~lost
    return kept


def _suppress_sorted(
    boxes: NDArray[np.float32], threshold: float, overlap: Overlap, sizes: Sequence[int], run: Map
) -> NDArray[np.bool_]:
    """`suppress`, each box compared with those of its group that begin before it ends, along the
    axis on which boxes lie farther apart."""
    axis = int(np.ptp(boxes[:, 1]) > np.ptp(boxes[:, 0]))
    edges = boxes[:, axis::2].astype(np.float64)
    # Groups lie one behind the other, so that none begins before another's end.
    edges += np.repeat(np.arange(len(sizes)) * (np.ptp(edges) + 1), sizes)[:, None]
    order = edges[:, 0].argsort()
    begin, end = edges[order].T
    reach = np.searchsorted(begin, end) - np.arange(1, len(boxes) + 1)
    kept = np.ones(len(boxes), bool)
    most = int(reach.max())
    if most < 1:
        return kept
    columns = pad(_corners_and_area(as_tensor(boxes[order])), (0, most))
    rows = max(1, _SORTED_PAIRS // most)

    def overlapped(start: int) -> NDArray[np.intp]:
        """Indices of the boxes that are lost by comparing those from `start` on."""
        stop = min(start + rows, len(boxes))
        farthest = max(1, int(reach[start:stop].max()))
        later = columns[:, start + 1 : stop + farthest].unfold(1, farthest, 1)
        excess = _excess_overlap(columns[:, start:stop, None], later, threshold, overlap)
        box, distance = np.nonzero((excess > 0).numpy())
        box += start
        same = distance < reach[box]
        lost: NDArray[np.intp] = np.maximum(order[box[same]], order[(box + 1 + distance)[same]])
        return lost

    for lost in run(overlapped, range(0, len(boxes), rows)):
        kept[lost] = False
    return kept


def _corners_and_area(boxes: Array) -> Array:
    """Columns x1, y1, x2, y2 and area, `(5, N)`."""
    xp = namespace(boxes)
    columns: list[Any] = [boxes[:, column] for column in range(4)]
    area = (columns[2] - columns[0]) * (columns[3] - columns[1])
    stacked: Array = xp.stack([*columns, area])
    return stacked


def _excess_overlap(one: Any, other: Any, threshold: float, overlap: Overlap) -> Any:
    """How far the overlap of boxes, as `(5, …)` of `_corners_and_area`, exceeds the threshold: an
    area of that sign."""
    xp = namespace(one)
    sides = xp.minimum(one[2:4], other[2:4])
    sides -= xp.maximum(one[:2], other[:2])
    xp.clip(sides, 0, None, out=sides)
    excess = sides[0] * sides[1]
    if overlap == "union":
        # i / (a + b - i) > t without dividing
        excess -= (one[4] + other[4]) * (threshold / (1 + threshold))
    else:
        excess -= xp.minimum(one[4], other[4]) * threshold
    return excess


def regress(boxes: Array, offsets: Array) -> Array:
    """Box regression: move each edge by its offset, in units of the side plus one pixel."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    moved: Array = boxes + offsets * namespace(boxes).concatenate([sides, sides], 1)
    return moved


def squared(boxes: Array) -> Array:
    """Squares with the same centres and the longer side."""
    xp = namespace(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = xp.maximum(sides[:, :1], sides[:, 1:])
    corner = boxes[:, :2] + sides * 0.5 - longer * 0.5
    squares: Array = xp.concatenate([corner, corner + longer], 1)
    return squares


def crop(images: Tensor, boxes: Array, of: NDArray[np.intp], size: int) -> Tensor:
    """Bilinear crops of boxes, 0 outside the image.

    A crop's corner samples lie on the box's corners, whose coordinates are first scaled by
    `(H - 1) / H`: TensorFlow's `crop_and_resize` as mtcnn 1.0.0 calls it.

    Args:
        images: `(M, H, W, 3) float32`, both sides longer than 1.
        boxes: `(N, 4) float32`.
        of: index of each box's image, `(N,)`, ascending.
        size: side of a crop.

    Returns:
        `(N, 3, size, size) float32`, contiguous.
    """
    height, width = images.shape[1:3]
    xp = namespace(boxes)
    steps = as_like(np.linspace(0, 1, size, dtype=np.float32), boxes)

    def positions(first: Any, last: Any, length: int) -> Any:
        # grid_sample's coordinates, in which the image spans -1 to 1
        at = (first + (last - first) * steps) * (2 / length) - 1
        return xp.where(abs(at) <= 1, at, _OUTSIDE)

    x = positions(boxes[:, :1], boxes[:, 2:3], width)[:, None, :]
    y = positions(boxes[:, 1:2], boxes[:, 3:], height)[:, :, None]
    shape = (len(boxes), size, size)
    grid = as_tensor(xp.stack([xp.broadcast_to(x, shape), xp.broadcast_to(y, shape)], -1))
    edges = [0, *(np.flatnonzero(np.diff(of)) + 1).tolist(), len(boxes)]
    crops = [
        grid_sample(
            images[int(of[first])].permute(2, 0, 1).expand(last - first, -1, -1, -1),
            grid[first:last],
            align_corners=True,
        )
        for first, last in pairwise(edges)
    ]
    return torch.cat(crops) if len(crops) > 1 else crops[0]
