"""Box arithmetic of MTCNN. Boxes are `(N, 4) float32` x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from facerec.detection.mtcnn.arrays import Array, alike, namespace, numpy_of, tensor_of
from facerec.parallel.workers import Map, in_turn

Overlap = Literal["union", "min"]
Counts = list[int]
"""How many rows of an array belong to each picture (or to each of its levels), in their order."""

_BLOCK = 128
_MANY = 256
"""From so many boxes on PyTorch compares pairs in less time than NumPy."""
_SHARED = 1500
"""From so many boxes on it is worth sharing the pairs out: below, threads would mostly wait for one
another between steps of microseconds."""
_OUTSIDE = -3.0


def owners(counts: Counts) -> NDArray[np.intp]:
    """The number of the picture that each row belongs to."""
    return np.repeat(np.arange(len(counts)), counts)


def count_kept(kept: Array, counts: Counts) -> Counts:
    """How many rows of each picture a mask `(N,) bool` keeps."""
    of = owners(counts)[numpy_of(kept)]
    left: Counts = np.bincount(of, minlength=len(counts)).tolist()
    return left


def rank(scores: Array, sizes: Sequence[int] = (), most: int | None = None) -> Array:
    """Indices of the scores `(N,)`, highest first.

    Scores near 1 are often equal. NumPy's default sort, read backwards, breaks the tie as
    mtcnn 1.0.0 does, which decides which of two neighbouring boxes is refined.

    Args:
        scores: `(N,)`.
        sizes: how many scores belong to each group; groups are ranked one after the other.
        most: how many of a group are kept.
    """
    edges = np.cumsum([0, *(sizes or [len(scores)])]).tolist()
    ranked = [start + _ranked(scores[start:stop])[:most] for start, stop in pairwise(edges)]
    order: Array = namespace(scores).concatenate(ranked)
    return order


def _ranked(scores: NDArray[Any] | Tensor) -> Any:
    if isinstance(scores, np.ndarray):
        return np.argsort(scores.astype(np.float64))[::-1]
    return scores.argsort(descending=True, stable=True)


def suppress(
    boxes: Array,
    threshold: float,
    overlap: Overlap,
    *,
    sizes: Sequence[int] = (),
    run: Map = in_turn,
) -> Array:
    """Mask `(N,) bool` of the boxes that no box before them overlaps more than `threshold`.

    A box suppresses the ones after it even when it is suppressed itself, as in mtcnn 1.0.0;
    that makes the result a comparison of all pairs, without a loop over boxes.

    Args:
        boxes: `(N, 4)`, best first.
        threshold: largest overlap that two kept boxes may have.
        overlap: intersection over the `union`, or over the smaller box (`min`).
        sizes: how many boxes belong to each group; only those of one group are compared.
        run: applies a function to items, in any order, perhaps in parallel.
    """
    if isinstance(boxes, np.ndarray) and len(boxes) >= _MANY:
        many = suppress(tensor_of(boxes), threshold, overlap, sizes=sizes, run=run)
        return many.numpy()
    xp = namespace(boxes)
    kept: Array = alike(np.ones(len(boxes), bool), boxes)
    if len(boxes) < 2:
        return kept
    columns = xp.stack([boxes[:, column] for column in range(4)])
    corner, opposite = columns[:2], columns[2:]
    area = (opposite[0] - corner[0]) * (opposite[1] - corner[1])
    ends = np.cumsum(sizes or [len(boxes)], dtype=np.int32)
    end = alike(np.repeat(ends, sizes or [len(boxes)]), boxes)

    def overlapped(start: int) -> Any:
        """Of the boxes from `start` on, those that one of the next `_BLOCK` suppresses."""
        last = min(start + _BLOCK, len(boxes))
        block, rest = slice(start, last), slice(start, int(ends[np.searchsorted(ends, last)]))
        sides = xp.minimum(opposite[:, block, None], opposite[:, None, rest])
        sides -= xp.maximum(corner[:, block, None], corner[:, None, rest])
        xp.clip(sides, 0, None, out=sides)
        excess = sides[0] * sides[1]
        if overlap == "union":
            # i / (a + b - i) > t without dividing
            allowed = (area[block, None] + area[rest]) * (threshold / (1 + threshold))
        else:
            allowed = xp.minimum(area[block, None], area[None, rest]) * threshold
        excess -= allowed
        excess[:, : last - start] = xp.triu(excess[:, : last - start], 1)
        if len(ends) > 1:
            excess *= end[block, None] == end[rest]
        return xp.amax(excess, 0) > 0

    starts = range(0, len(boxes), _BLOCK)
    if len(boxes) < _SHARED:
        run = in_turn
    for start, lost in zip(starts, run(overlapped, starts), strict=True):
        kept[start : start + len(lost)] &= ~lost
    return kept


def regress(boxes: Array, offsets: Array) -> Array:
    """Move each edge by its offset, in units of the box's side plus one pixel."""
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
    """Cut boxes out of images, bilinearly resized; what lies outside an image is 0.

    A crop's corner samples lie on the box's corners, whose coordinates are first shrunk by
    `(H - 1) / H`: TensorFlow's `crop_and_resize` as mtcnn 1.0.0 calls it.

    Args:
        images: `(M, H, W, 3) float32`, both sides longer than 1.
        boxes: `(N, 4) float32`.
        of: which image each box is of, `(N,)`, ascending.
        size: side of a crop.

    Returns:
        `(N, 3, size, size) float32`, in one piece.
    """
    height, width = images.shape[1:3]
    xp = namespace(boxes)
    steps = alike(np.linspace(0, 1, size, dtype=np.float32), boxes)

    def positions(first: Any, last: Any, length: int) -> Any:
        # in grid_sample's measure, where the image reaches from -1 to 1
        at = (first + (last - first) * steps) * (2 / length) - 1
        return xp.where(abs(at) <= 1, at, _OUTSIDE)

    x = positions(boxes[:, :1], boxes[:, 2:3], width)[:, None, :]
    y = positions(boxes[:, 1:2], boxes[:, 3:], height)[:, :, None]
    shape = (len(boxes), size, size)
    grid = tensor_of(xp.stack([xp.broadcast_to(x, shape), xp.broadcast_to(y, shape)], -1))
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
