"""An engine whose faces are given by a photo's pixels, so that albums of any content are fast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from facerec.album.listing import remove_gone, unknown_photos
from facerec.album.scan import Scan, scan_photos
from facerec.album.store import Album
from facerec.faces import Face, Floats, Frame, Image
from facerec.imaging.sources import find_photos
from facerec.profile.loading import Profile
from tests.conftest import make_card

SIZE = 4
"""Values of a vector."""
SIDE = 16
"""Pixels of a face; a photo is a row of these."""


def write_photo(path: Path, people: Sequence[int], number: int = 0) -> Path:
    """A PNG with these people, 1 to 200, side by side; the number makes contents differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((SIDE, SIDE * max(len(people), 1), 3), np.uint8)
    for place, person in enumerate(people):
        image[:, place * SIDE : (place + 1) * SIDE, 0] = person
    image[..., 1:] = number % 256, number // 256
    Pillow.fromarray(image).save(path, "PNG")
    return path


def vector_of(person: int) -> np.ndarray:
    """`(SIZE,) float32` of a person, of unit length."""
    vector = np.random.default_rng(person).normal(size=SIZE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class FakeEngine:
    """Finds the faces that `write_photo` drew.

    Attributes:
        looked: photos that it was given to look at.
        embedded: faces that it was given to embed, but for those it found.
    """

    size = SIZE

    def __init__(self) -> None:
        self.card = make_card(self.size)
        self.looked = self.embedded = 0

    def points(self) -> str:
        return "drawn"

    def in_whole_batches(self) -> FakeEngine:
        return self

    def reduction(self, height: int, width: int) -> int:
        return 1

    def faces(
        self, frames: Iterable[Frame], *, expected: int | None = None
    ) -> Iterator[tuple[Frame, list[Face]]]:
        for frame in frames:
            self.looked += frame.image is not None
            yield frame, [] if frame.image is None else list(self._faces(frame.image))

    def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
        self.embedded += len(found)
        lefts = [int(face.landmarks[0, 0]) for _, face in found]
        people = [int(image[0, left, 0]) for (image, _), left in zip(found, lefts, strict=True)]
        return np.stack([self.vector(person) for person in people])

    def vector(self, person: int) -> Floats:
        return vector_of(person)

    def _faces(self, image: Image) -> Iterator[Face]:
        for left in range(0, image.shape[1], SIDE):
            person = int(image[0, left, 0])
            if person:
                box = np.array([left, 0, left + SIDE, SIDE], np.float32)
                yield Face(box, 0.9, np.full((5, 2), left, np.float32), self.vector(person))


class OtherEngine(FakeEngine):
    """A model of 6 values, which are a linear map of the first one's, and so can be learned."""

    size = 6

    def vector(self, person: int) -> Floats:
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0][:SIZE]
        vector: Floats = (vector_of(person) @ turn).astype(np.float32)
        return vector


def scan(album: Album, *places: Path, engine: FakeEngine | None = None) -> Scan:
    """As `facerec album scan`."""
    listed = list(find_photos(places))
    unknown = unknown_photos(album, listed)
    report = scan_photos(album, unknown, engine or FakeEngine(), Profile())  # type: ignore[arg-type]
    report.gone = remove_gone(album, listed)
    return report
