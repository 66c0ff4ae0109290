"""Exact duplicates (SHA-256) and near-duplicates (perceptual hash and embedding)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.fidelity import loss
from facerec.cleanup.findings import Finding, Kind, about
from facerec.cleanup.groups import Groups, Rows
from facerec.cleanup.photos import Photos
from facerec.faces import Floats

LOOKS_BITS = 8
"""Differing bits of perceptual hash, at most. Of LFW's 70 people with most images, 20 rescaled and
recompressed copies differ in at most 2 bits, 2,973 pairs of other images of a person in at least
10."""
_LOOKS_GAP = 0.12
_COPY_GAP = 0.5
"""The same for images that count as one. Of LFW's 70 people, aligned to 112 pixels, 5 of 5,660
pairs of other images of a person differ in at most `LOOKS_BITS`, and 8 of 313,600 of two people,
whose cosine is at most 0.82 where a person's is 0.95 on average."""
_NOTHING = 1e-3
"""Length of a sum of vectors up to which it is rounding alone."""
_BLURRED = 3.0
"""Factor of sharpness from which the less sharp of two copies counts as blurred. Compression adds
edges of blocks and ringing: 100 faces of LFW, as they are and softened, are 0.8 to 2.7 times as
sharp at JPEG qualities 20 to 92; a Gaussian blur of 1.5 pixels divides by 2.9 to 12."""

_Alike = Mapping[int, Sequence[tuple[int, int, float]]]
"""By image its near-duplicates: which, differing bits, cosine."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """A near-duplicate.

    Attributes:
        row: the photos' row.
        of: the row of the image that is kept.
        bits: differing bits of perceptual hash.
        similarity: cosine.
    """

    row: int
    of: int
    bits: int
    similarity: float

    def finding(self, photos: Photos, least: float) -> Finding:
        """What is told of it; `least`: see `least_alike`."""
        confidence = min(1.0, 0.5 + 0.5 * (self.similarity - least) / (1 - least))
        return about(
            photos, Kind.NEAR_DUPLICATE, self.row, confidence,
            of=photos.file[self.of], bits=self.bits, similarity=round(self.similarity, 4),
        )  # fmt: skip


def least_alike(gap: float) -> float:
    """The cosine from which images may be near-duplicates, by the gap (`Scale.gap`)."""
    return 1 - _LOOKS_GAP * gap


def least_counted_once(gap: float) -> float:
    """The same for images that count as one."""
    return 1 - _COPY_GAP * gap


def find_copies(photos: Photos, misplaced: set[str]) -> Iterator[Finding]:
    """Exact duplicates: all files of one content but one.

    Kept is one that is not misplaced if any, then the one most alike to the other images of its
    folder, where there are any, then the first by name.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(photos.sha256):
        if digest:
            copies[digest].append(row)
    several = [rows for rows in copies.values() if len(rows) > 1]
    usable = photos.embedded()
    usable = (
        usable[[photos.file[row] not in misplaced for row in usable]] if several else usable[:0]
    )
    person = np.full(len(photos), -1, np.intp)
    person[usable] = photos.person[usable]
    sums = Groups.of(photos.vector, person, len(photos.people)).sums
    for rows in several:
        alike = _likeness(photos, rows, person, sums)
        rows.sort(
            key=lambda row: (photos.file[row] in misplaced, -alike[row], str(photos.file[row]))
        )
        for row in rows[1:]:
            yield about(photos, Kind.EXACT_DUPLICATE, row, 1.0, of=photos.file[rows[0]])


def _likeness(photos: Photos, rows: Sequence[int], person: Rows, sums: Floats) -> dict[int, float]:
    """Cosine of each copy to the centroid of its folder without the copies; -1, the least, of a
    folder without other images.

    Args:
        rows: the copies.
        person: `(N,)` whose centroid each image counts in; -1: nobody's.
        sums: `(P, D) float32` sums of those images.
    """
    alike = {}
    for row in rows:
        own = photos.person[row]
        same = [copy for copy in rows if person[copy] == own]
        rest = sums[own] - photos.vector[same].sum(0)
        norm = float(np.linalg.norm(rest))
        cosine = float(photos.vector[row] @ rest) / norm if norm > _NOTHING else np.nan
        # Rounded, so that copies in one folder are equal.
        alike[row] = -1.0 if np.isnan(cosine) else round(cosine, 4)
    return alike


def find_near_copies(
    photos: Photos, own: Rows, vectors: Floats, pairs: NDArray[np.intp], least: float
) -> Iterator[NearCopy]:
    """Near-duplicates of one person, by perceptual hash and embedding; the image with the most
    pixels is kept, among equals one that is not blurred, then the one whose encoding has lost
    least.

    Args:
        own: the person's rows.
        vectors: theirs, `(n, D) float32`.
        pairs: `(E, 2)` candidates.
        least: minimum cosine.
    """
    facts = [photos.facts[row] for row in own]
    looks = np.array([fact.looks for fact in facts], np.uint64)
    digest = photos.sha256[own]
    one, two = pairs.T
    bits = hamming(looks[one], looks[two])
    maybe = (
        (bits <= LOOKS_BITS) & (looks[one] > 0) & (looks[two] > 0) & (digest[one] != digest[two])
    )
    alike: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for n in np.flatnonzero(maybe):
        cosine = float(vectors[one[n]] @ vectors[two[n]])
        if cosine >= least:
            alike[one[n]].append((two[n], int(bits[n]), cosine))
            alike[two[n]].append((one[n], int(bits[n]), cosine))
    rank = _rank(photos, own, alike)
    copies: set[int] = set()
    for best in sorted(alike, key=rank.__getitem__):
        if best in copies:
            continue
        for copy, different, cosine in alike[best]:
            if copy in copies or rank[copy] < rank[best]:
                continue
            copies.add(copy)
            yield NearCopy(int(own[copy]), int(own[best]), different, cosine)


def _rank(photos: Photos, own: Rows, alike: _Alike) -> dict[int, tuple[object, ...]]:
    """Sort keys of near-duplicates, the best first."""
    facts = {n: photos.facts[own[n]] for n in alike}
    pixels = {n: known.height * known.width for n, known in facts.items()}

    def is_blurred(n: int) -> bool:
        return any(
            pixels[other] == pixels[n] and facts[other].sharpness > _BLURRED * facts[n].sharpness
            for other, _, _ in alike[n]
        )

    return {
        n: (-pixels[n], is_blurred(n), *loss(Path(photos.path[own[n]])), str(photos.sha256[own[n]]))
        for n in alike
    }


def hamming(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Hamming distance of `uint64` hashes."""
    different = np.atleast_1d(one ^ two)
    bits = np.unpackbits(different.view(np.uint8).reshape(len(different), 8), axis=1)
    counts: np.ndarray = bits.sum(1)
    return counts
