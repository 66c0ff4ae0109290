"""kill -9 at any point of `embed` leaves the old gallery or the new one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.gallery.files.hdf5 import check_gallery
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from tests.conftest import spawn
from tests.killing import kill_before, random_operations

TRIALS = 20
COPIES = 24


@pytest.fixture
def many(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """Two people with two dozen different photos each."""
    folder = tmp_path / "people"
    for name, file in portraits.items():
        photo = read_image(file, 10**7)
        for number in range(COPIES):
            write_image(folder / name / f"{number:02}.jpg", photo[number:, number:])
    return folder


@pytest.mark.slow
def test_killing_embed_loses_nothing_and_a_rerun_finishes(many: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    command = ["embed", many, "-o", path, "--batch", "2"]
    points = random_operations(TRIALS, tmp_path, *command)
    path.unlink()
    held = 0
    for operation in points:
        kill_before(operation, tmp_path, *command)
        if not path.exists():
            continue
        gallery = Gallery.open(path)
        check_gallery(path, gallery)
        assert len(gallery) >= held
        held = len(gallery)
        # What is nearly done has little left to lose.
        if held > COPIES:
            path.unlink()
            held = 0

    assert spawn(*command).returncode == 0
    killed = Gallery.open(path)
    path.unlink()
    assert spawn(*command).returncode == 0
    whole = Gallery.open(path)
    assert killed.counts() == whole.counts() == {"eileen_collins": COPIES, "grace_hopper": COPIES}
    assert killed.entries.source.tolist() == whole.entries.source.tolist()
    assert np.abs(killed.entries.embeddings - whole.entries.embeddings).max() < 1e-5
