"""Overlap of a data set with an evaluation set, in images and in people.

A network trained on either is measured on what it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.comparison import SAME, gaps_apart
from facerec.cleanup.copies import LOOKS_BITS, hamming, least_alike
from facerec.cleanup.findings import Finding, Kind, about
from facerec.cleanup.groups import Groups, Scale, rows_by_group
from facerec.cleanup.photos import Photos
from facerec.parallel.products import products
from facerec.parallel.ranks import map_sharded

_SAME_AS_ONE = 0.10
"""As `SAME`, where one side has a single image: of half of LFW's people, divided in two, it finds
83 % of 143 and 14 of 298,657 wrong pairs. With a single image on either side it finds 79 % of 416
and 130 wrong pairs of 1,345,429, too few to be useful."""
_BLOCK = 512


def find_overlap(
    photos: Photos, excluded: Photos, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Finding]:
    """Images and people of a data set that are in an evaluation set.

    Args:
        excluded: the evaluation set; an image in no folder is a person of its own.
        advance: progress callback, with the number of images compared, divided among the ranks.
    """
    if not len(photos.embedded()) or not len(excluded.embedded()):
        yield from _find_images(photos, excluded, np.inf, advance)
        return
    groups, theirs = _groups(photos), _groups(excluded)
    scale = Scale.of(groups)
    yield from _find_images(photos, excluded, least_alike(scale.gap), advance)
    yield from _find_people(photos, groups, excluded, theirs, scale)


def _groups(photos: Photos) -> Groups:
    rows = photos.embedded()
    return Groups.of(photos.vectors(rows), photos.person[rows], len(photos.people))


def _find_images(
    photos: Photos, excluded: Photos, least: float, advance: Callable[[int], None]
) -> Iterator[Finding]:
    """Exact duplicates, and near-duplicates by perceptual hash and embedding."""
    known = {digest: row for row, digest in enumerate(excluded.sha256) if digest}
    rows, theirs = photos.embedded(), excluded.embedded()
    looks, their_looks = _looks(photos)[rows], _looks(excluded)[theirs]
    vectors = excluded.vector[theirs]
    exact = [known.get(digest, -1) for digest in photos.sha256]
    for row, other in enumerate(exact):
        if other >= 0:
            of = f"{excluded.path[other]}"
            yield about(photos, Kind.OVERLAP, row, 1.0, image=of, how="same file")

    def compare(start: int) -> list[tuple[int, int, float, int]]:
        block = rows[start : start + _BLOCK]
        cosines = products(photos.vector[block], vectors)
        one, two = np.nonzero(cosines >= least)
        bits = hamming(looks[start + one], their_looks[two])
        alike = (bits <= LOOKS_BITS) & (looks[start + one] > 0) & (their_looks[two] > 0)
        best: dict[int, tuple[int, int, float, int]] = {}
        for a, b, different in zip(one[alike], two[alike], bits[alike], strict=True):
            found = (int(block[a]), int(theirs[b]), float(cosines[a, b]), int(different))
            if a not in best or found[2] > best[a][2]:
                best[a] = found
        advance(len(block))
        return list(best.values())

    blocks = map_sharded(range(0, len(rows), _BLOCK), compare) if np.isfinite(least) else []
    for row, other, cosine, different in (found for block in blocks for found in block):
        if exact[row] < 0:
            yield about(
                photos, Kind.OVERLAP, row, min(1.0, 0.5 + 0.5 * (cosine - least) / (1 - least)),
                image=f"{excluded.path[other]}", how="near-duplicate", bits=different,
                similarity=round(cosine, 4),
            )  # fmt: skip


def _looks(photos: Photos) -> NDArray[np.uint64]:
    return np.array([facts.looks for facts in photos.facts], np.uint64)


def _find_people(
    photos: Photos, groups: Groups, excluded: Photos, theirs: Groups, scale: Scale
) -> Iterator[Finding]:
    means, their_means = groups.means(), theirs.means()
    within, their_within = groups.within(), theirs.within()
    several = theirs.sizes > 1

    def compare(start: int) -> list[tuple[int, int, float]]:
        block = slice(start, start + _BLOCK)
        apart = gaps_apart(
            products(means[block], their_means), within[block, None], their_within[None], scale
        )
        sizes = groups.sizes[block, None]
        limits = np.where((sizes > 1) & several, SAME, _SAME_AS_ONE)
        told = (sizes > 0) & (theirs.sizes > 0) & ((sizes > 1) | several)
        beyond = np.where(told, apart / limits, np.inf)
        best = beyond.argmin(1)
        lines = np.flatnonzero(beyond.min(1) < 1)
        return [(start + int(n), int(best[n]), float(beyond[n, best[n]])) for n in lines]

    blocks = map_sharded(range(0, len(groups.sizes), _BLOCK), compare)
    members = rows_by_group(photos.person, len(photos.people))
    for person, other, share_of_limit in (found for block in blocks for found in block):
        files = [str(photos.file[row]) for row in members[person]]
        yield Finding(
            Kind.OVERLAP_PERSON, files, photos.people[person],
            min(1.0, 1 - 0.5 * share_of_limit), None, {"person": excluded.people[other]},
        )  # fmt: skip
