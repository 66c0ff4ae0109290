"""Clustering of unlabelled photos by person."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from facerec.card import similarity_to_distance
from facerec.cleanup.copies import find_copies, least_alike
from facerec.cleanup.distinct import find_near_copies_of, first_of_copies
from facerec.cleanup.examine import examine_files, link_person
from facerec.cleanup.findings import Finding, Kind
from facerec.cleanup.groups import Groups, Rows, Scale, rows_by_group
from facerec.cleanup.linkage import cut
from facerec.cleanup.photos import Photos
from facerec.parallel.ranks import shard
from facerec.profile.schema import CleanupSection

UNKNOWN = "unknown"
"""The person of photos before clustering, and of those in no cluster."""


PASSES = 2
"""Passes over the embedded images in `group`: clustering, duplicates."""


def group(
    photos: Photos,
    section: CleanupSection,
    threshold: float,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Photos, list[Finding]]:
    """Cluster photos by person: average linkage, on a neighbour graph if there are many.

    Args:
        photos: all of one person, `unknown`.
        threshold: clusters this far apart or farther are not merged.
        advance: progress callback, with the number of images compared: `PASSES` times all of them.

    Returns:
        the photos by their new person, and the findings on them; a photo in no cluster stays
        unknown.
    """
    rows = photos.embedded()
    label = np.full(len(photos), -1, np.intp)
    if len(rows):
        # An image and its exact copy are not two photos of a person.
        first = first_of_copies(photos, rows, np.zeros_like(rows))
        kept, place = np.unique(first, return_inverse=True)
        own = rows[kept]
        advance(len(shard(range(len(rows) - len(own)))))
        clusters = cut(link_person(photos.vector[own], section, advance), threshold)
        label[rows] = _largest_first(clusters, photos.sha256[own])[place]
    count = int(label.max(initial=-1)) + 1
    width = max(4, len(str(count)))
    names = [f"person-{number:0{width}}" for number in range(1, count + 1)]
    order = np.argsort(np.where(label < 0, count, label), kind="stable")
    label = label[order]
    sorted_ = photos.taken(order, np.where(label < 0, count, label), [*names, UNKNOWN])
    return sorted_, [
        *examine_files(sorted_, section),
        *(_people(sorted_, label, count, section, threshold, advance) if count else ()),
        *find_copies(sorted_, set()),
    ]


def _largest_first(cluster: Rows, hashes: np.ndarray) -> Rows:
    """Clusters renumbered by size, then by file hash; -1 for singletons."""
    members = rows_by_group(cluster, int(cluster.max()) + 1)
    several = [rows for rows in members if len(rows) > 1]
    several.sort(key=lambda rows: (-len(rows), min(hashes[rows])))
    label = np.full(len(cluster), -1, np.intp)
    for number, rows in enumerate(several):
        label[rows] = number
    return label


def _people(
    photos: Photos, label: Rows, count: int, section: CleanupSection, threshold: float,
    advance: Callable[[int], None],
) -> Iterator[Finding]:  # fmt: skip
    groups = Groups.of(photos.vector, label, count)
    within, least = groups.within(), least_alike(Scale.of(groups).gap)
    for number, rows in enumerate(rows_by_group(label, count)):
        mean = float(within[number])
        own = similarity_to_distance(mean, section.metric)
        yield Finding(
            Kind.PERSON, photos.file[rows].tolist(), photos.people[number],
            float(np.clip(1 - 0.5 * own / threshold, 0.5, 1)), photos.people[number],
            {"similarity": round(mean, 4)},
        )  # fmt: skip
        near = find_near_copies_of(photos, rows, photos.vector[rows], section, least)
        yield from (copy.finding(photos, least) for copy in near)
        advance(len(rows))
