"""Non-maximum suppression of many groups gives what each gives alone."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.detection.mtcnn.boxes import Overlap, suppress


@pytest.mark.parametrize("overlap", ["union", "min"])
@pytest.mark.parametrize(
    "sizes",
    [
        [300],
        [1200],
        [100, 200, 1],
        [5] * 100,
        [1] * 400,
        [256, 256, 0, 3],
        [0, 0, 257, 255],
        [0, 256, 0],
    ],
    ids=str,
)
def test_groups_do_not_suppress_each_other(sizes: list[int], overlap: Overlap) -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 60, (sum(sizes), 2))
    opposite = corner + random.uniform(5, 30, corner.shape)
    boxes = np.concatenate([corner, opposite], 1).astype(np.float32)
    together = suppress(boxes, 0.5, overlap, sizes=sizes)
    groups = np.split(boxes, np.cumsum(sizes)[:-1])
    alone = [_suppressed(group, 0.5, overlap) for group in groups]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert together.any()


def _suppressed(boxes: np.ndarray, threshold: float, overlap: Overlap) -> np.ndarray:
    """One box after the other, by the definition."""
    kept = np.ones(len(boxes), bool)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for row, box in enumerate(boxes):
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        inner = np.prod(sides.clip(0), axis=1)
        if overlap == "union":
            share = inner / (area + area[row] - inner)
        else:
            share = inner / np.minimum(area, area[row])
        kept[row + 1 :] &= share[row + 1 :] <= threshold
    return kept
