"""All findings on a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from facerec.cleanup.findings import Finding, Kind
from facerec.cleanup.groups import Groups, Rows
from facerec.cleanup.linkage import link
from facerec.cleanup.outliers import find_outliers
from facerec.cleanup.people import DIFFERENT, SAME, Judgement, gaps_apart, judge
from facerec.cleanup.photos import UNREADABLE, Photos
from facerec.cleanup.quality import hamming
from facerec.profile import CleanupSection

_NEIGHBOURS = 3
# Of LFW's 70 people with most images, 20 copies that were made smaller and compressed again differ
# from their originals in at most 2 bits, 2,973 pairs of other images of a person in at least 10.
_LOOKS_BITS = 8
_LOOKS_GAP = 0.12


def examine(photos: Photos, section: CleanupSection) -> list[Finding]:
    """Find what is wrong.

    Raises:
        UsageError: ward linkage with another metric than euclidean.
    """
    found = [*_examine_files(photos, section)]
    rows = photos.embedded()
    if len(rows):
        found += _examine_people(photos, rows, section)
    misplaced = {
        file
        for finding in found
        if finding.kind in (Kind.WRONG_PERSON, Kind.OUTLIER)
        for file in finding.files
    }
    return [*found, *_find_copies(photos, misplaced)]


def _examine_files(photos: Photos, section: CleanupSection) -> Iterator[Finding]:
    for row, facts in enumerate(photos.facts):
        if facts.faces == UNREADABLE:
            yield _about(photos, Kind.UNREADABLE, row, 1.0)
        elif facts.faces == 0:
            yield _about(photos, Kind.NO_FACE, row, 1.0)
        if facts.faces > 1:
            yield _about(photos, Kind.SEVERAL_FACES, row, 1.0, faces=facts.faces)
        if facts.size < section.min_face:
            confidence = _beyond(section.min_face / max(facts.size, 1))
            yield _about(photos, Kind.TOO_SMALL, row, confidence, pixels=round(facts.size, 1))
        if facts.sharpness < section.min_sharpness:
            confidence = _beyond(section.min_sharpness / max(facts.sharpness, 1e-3))
            yield _about(photos, Kind.BLURRED, row, confidence, sharpness=round(facts.sharpness, 1))
        if facts.yaw > section.max_yaw:
            confidence = _beyond(facts.yaw / max(section.max_yaw, 1e-3))
            yield _about(photos, Kind.EXTREME_POSE, row, confidence, yaw=round(facts.yaw, 3))


def _beyond(ratio: float) -> float:
    """0.5 at a limit, 0.75 at twice the limit, towards 1 beyond."""
    return 1.0 - 0.5 / ratio


def _find_copies(photos: Photos, misplaced: set[str]) -> Iterator[Finding]:
    """Files of one content: all but one, in its own person's folder if one is, then by name."""
    copies: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(photos.sha256):
        if digest:
            copies[digest].append(row)
    for rows in copies.values():
        rows.sort(key=lambda row: (photos.file[row] in misplaced, str(photos.file[row])))
        for row in rows[1:]:
            yield _about(photos, Kind.EXACT_DUPLICATE, row, 1.0, of=photos.file[rows[0]])


def _examine_people(photos: Photos, rows: Rows, section: CleanupSection) -> Iterator[Finding]:
    vectors = photos.vector[rows]
    numbers, person = np.unique(photos.person[rows], return_inverse=True)
    bounds = np.searchsorted(person, np.arange(len(numbers) + 1))
    members = [np.arange(*bounds[n : n + 2]) for n in range(len(numbers))]
    trees = [link(vectors[own], section.metric, section.linkage) for own in members]
    judgement = judge(vectors, person, trees)
    centroids = Groups.of(vectors, person, len(numbers)).centroids()
    for number, (own, tree) in enumerate(zip(members, trees, strict=True)):
        others = np.delete(centroids, number, axis=0)
        hashes = photos.sha256[rows[own]]
        outside = find_outliers(vectors[own], tree, section.threshold, others, hashes)
        kept = np.setdiff1d(own, own[outside])
        for row in own[outside]:
            mean = float((vectors[kept] @ vectors[row]).mean())
            confidence = min(1.0, 0.5 + (judgement.scale.genuine - mean) / judgement.scale.gap / 2)
            yield _about(
                photos, Kind.OUTLIER, rows[row], max(0.5, confidence),
                neighbours=_neighbours(photos, rows, vectors, row, kept),
            )  # fmt: skip
        yield from _near_copies(photos, rows, vectors, own, judgement)
    yield from _wrong_people(photos, rows, vectors, members, judgement)
    yield from _wrong_folders(photos, rows, vectors, judgement)


def _near_copies(
    photos: Photos, rows: Rows, vectors: np.ndarray, own: Rows, judgement: Judgement
) -> Iterator[Finding]:
    """Images of one person that look alike to a hash and to the network; the one with the most
    pixels is kept, among equals the sharpest."""
    limit = 1 - _LOOKS_GAP * judgement.scale.gap
    facts = [photos.facts[rows[row]] for row in own]
    looks = np.array([fact.looks for fact in facts], np.uint64)
    digest = photos.sha256[rows[own]]
    rank = [(-f.height * f.width, -f.sharpness, str(d)) for f, d in zip(facts, digest, strict=True)]
    left = sorted(range(len(own)), key=rank.__getitem__)
    while left:
        best, *left = left
        if not left or not looks[best]:
            continue
        near = np.array(left)
        bits = hamming(looks[near], looks[best])
        cosines = vectors[own[near]] @ vectors[own[best]]
        alike = (bits <= _LOOKS_BITS) & (cosines >= limit) & (digest[near] != digest[best])
        for place in np.flatnonzero(alike):
            row = rows[own[near[place]]]
            nearness = (cosines[place] - limit) / (1 - limit)
            yield _about(
                photos, Kind.NEAR_DUPLICATE, row, min(1.0, 0.5 + 0.5 * float(nearness)),
                of=photos.file[rows[own[best]]], bits=int(bits[place]),
                similarity=round(float(cosines[place]), 4),
            )  # fmt: skip
        left = near[~alike].tolist()


def _wrong_people(
    photos: Photos, rows: Rows, vectors: np.ndarray, members: list[Rows], judgement: Judgement
) -> Iterator[Finding]:
    for row in np.flatnonzero(judgement.other >= 0).tolist():
        part = judgement.other[row]
        folder = int(judgement.folder[part])
        own = members[judgement.folder[judgement.part[row]]]
        own = own[own != row]
        there = np.flatnonzero(judgement.part == part)
        yield _about(
            photos, Kind.WRONG_PERSON, rows[row],
            min(1.0, 0.5 + 0.5 * float(judgement.margin[row])),
            target=_folder(photos, rows[members[folder][0]]),
            margin=round(float(judgement.margin[row]), 4),
            neighbours=_neighbours(photos, rows, vectors, row, there),
            own_neighbours=_neighbours(photos, rows, vectors, row, own),
        )  # fmt: skip


def _wrong_folders(
    photos: Photos, rows: Rows, vectors: np.ndarray, judgement: Judgement
) -> Iterator[Finding]:
    """Merged identities: a folder's second person. Split ones: two folders of one person."""
    size = np.bincount(judgement.part, minlength=len(judgement.folder))
    right = judgement.other < 0
    groups = Groups.of(vectors, np.where(right, judgement.part, -1), len(judgement.folder))
    means, within = groups.means(), groups.within()
    taken = {str(file).partition("/")[0] for file in photos.file}
    elsewhere = {}
    for one, two, apart in judgement.same:
        smaller, larger = sorted((one, two), key=lambda part: (size[part], part))
        elsewhere[smaller] = (larger, apart)
    for part, folder in enumerate(judgement.folder):
        inside = np.flatnonzero((judgement.part == part) & right)
        if not len(inside):
            continue
        home = _folder(photos, rows[inside[0]])
        second = part != folder
        if part in elsewhere:
            other, apart = elsewhere[part]
            target = _folder(photos, rows[np.flatnonzero(judgement.part == other)[0]])
            confidence = 0.5 + 0.5 * (SAME - apart) / SAME
            kind, evidence = Kind.SPLIT, {"apart": round(apart, 4)}
        elif second:
            target = _free_name(home, taken)
            cross = means[part] @ means[folder]
            apart = float(gaps_apart(cross, within[part], within[folder], judgement.scale))
            confidence = 0.5 + 0.5 * (apart - DIFFERENT) / (1 - DIFFERENT)
            kind, evidence = Kind.MERGED, {"apart": round(apart, 4)}
        else:
            continue
        first = rows[inside[0]]
        yield Finding(
            kind, [str(photos.file[row]) for row in rows[inside]],
            photos.people[photos.person[first]], float(np.clip(confidence, 0.5, 1)), target,
            evidence,
        )  # fmt: skip


def _free_name(folder: str, taken: set[str]) -> str:
    number = 2
    while f"{folder}-{number}" in taken:
        number += 1
    taken.add(f"{folder}-{number}")
    return f"{folder}-{number}"


def _folder(photos: Photos, row: int) -> str:
    return str(photos.file[row]).rpartition("/")[0].partition("/")[0]


def _about(
    photos: Photos, kind: Kind, row: int, confidence: float, *, target: str | None = None,
    **evidence: object,
) -> Finding:  # fmt: skip
    person = photos.people[photos.person[row]]
    return Finding(kind, [str(photos.file[row])], person, confidence, target, evidence)


def _neighbours(
    photos: Photos, rows: Rows, vectors: np.ndarray, row: int, among: Rows
) -> list[tuple[str, float]]:
    """The nearest images among some, with their cosines."""
    cosines = vectors[among] @ vectors[row]
    nearest = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
    return [(str(photos.file[rows[among[n]]]), round(float(cosines[n]), 4)) for n in nearest]
