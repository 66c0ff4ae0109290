"""kill -9 at any point of `embed` leaves the old gallery or the new one."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.gallery.hdf5 import check_gallery
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image

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
    command = [sys.executable, "-m", "facerec", "embed", str(many), "-o", str(path), "--batch", "2"]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole_run = time.monotonic() - began
    path.unlink()
    dice = random.Random(0)
    interrupted, held = 0, 0
    for _ in range(TRIALS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started = time.monotonic()
        # From the first import to the last photo, at this machine's pace.
        time.sleep(dice.uniform(0.3, 0.9) * whole_run)
        process.kill()
        interrupted += process.wait() == -9
        if not path.exists():
            continue
        gallery = Gallery.open(path)
        check_gallery(path, gallery)
        assert len(gallery) >= held
        held = len(gallery)
        # What is nearly done would be over before the next kill.
        if held > COPIES:
            path.unlink()
            held = 0
        assert time.monotonic() - started < 60
    assert interrupted >= TRIALS // 2

    subprocess.run(command, check=True, capture_output=True)
    killed = Gallery.open(path)
    path.unlink()
    subprocess.run(command, check=True, capture_output=True)
    whole = Gallery.open(path)
    assert killed.counts() == whole.counts() == {"eileen_collins": COPIES, "grace_hopper": COPIES}
    assert killed.entries.source.tolist() == whole.entries.source.tolist()
    assert np.abs(killed.entries.embeddings - whole.entries.embeddings).max() < 1e-5
