"""Every check of a labelled data set: files, outliers, label noise, duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from facerec.card import distance_to_similarity
from facerec.cleanup.copies import find_copies, least_alike
from facerec.cleanup.distinct import Distinct, find_distinct
from facerec.cleanup.division import SMALLEST_PART
from facerec.cleanup.findings import Finding, Kind, about, beyond, nearest
from facerec.cleanup.folders import find_outliers, find_wrong_folders, find_wrong_people
from facerec.cleanup.graph_linkage import link_neighbours
from facerec.cleanup.groups import Groups, Rows, rows_by_group
from facerec.cleanup.label_noise import ROUNDS, Again, Judgement, judge
from facerec.cleanup.linkage import Tree, cut, link
from facerec.cleanup.photos import UNREADABLE, Photos
from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.parallel.ranks import map_sharded, shard
from facerec.profile.schema import CleanupSection

PASSES = ROUNDS + 1
"""Passes over the embedded images in `examine`: clustering, judging."""


def examine(
    photos: Photos, section: CleanupSection, threshold: float,
    advance: Callable[[int], None] = lambda _: None, *, same_person: float | None = None,
    again: Again | None = None, distinct: Distinct | None = None,
) -> list[Finding]:  # fmt: skip
    """Find what is wrong with the folders of people.

    Args:
        threshold: distance from which clusters of one person are not joined.
        same_person: cosine below which the card calls two images two people.
        advance: progress callback, with the number of images compared: `PASSES` times all of them,
            divided among the ranks.
        again: vectors of a second look at rows of `photos`; None: there is none.
        distinct: `find_distinct` of the photos; None: it is found here.

    Raises:
        UsageError: ward linkage with another metric than euclidean, or a person has more than
            `exact_limit` images and the linkage is not average.
    """
    found = [*examine_files(photos, section)]
    if distinct is None:
        distinct = find_distinct(photos, section)
    if len(distinct.rows):
        found += _examine_people(photos, distinct, section, threshold, same_person, advance, again)
    misplaced = {
        file
        for finding in found
        if finding.kind in (Kind.WRONG_PERSON, Kind.OUTLIER)
        for file in finding.files
    }
    return [*found, *find_copies(photos, misplaced)]


def examine_files(photos: Photos, section: CleanupSection) -> Iterator[Finding]:
    """Unreadable files, images without a face, and faces that are small, blurred or turned away."""
    for row, facts in enumerate(photos.facts):
        if facts.faces == UNREADABLE:
            yield about(photos, Kind.UNREADABLE, row, 1.0)
        elif facts.faces == 0:
            yield about(photos, Kind.NO_FACE, row, 1.0)
        if facts.faces > 1:
            yield about(photos, Kind.SEVERAL_FACES, row, 1.0, faces=facts.faces)
        if facts.size < section.min_face:
            confidence = beyond(section.min_face / max(facts.size, 1))
            yield about(photos, Kind.TOO_SMALL, row, confidence, pixels=round(facts.size, 1))
        if facts.sharpness < section.min_sharpness:
            confidence = beyond(section.min_sharpness / max(facts.sharpness, 1e-3))
            yield about(photos, Kind.BLURRED, row, confidence, sharpness=round(facts.sharpness, 1))
        if facts.yaw > section.max_yaw:
            confidence = beyond(facts.yaw / max(section.max_yaw, 1e-3))
            yield about(photos, Kind.EXTREME_POSE, row, confidence, yaw=round(facts.yaw, 3))


def _examine_people(
    photos: Photos, distinct: Distinct, section: CleanupSection, threshold: float,
    same_person: float | None, advance: Callable[[int], None], again: Again | None,
) -> Iterator[Finding]:  # fmt: skip
    rows = photos.embedded()
    advance(PASSES * len(shard(range(len(rows) - len(distinct.rows)))))
    judgement, apart = _judge(photos, distinct, section, threshold, advance, again)
    # Copies are judged as what they are copies of.
    judgement, apart = judgement.taken(distinct.place), apart[distinct.place]
    vectors = photos.vectors(rows)
    members = rows_by_group(*photos.owners(rows))
    strangers = judgement.strangers(same_person, distance_to_similarity(threshold, section.metric))
    elsewhere = (judgement.other >= 0) & ~strangers
    for own in members:
        if not (~strangers & ~elsewhere)[own].any():
            strangers[own] &= apart[own]  # a folder keeps its largest cluster
    # An image whose folder is known is told once, as wrong-person.
    outliers = (strangers | apart) & ~elsewhere

    def tell_outliers(own: Rows) -> list[Finding]:
        kept = own[~(outliers | elsewhere)[own]]
        return list(_about_outliers(photos, rows, vectors, own[outliers[own]], kept, judgement))

    for told in map_sharded(members, tell_outliers):
        yield from told
    yield from find_wrong_people(photos, rows, vectors, members, judgement, strangers)
    copies = ~np.isin(rows, distinct.rows, assume_unique=True)
    yield from find_wrong_folders(photos, rows, vectors, judgement, outliers, copies)
    least = least_alike(judgement.scale.gap)
    yield from (copy.finding(photos, least) for copy in distinct.near if copy.similarity >= least)


def _judge(
    photos: Photos, distinct: Distinct, section: CleanupSection, threshold: float,
    advance: Callable[[int], None], again: Again | None,
) -> tuple[Judgement, NDArray[np.bool_]]:  # fmt: skip
    """The judgement of images without copies, and which are outside their folder's largest cluster,
    each by itself."""
    rows = distinct.rows
    vectors = photos.vectors(rows)
    person, count = photos.owners(rows)
    members = rows_by_group(person, count)

    def link_members(own: Rows) -> Tree:
        tree = link_person(vectors[own], section, advance)
        advance(1)  # n images are joined by n - 1 merges
        return tree

    trees = map_sharded(members, link_members)
    centroids = Groups.of(vectors, person, count).centroids()

    def cluster(number: int) -> tuple[Rows, Rows]:
        own, tree = members[number], trees[number]
        hashes = photos.sha256[rows[own]]
        outside = find_outliers(vectors[own], tree, threshold, centroids, number, hashes)
        label = cut(tree, threshold)
        few = np.bincount(label)[label[outside]] < SMALLEST_PART
        return own[outside], own[outside[few]]

    apart, alone = np.zeros((2, len(rows)), bool)
    for outside, few in map_sharded(range(count), cluster):
        apart[outside] = True
        # Several images that are alike may be a person merged into the folder.
        alone[few] = True
    look = None if again is None else lambda doubtful: again(rows[doubtful])
    judgement = judge(vectors, person, trees, alone, advance, look)
    # A merged person is told of the folder, not of each image.
    apart &= judgement.part == judgement.folder[judgement.part]
    if section.threshold is None:
        # A threshold that was measured is overruled by what was measured of each image.
        apart &= ~(alone & judgement.kin())
    return judgement, apart


def link_person(
    vectors: Floats, section: CleanupSection, advance: Callable[[int], None] = lambda _: None
) -> Tree:
    """The dendrogram of one person's `(n, D) float32` vectors: exact, or on a neighbour graph."""
    if len(vectors) <= section.exact_limit:
        return link(vectors, section.metric, section.linkage, advance)
    if section.linkage != "average":
        raise UsageError(
            f"{len(vectors)} images are too many for {section.linkage} linkage; "
            "use average, or a higher --exact-limit"
        )
    return link_neighbours(vectors, section.metric, advance)


def _about_outliers(
    photos: Photos, rows: Rows, vectors: Floats, outside: Rows, kept: Rows, judgement: Judgement
) -> Iterator[Finding]:
    scale = judgement.scale
    for row in outside:
        mean = float((vectors[kept] @ vectors[row]).mean()) if len(kept) else scale.impostor
        confidence = min(1.0, 0.5 + (scale.genuine - mean) / scale.gap / 2)
        yield about(
            photos, Kind.OUTLIER, rows[row], max(0.5, confidence),
            neighbours=nearest(photos, rows, vectors, row, kept),
            second_look=bool(judgement.again[row]),
        )  # fmt: skip
