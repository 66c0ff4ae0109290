"""A person's plot shows the tree and the threshold, however alike the images are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from facerec.cleanup.drawing import draw_person
from facerec.cleanup.photos import Photos
from facerec.profile.schema import CleanupSection

_ONE = np.eye(8, dtype=np.float32)[0]
PEOPLE = {
    "copies": np.tile(_ONE, (5, 1)),
    "two copies": np.tile(_ONE, (2, 1)),
    "two images": np.eye(2, 8, dtype=np.float32),
    "opposite": np.stack((_ONE, -_ONE)),
    "one of all the others": np.eye(8, dtype=np.float32),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_the_axes_hold_the_tree_and_the_threshold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = PEOPLE[name]
    files = np.array([f"a/{number}.jpg" for number in range(len(vectors))], object)
    rows = np.zeros(len(vectors), int)
    photos = Photos(files, files, rows, ["a"], files, vectors, [None] * len(vectors))
    figures = []
    savefig = Figure.savefig

    def keep(figure: Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    section = CleanupSection()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = draw_person(tmp_path, "a", photos, [], section, 0.5)
    tree, plane = figures[0].axes
    low, high = tree.get_ylim()
    assert (low, high > 0.5) == (0, True)
    heights = np.concatenate([np.ravel(line.get_ydata()) for line in tree.lines])
    assert ((heights >= low) & (heights <= high)).all()
    assert sum(len(points.get_offsets()) for points in plane.collections) == len(vectors)
    assert path.read_text().rstrip().endswith("</svg>")
