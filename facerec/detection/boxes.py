"""Box arithmetic of MTCNN. Boxes are `(N, 4) float32` x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from facerec.detection.workers import Map, in_turn

Overlap = Literal["union", "min"]

_BLOCK = 128
_OUTSIDE = -3.0


def rank(scores: Tensor, sizes: Sequence[int] = (), most: int | None = None) -> Tensor:
    """Indices of the scores `(N,)`, highest first.

    Scores near 1 are often equal. NumPy's default sort, read backwards, breaks the tie as
    mtcnn 1.0.0 does, which decides which of two neighbouring boxes is refined.

    Args:
        scores: `(N,)`.
        sizes: how many scores belong to each group; groups are ranked one after the other.
        most: how many of a group are kept.
    """
    groups = torch.split(scores, list(sizes or [len(scores)]))
    starts = np.cumsum([0, *sizes])
    ranked = [start + _rank(group)[:most] for start, group in zip(starts, groups, strict=False)]
    return torch.cat(ranked)


def _rank(scores: Tensor) -> Tensor:
    if scores.is_cuda:
        return scores.argsort(descending=True, stable=True)
    return torch.from_numpy(np.argsort(scores.numpy().astype(np.float64))[::-1].copy())


def suppress(
    boxes: Tensor,
    threshold: float,
    overlap: Overlap,
    *,
    sizes: Sequence[int] = (),
    run: Map = in_turn,
) -> Tensor:
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
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    if len(boxes) < 2:
        return kept
    corner, opposite = torch.split(boxes.T.contiguous(), 2)
    area = torch.mul(*(opposite - corner))
    ends = np.cumsum(sizes or [len(boxes)], dtype=np.int32)
    end = torch.from_numpy(np.repeat(ends, sizes or [len(boxes)])).to(boxes.device)

    def overlapped(start: int) -> Tensor:
        """Of the boxes from `start` on, those that one of the next `_BLOCK` suppresses."""
        last = min(start + _BLOCK, len(boxes))
        block, rest = slice(start, last), slice(start, int(ends[np.searchsorted(ends, last)]))
        sides = torch.minimum(opposite[:, block, None], opposite[:, None, rest])
        sides -= torch.maximum(corner[:, block, None], corner[:, None, rest])
        excess = torch.mul(*sides.clamp_min_(0))
        if overlap == "union":
            # i / (a + b - i) > t without dividing
            allowed = (area[block, None] + area[rest]).mul_(threshold / (1 + threshold))
        else:
            allowed = torch.minimum(area[block, None], area[rest]).mul_(threshold)
        excess -= allowed
        excess[:, : last - start].triu_(1)
        if len(ends) > 1:
            excess.masked_fill_(end[block, None] != end[rest], 0)
        return excess.amax(0) > 0

    starts = range(0, len(boxes), _BLOCK)
    for start, lost in zip(starts, run(overlapped, starts), strict=True):
        kept[start : start + len(lost)] &= ~lost
    return kept


def regress(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Move each edge by its offset, in units of the box's side plus one pixel."""
    sides = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    return boxes + offsets * sides


def squared(boxes: Tensor) -> Tensor:
    """Squares with the same centres and the longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return torch.cat([corner, corner + longer], 1)


def crop(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut boxes out of an image, bilinearly resized; what lies outside the image is 0.

    A crop's corner samples lie on the box's corners, whose coordinates are first shrunk by
    `(H - 1) / H`: TensorFlow's `crop_and_resize` as mtcnn 1.0.0 calls it.

    Args:
        pixels: `(H, W, 3) float32`, both sides longer than 1.
        boxes: `(N, 4) float32`.
        size: side of a crop.

    Returns:
        `(N, 3, size, size) float32`, channels last in memory.
    """
    height, width = pixels.shape[:2]
    steps = torch.linspace(0, 1, size, device=boxes.device)

    def positions(first: Tensor, last: Tensor, length: int) -> Tensor:
        # in grid_sample's measure, where the image reaches from -1 to 1
        at = (first + (last - first) * steps) * (2 / length) - 1
        return torch.where(at.abs() <= 1, at, _OUTSIDE)

    x = positions(boxes[:, :1], boxes[:, 2:3], width)[:, None, :].expand(-1, size, size)
    y = positions(boxes[:, 1:2], boxes[:, 3:], height)[:, :, None].expand(-1, size, size)
    grid = torch.stack([x, y], -1).view(1, -1, size, 2)
    crops = grid_sample(pixels.permute(2, 0, 1)[None], grid, align_corners=True)
    crops = crops.view(3, -1, size, size).permute(1, 0, 2, 3)
    return crops.contiguous(memory_format=torch.channels_last)
