"""Swapped images and strangers planted among LFW's people, as in `cleanup_strangers`, with copies
of images in their folders: how well a cleanup tells them then. FOLDER keeps the photos and vectors.

python -m tests.benchmarks.cleanup_copies lfw-deepfunneled-pairs.tar FOLDER
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from facerec.card import ModelCard
from facerec.cleanup.distinct import find_distinct
from facerec.cleanup.examine import examine
from facerec.cleanup.findings import Kind
from facerec.cleanup.photos import Photos
from facerec.cleanup.threshold import choose_threshold, same_person_cosine
from facerec.cli.cleanup_inputs import look_at_people
from facerec.parallel.products import single_threaded_blas
from facerec.profile.loading import Profile
from tests.benchmarks import require_arguments
from tests.benchmarks.cleanup_strangers import LEAST, RARE, f1, plant
from tests.cleanup_noise import unpack_people

STRANGERS = 300
AGAIN = "again_"
"""Begins the names of recompressed images."""
KINDS = {
    "no copies": ("", 0.0, 0),
    "3 in 10 images again, smaller and recompressed": (AGAIN, 0.3, 1),
    "all images again, smaller and recompressed": (AGAIN, 1.0, 1),
    "all images twice": ("", 1.0, 1),
    "1 in 10 images six times": ("", 0.1, 5),
}
"""What the names of copies begin with, the share of images that have some, and how many each."""


def write(archive: Path, folder: Path) -> None:
    """The people with `LEAST` images and a recompressed copy of each, and strangers."""
    every = unpack_people(archive, folder / "every", 1)
    dice = np.random.default_rng(5)
    rare = 0
    for person, photos in every.items():
        if len(photos) < LEAST and (len(photos) > RARE or rare == STRANGERS):
            continue
        rare += len(photos) <= RARE
        place = folder / "people" / person
        place.mkdir(parents=True, exist_ok=True)
        for photo in photos if len(photos) >= LEAST else photos[:1]:
            image = cv2.imread(str(photo))
            share, quality = dice.uniform(0.5, 0.9), int(dice.integers(50, 90))
            small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            options = [cv2.IMWRITE_JPEG_QUALITY, quality]
            cv2.imwrite(str(place / f"{AGAIN}{photo.name}"), small, options)
            shutil.copy(photo, place)
    shutil.rmtree(folder / "every")


def measure(
    photos: Photos, card: ModelCard, half: int, seed: int, kind: tuple[str, float, int]
) -> tuple[float, float]:
    """F1 of swaps and of strangers; copies count for nothing."""
    begins, share, times = kind
    known = set(photos.embedded().tolist())
    place = {str(file): row for row, file in enumerate(photos.file) if row in known}
    again = {
        row: place[copy]
        for file, row in place.items()
        if (copy := f"{Path(file).parent}/{begins}{Path(file).name}") in place
    }
    of: dict[str, list[int]] = defaultdict(list)
    for file, row in place.items():
        if not Path(file).name.startswith(AGAIN):
            of[photos.people[photos.person[row]]].append(row)
    people = {person: of[person] for person in sorted(of) if len(of[person]) >= LEAST}
    people = {person: people[person] for person in sorted(people)[half::2]}
    strangers = [rows[0] for _, rows in sorted(of.items()) if len(rows) < LEAST][half::2]
    home, swapped, added = plant(people, strangers, seed, 0.1, 0.1)
    dice = np.random.default_rng(seed)
    copied = dice.choice(sorted(home), int(share * len(home)), replace=False).tolist()
    items = [(home[row], f"{row}.jpg", row) for row in home]
    items += [
        (home[row], f"{row}-{number}.jpg", again[row])
        for row in copied
        for number in range(times)
        if row in again
    ]
    items.sort()
    folders = sorted(people)
    files = np.array([f"{folder}/{name}" for folder, name, _ in items], object)
    rows = np.array([row for *_, row in items])
    planted = Photos(
        files, files, np.array([folders.index(folder) for folder, *_ in items]), folders,
        photos.sha256[rows], photos.vector[rows], [photos.facts[row] for row in rows],
    )  # fmt: skip
    section = Profile().cleanup
    distinct = find_distinct(planted, section)
    threshold = choose_threshold(distinct.photos(planted), card, section.metric).threshold
    findings = examine(
        planted, section, threshold, same_person=same_person_cosine(card), distinct=distinct
    )

    def told(kind: Kind) -> set[int]:
        names = [Path(file).stem for it in findings if it.kind is kind for file in it.files]
        return {int(name) for name in names if "-" not in name}

    return f1(told(Kind.WRONG_PERSON), swapped), f1(told(Kind.OUTLIER), added)


def main(archive: Path, folder: Path) -> None:
    if not (folder / "people").exists():
        write(archive, folder)
    photos, card, _ = look_at_people(
        folder / "people", folder / "report", Profile(), aligned=False, pile=False
    )
    with single_threaded_blas():
        for title, kind in KINDS.items():
            for seeds in (range(5), range(5, 10)):
                scores = [measure(photos, card, half, seed, kind)
                          for half in (0, 1) for seed in seeds]  # fmt: skip
                swaps, strangers = np.mean(scores, axis=0)
                print(f"{title}, seeds {seeds[0]} to {seeds[-1]}: "
                      f"swaps {swaps:.3f}, strangers {strangers:.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    require_arguments(__doc__, 2)
    main(*map(Path, sys.argv[1:3]))
