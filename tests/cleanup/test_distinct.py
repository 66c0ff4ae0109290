"""Copies are no witnesses: with them, images are judged as without."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from facerec.cleanup.distinct import find_distinct, first_of_copies
from facerec.cleanup.examine import PASSES, examine
from facerec.cleanup.findings import Kind
from facerec.cleanup.photos import Facts, Photos, collect
from facerec.cleanup.unlabelled import group
from facerec.profile.loading import Profile
from tests.cleanup_data import noise_vectors, person

SECTION = Profile().cleanup
SIZE = 64


def looks(number: int) -> int:
    """Perceptual hashes far from each other."""
    return int(np.random.default_rng(number).integers(1, 2**63))


def photos_of(folders: list[np.ndarray], copies: Mapping[int, int], *, exact: bool) -> Photos:
    """Images by folder, some of them with so many copies beside them: `NUMBER.jpg` and
    `NUMBER-COPY.jpg`."""
    dice = np.random.default_rng(9)
    items, found = [], []
    rows = [(name, vector) for name, vectors in enumerate(folders) for vector in vectors]
    for number, (folder, vector) in enumerate(rows):
        for copy in range(copies.get(number, 0) + 1):
            name = f"{number:03}-{copy}.jpg" if copy else f"{number:03}.jpg"
            items.append((str(folder), f"{folder}/{name}", f"{folder}/{name}"))
            if exact or not copy:
                seen, digest = vector, f"{number}"
            else:
                seen = vector + 0.004 * dice.normal(size=SIZE).astype(np.float32)
                seen, digest = seen / np.linalg.norm(seen), f"{number}-{copy}"
            # The larger image of near-duplicates is the original.
            facts = Facts(1, 300 - copy, 300, 100.0, 0.0, 100.0, looks(number))
            found.append((digest, seen, facts))
    return collect(items, found, SIZE)


def judged(photos: Photos) -> dict[Kind, set[str]]:
    """The images told, by kind; of copies those of their originals."""
    told: dict[Kind, set[str]] = {}
    for finding in examine(photos, SECTION, 0.35):
        names = {file.partition("-")[0].removesuffix(".jpg") for file in finding.files}
        told.setdefault(finding.kind, set()).update(names)
    return told


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "near"])
@pytest.mark.parametrize("seed", range(3))
def test_images_with_copies_are_judged_as_without(exact, seed):
    dice = np.random.default_rng(seed)
    people = [person(dice, 8, SIZE, 0.11) for _ in range(8)]
    strangers = noise_vectors(dice, 4, SIZE)
    folders = [np.concatenate([own[:7], people[n - 1][7:]]) for n, own in enumerate(people)]
    folders[0] = np.concatenate([folders[0], strangers])
    count = sum(map(len, folders))
    copies = {int(n): int(dice.integers(1, 6)) for n in dice.choice(count, count // 3, False)}
    alone, beside = photos_of(folders, {}, exact=exact), photos_of(folders, copies, exact=exact)
    kinds = (Kind.WRONG_PERSON, Kind.OUTLIER, Kind.MERGED, Kind.SPLIT)
    before, after = judged(alone), judged(beside)
    assert before[Kind.WRONG_PERSON]
    assert {kind: after.get(kind) for kind in kinds} == {kind: before.get(kind) for kind in kinds}
    assert len(after[Kind.EXACT_DUPLICATE if exact else Kind.NEAR_DUPLICATE]) == len(copies)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "near"])
def test_a_stranger_saved_six_times_is_not_the_person_of_a_folder(exact):
    dice = np.random.default_rng(2)
    folders = [np.concatenate([person(dice, 4), noise_vectors(dice, 1)]), person(dice, 5)]
    photos = photos_of(folders, {4: 5}, exact=exact)
    outliers = {
        file
        for it in examine(photos, SECTION, 0.35)
        if it.kind is Kind.OUTLIER
        for file in it.files
    }
    assert outliers == {"0/004.jpg", *(f"0/004-{n}.jpg" for n in range(1, 6))}


def test_copies_in_two_folders_are_judged_in_each():
    dice = np.random.default_rng(4)
    a, b = person(dice, 6), person(dice, 6)
    photos = photos_of([np.concatenate([a, b[:1]]), b], {}, exact=True)
    photos.sha256[6] = photos.sha256[7]
    told = {(it.kind, it.files[0]) for it in examine(photos, SECTION, 0.35)}
    assert (Kind.WRONG_PERSON, "0/006.jpg") in told
    assert (Kind.EXACT_DUPLICATE, "0/006.jpg") in told
    assert len(told) == 2


def test_two_faces_of_one_file_are_two_images():
    dice = np.random.default_rng(5)
    photos = photos_of([person(dice, 2), person(dice, 2)], {}, exact=True)
    photos.sha256[:] = "same"
    rows = np.arange(4)
    assert first_of_copies(photos, rows, np.zeros(4, np.intp)).tolist() == [0, 1, 2, 3]
    photos.vector[1] = photos.vector[0]
    assert first_of_copies(photos, rows, np.zeros(4, np.intp)).tolist() == [0, 0, 2, 3]
    assert first_of_copies(photos, rows, rows).tolist() == [0, 1, 2, 3]


def test_the_original_of_a_copy_of_a_near_duplicate_is_the_best_image():
    photos = photos_of([person(np.random.default_rng(6), 3)], {0: 2}, exact=False)
    assert photos.file[:3].tolist() == ["0/000-1.jpg", "0/000-2.jpg", "0/000.jpg"]
    photos.sha256[1] = photos.sha256[0]
    photos.vector[1] = photos.vector[0]
    found = find_distinct(photos, SECTION)
    assert photos.file[found.rows].tolist() == ["0/000.jpg", "0/001.jpg", "0/002.jpg"]
    assert found.place.tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("exact", [True, False])
def test_copies_count_in_the_progress(exact):
    dice = np.random.default_rng(7)
    photos = photos_of([person(dice, 9), person(dice, 8)], {1: 3, 4: 1}, exact=exact)
    steps, compared = [], []
    found = find_distinct(photos, SECTION, steps.append)
    examine(photos, SECTION, 0.7, compared.append, distinct=found)
    assert sum(steps) == len(photos)
    assert sum(compared) == PASSES * len(photos)


def test_a_photo_of_a_pile_and_its_copy_are_no_person():
    dice = np.random.default_rng(8)
    pile = photos_of(
        [np.concatenate([person(dice, 3), noise_vectors(dice, 1)])], {3: 2}, exact=True
    )
    grouped, findings = group(pile, SECTION, 0.5)
    assert grouped.people == ["person-0001", "unknown"]
    assert np.bincount(grouped.person).tolist() == [3, 3]
    assert sum(found.kind is Kind.EXACT_DUPLICATE for found in findings) == 2
