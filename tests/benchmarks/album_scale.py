"""Grouping of many made faces, and LFW's among them: time, memory, and how well.

python -m tests.benchmarks.album_scale FACES PEOPLE [VECTORS.npz]

A person's faces lie around a centre that a fourth of the people near it share in part (families);
how near varies from face to face. Few people have many faces. The cosines of one person's faces
and of two people's are spread as MobileFaceNet's are on LFW. VECTORS, as `tests.benchmarks.album`
keeps them, are mixed in.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from facerec.album.grouping import PASSES, group
from facerec.album.known import Known
from facerec.faces import Floats
from tests.benchmarks import require_arguments
from tests.benchmarks.cleanup_groups import score
from tests.conftest import make_card

SIZE, FAMILY, SHARED = 128, 4, 0.2
NEARNESS, SPREAD = 0.64, 0.08


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def make(faces: int, people: int, dice: np.random.Generator) -> tuple[Floats, np.ndarray]:
    """Vectors `(faces, 128)` and who each is."""
    weights = np.arange(1, people + 1) ** -0.7
    who = dice.choice(people, faces, p=weights / weights.sum())
    families = unit(dice.normal(size=(people // FAMILY + 1, SIZE)))
    own = unit(dice.normal(size=(people, SIZE)))
    shared = families[np.arange(people) // FAMILY]
    centres = unit(np.sqrt(1 - SHARED) * own + np.sqrt(SHARED) * shared)
    near = np.clip(dice.normal(NEARNESS, SPREAD, faces), 0.3, 0.9)[:, None]
    noise = unit(dice.normal(size=(faces, SIZE)))
    return unit(np.sqrt(near) * centres[who] + np.sqrt(1 - near) * noise).astype(np.float32), who


def photos_of(who: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """Photos of 1 to 6 faces, nobody twice in one."""
    count = len(who)
    photos = np.repeat(np.arange(count), dice.integers(1, 7, count))[:count]
    first = np.unique(np.stack([photos, who], 1), axis=0, return_index=True)[1]
    again = np.ones(count, bool)
    again[first] = False
    photos[again] = count + np.arange(again.sum())
    return photos


def main(faces: int, people: int, kept: Path | None = None) -> None:
    dice = np.random.default_rng(0)
    vectors, who = make(faces, people, dice)
    if kept is not None:
        real = np.load(kept)
        known = real["truth"] >= 0
        vectors = np.concatenate([vectors[known.sum() :], real["vectors"][known]])
        who = np.concatenate([who[known.sum() :], people + real["truth"][known]])
    order = dice.permutation(len(who))
    vectors, who = vectors[order], who[order]
    photos, lfw = photos_of(who, dice), who >= people
    start, used, done, told = time.monotonic(), time.process_time(), 0, 0.0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"  {done / len(who):.1f} of {PASSES} passes, {told - start:.0f} s", flush=True)

    found = group(vectors, Known.of(photos), make_card(SIZE, calibration=None), 0, advance=advance)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds, busy = time.monotonic() - start, time.process_time() - used
    print(f"{len(who)} faces: {seconds:.0f} s, {busy:.0f} s of processor, {peak:.0f} MB; "
          f"threshold {found.threshold:.4f}")  # fmt: skip
    label = np.where(found.person < 0, len(who) + np.arange(len(who)), found.person)
    for title, rows in (("all", np.ones(len(who), bool)), ("LFW's", lfw)):
        if rows.any():
            numbers = (np.unique(one[rows], return_inverse=True)[1] for one in (who, label))
            print(f"  {title:6} {rows.sum()}  {score(*numbers)}")


if __name__ == "__main__":
    require_arguments(__doc__, 2)
    main(int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:4]))
