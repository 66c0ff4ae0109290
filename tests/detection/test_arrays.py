"""How rows are divided among threads."""

from __future__ import annotations

import pytest

from facerec.detection.mtcnn.arrays import shared_slices


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [
        (0, 2, []),
        (3, 2, [3]),
        (9, 2, [8, 1]),
        (40, 1, [32, 8]),
        (40, 2, [24, 16]),
        (100, 2, [32, 32, 24, 12]),
        (128, 2, [32, 32, 32, 32]),
        (300, 4, [32] * 8 + [16, 16, 12]),
    ],
)
def test_what_is_left_is_shared_too(count: int, shares: int, sizes: list[int]) -> None:
    slices = shared_slices(count, 32, 8, shares)
    assert [part.stop - part.start for part in slices] == sizes
    assert [row for part in slices for row in range(count)[part]] == list(range(count))
