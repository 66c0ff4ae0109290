"""Looks by period: people who change over years, and younger brothers, SIMULATED.

python -m tests.benchmarks.album_years lfw-deepfunneled-pairs.tar FOLDER HALF [PROFILE]

No set of dated faces or of families was at hand; this moves vectors of LFW's people (as
`tests.benchmarks.album` keeps them in FOLDER). In twelve years a child becomes, of one person of
LFW, another: of the pairs who are most alike, so that the first year and the last are nearly one
person, or of two at random, so that they are nothing alike. A brother four years younger goes the
same way, drawn a share of it to a third person. Looks are means of people's vectors; what tells an
image from them is drawn from the images of all. A thousand faces of the album's other people are
there too. One face in two of a child's years is confirmed; all others are grouped, with their dates
and without, at the threshold that the album without the children has.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facerec.album.grouping import group
from facerec.album.known import NOBODY, Known
from facerec.card import similarity_to_distance
from facerec.faces import Floats
from tests.benchmarks import require_arguments
from tests.benchmarks.album import Album, load
from tests.benchmarks.cleanup_groups import score

FAMILIES, YEARS, EACH, YOUNGER = 20, 12, 3, 4
OTHERS = 1000
SHARES = (0.0, 0.25)
FIRST = 2000


class Faces(NamedTuple):
    """Faces of children; `year` is since the elder was born."""

    vectors: Floats
    who: np.ndarray
    year: np.ndarray


def unit(values: np.ndarray) -> Floats:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def alike(means: Floats, count: int) -> list[tuple[int, int]]:
    """The pairs of people who are most alike, each in one pair."""
    likeness = means @ means.T
    np.fill_diagonal(likeness, -1)
    pairs = []
    for _ in range(count):
        one, other = divmod(int(likeness.argmax()), len(likeness))
        pairs.append((one, other))
        likeness[[one, other]] = likeness[:, [one, other]] = -1
    return pairs


def grow(
    album: Album, share: float, far: bool, dice: np.random.Generator
) -> tuple[Faces, np.ndarray]:
    """The children's faces, and which rows of the album are of people they are made of.

    Args:
        far: whether they go from anybody to anybody.
        share: of a younger brother's looks that is his own.
    """
    rows = np.flatnonzero(album.truth >= 0)
    people, number, sizes = np.unique(album.truth[rows], return_inverse=True, return_counts=True)
    several = np.flatnonzero(sizes >= 3)
    faces = [album.vectors[rows[number == one]] for one in several]
    means = np.stack([own.mean(0) for own in faces])
    # What tells an image from the mean of its person, as of people with many images.
    rest = np.concatenate(
        [(own - own.mean(0)) * np.sqrt(len(own) / (len(own) - 1)) for own in faces]
    )
    length = float(np.linalg.norm(means, axis=1).mean())
    anybody = dice.permutation(len(means))[: 2 * FAMILIES].reshape(-1, 2).tolist()
    pairs = anybody if far else alike(unit(means), FAMILIES)
    used = {one for pair in pairs for one in pair}
    own_looks = [one for one in range(len(several)) if one not in used][:FAMILIES]
    vectors, who, year = [], [], []
    for family, ((young, grown), own) in enumerate(zip(pairs, own_looks, strict=True)):
        for brother in range(2):
            for now in range(YOUNGER * brother, YEARS + 1):
                grown_by = (now - YOUNGER * brother) / YEARS
                look = unit((1 - grown_by) * means[young] + grown_by * means[grown])
                if brother:
                    look = unit((1 - share) * look + share * unit(means[own]))
                drawn = rest[dice.integers(len(rest), size=EACH)]
                vectors += list(unit(length * look + drawn))
                who += [2 * family + brother] * EACH
                year += [now] * EACH
    used_rows = np.isin(album.truth, people[several[[*used, *own_looks]]])
    return Faces(np.stack(vectors), np.array(who), np.array(year)), used_rows


def told(faces: Faces, dice: np.random.Generator) -> np.ndarray:
    """Which faces are confirmed: one of each child in every other year."""
    chosen = np.zeros(len(faces.who), bool)
    for child in np.unique(faces.who):
        for now in range(0, YEARS + 1, 2):
            rows = np.flatnonzero((faces.who == child) & (faces.year == now))
            if len(rows):
                chosen[dice.choice(rows)] = True
    return chosen


def main(archive: Path, folder: Path, half: int, profile: str = "default") -> None:
    album = load(archive, folder, half, profile)
    usual = group(album.vectors, Known.of(album.photos), album.card, 0).threshold
    distance = similarity_to_distance(usual, album.card.metric)
    print(f"half {half}, {album.card.name}: {FAMILIES} pairs of brothers, {YEARS} years, SIMULATED")
    print("| the way | his own share | dates | pairwise F1 | BCubed F1 | right | brother's |")
    print("|---|---|---|---|---|---|---|")
    for far in (False, True):
        for share in SHARES:
            dice = np.random.default_rng(0)
            faces, used = grow(album, share, far, dice)
            chosen = told(faces, dice)
            others = dice.permutation(np.flatnonzero(~used))[:OTHERS]
            count = len(faces.who)
            vectors = np.concatenate([faces.vectors, album.vectors[others]])
            photos = np.concatenate([np.arange(count), count + album.photos[others]])
            fixed = np.full(len(vectors), NOBODY)
            fixed[np.flatnonzero(chosen)] = faces.who[chosen]
            dates = [f"{FIRST + one}-07-01T12:00:00" for one in faces.year]
            for title, taken in (("with", [*dates, *[None] * len(others)]), ("without", None)):
                known = Known.of(photos, fixed=fixed, taken=taken)
                found = group(vectors, known, album.card, 1000, distance=distance).person
                row(("far" if far else "near", f"{share:.0%}", title), faces, chosen, found[:count])


def row(titles: tuple[str, ...], faces: Faces, chosen: np.ndarray, found: np.ndarray) -> None:
    """A line of the table, of the faces that nobody confirmed."""
    rest = ~chosen
    alone = np.where(found < 0, found.max() + 1 + np.arange(len(found)), found)
    got = score(*(np.unique(one[rest], return_inverse=True)[1] for one in (faces.who, alone)))
    right = float((found == faces.who)[rest].mean())
    swapped = float((found == (faces.who ^ 1))[rest].mean())
    pairs, cubed = got["pairs F1"], got["BCubed F1"]
    shares = f"{right:.1%} | {swapped:.1%}"
    print(f"| {' | '.join(titles)} | {pairs:.3f} | {cubed:.3f} | {shares} |", flush=True)


if __name__ == "__main__":
    require_arguments(__doc__, 3)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
