"""Which of several copies is kept."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec.cleanup.copies import find_copies, find_near_copies
from facerec.cleanup.fidelity import loss, quantisation_step
from facerec.cleanup.photos import Facts, collect
from facerec.cleanup.survey import perceptual_hash, sharpness
from facerec.files.hashing import sha256_of
from facerec.imaging.decode import read_image
from tests.cleanup_data import make_photos, person


@pytest.fixture(scope="module")
def face(portraits):
    """The middle of a portrait, BGR."""
    photo = read_image(portraits["grace_hopper"], 10**7)
    top, left = photo.shape[0] // 8, photo.shape[1] // 4
    return photo[top : top + 240, left : left + 240, ::-1].copy()


def encode(path: Path, image: np.ndarray, quality: int = 95) -> Path:
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


def thrown_out(*paths: Path) -> list[str]:
    """The files told as near-duplicates, of one person's."""
    found = []
    for path, vector in zip(paths, person(np.random.default_rng(0), 9, spread=0.001), strict=False):
        image = read_image(path, 10**7)
        seen = (sharpness(image[64:176, 64:176]), perceptual_hash(image))
        found.append((sha256_of(path), vector, Facts(1, *image.shape[:2], 100.0, 0.0, *seen)))
    photos = collect([("a", str(path), f"a/{path.name}") for path in paths], found, 64)
    own = np.arange(len(photos))
    pairs = np.stack(np.triu_indices(len(photos), 1), 1)
    told = find_near_copies(photos, own, photos.vector, pairs, 0.9)
    return sorted(Path(photos.path[copy.row]).name for copy in told)


@pytest.mark.parametrize("quality", [30, 40, 60, 75, 85, 92])
def test_a_recompressed_copy_is_told_and_not_its_original(face, tmp_path, quality):
    original = encode(tmp_path / "z.jpg", face, 95)
    copy = encode(tmp_path / "a.jpg", cv2.imread(str(original)), quality)
    assert thrown_out(original, copy) == ["a.jpg"]


def test_the_lossless_file_is_kept_however_large_the_lossy_one(face, tmp_path):
    lossless = encode(tmp_path / "z.png", face)
    copy = encode(tmp_path / "a.jpg", face, 100)
    copy.write_bytes(copy.read_bytes() + bytes(10**6))
    assert thrown_out(lossless, copy) == ["a.jpg"]


def test_more_pixels_count_first_and_a_blurred_copy_last(face, tmp_path):
    small = encode(tmp_path / "small.png", cv2.resize(face, (160, 160)))
    large = encode(tmp_path / "large.jpg", face, 60)
    blurred = encode(tmp_path / "blurred.png", cv2.GaussianBlur(face, (0, 0), 3))
    assert thrown_out(small, large) == ["small.png"]
    assert thrown_out(blurred, large) == ["blurred.png"]


def test_files_that_are_gone_or_cut_short_come_last(face, tmp_path):
    whole = encode(tmp_path / "whole.jpg", face, 20)
    other = encode(tmp_path / "a.webp", face)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:30])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    ordered = sorted([tmp_path / "gone.jpg", empty, cut, other, whole], key=loss)
    assert ordered[0] == whole and ordered[-1] == tmp_path / "gone.jpg"


def test_the_step_is_the_mean_of_the_luminance_table():
    steps = bytes(range(1, 65))
    chroma = b"\xff\xdb\x00\x43\x01" + bytes([9] * 64)
    comment = b"\xff\xfe\x00\x07hello"
    for table in (
        b"\xff\xdb\x00\x43\x00" + steps,
        b"\xff\xdb\x00\x83\x10" + b"".join(step.to_bytes(2, "big") for step in steps),
    ):
        for start in (b"", comment, chroma):
            data = b"\xff\xd8" + start + table + b"\xff\xda"
            assert quantisation_step(io.BytesIO(data)) == 32.5
    assert quantisation_step(io.BytesIO(b"\xff\xd8" + chroma + b"\xff\xda")) == np.inf


@pytest.mark.parametrize("others", [0, 1])
def test_of_copies_in_two_folders_the_one_at_its_person_is_kept(others):
    dice = np.random.default_rng(0)
    mine, theirs = person(dice, 6), person(dice, others + 2)
    # Twice in the wrong folder: copies do not vouch for each other.
    vectors = np.concatenate([theirs[:others], mine[:1], mine[:1], mine])
    photos = make_photos(vectors, [others + 2, 6])
    photos.sha256[[others, others + 1, others + 2]] = "same"
    kept = f"1/{others + 2}.jpg"
    told = [(it.files[0], it.evidence["of"]) for it in find_copies(photos, set())]
    assert told == [(f"0/{n}.jpg", kept) for n in (others, others + 1)]


def test_of_copies_in_one_folder_and_of_no_faces_the_first_by_name_is_kept():
    vectors = person(np.random.default_rng(0), 4)
    vectors[1], vectors[2:] = vectors[0], np.nan
    photos = make_photos(vectors, [4])
    photos.sha256[:] = ["face", "face", "none", "none"]
    assert [it.files[0] for it in find_copies(photos, set())] == ["0/1.jpg", "0/3.jpg"]
