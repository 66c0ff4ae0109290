"""Embedding photos: what became of each, before any gallery hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from facerec.alignment.warp import only_central_face
from facerec.engine.engine import Engine
from facerec.faces import Face, Frame
from facerec.imaging.decode import full_size
from facerec.imaging.photos import Photo
from facerec.imaging.reader import read_frames
from facerec.profile.loading import Profile

Held = Callable[[str, str], bool]
"""Told a person and a photo's hash, says whether that is enrolled."""
Seen = Callable[[str, Frame, Sequence[Face]], None]
"""Told of each photo while its pixels are there: its person, the frame, its usable faces."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What embedding one photo gave.

    Attributes:
        sha256: hash of its bytes; empty when they could not be read.
        error: why it could not be read, or "".
        looked: whether it was decoded; not if it was enrolled already.
        faces: those that the policy takes, with their embeddings.
    """

    sha256: str
    error: str
    looked: bool
    faces: tuple[Face, ...]


def embed_photos(
    photos: Sequence[tuple[str, Photo]],
    engine: Engine,
    profile: Profile,
    *,
    aligned: bool,
    held: Held,
    seen: Seen,
) -> Iterator[Outcome]:
    """Embed each photo, in order. A vector depends on its photo alone, to the bit, and not on
    what else is embedded beside it.

    Args:
        photos: person and photo each.
        aligned: the photos are aligned faces.
        held: what is enrolled already, and so not decoded.
        seen: told of each photo, in order.
    """
    person_of = {str(photo): person for person, photo in photos}
    frames = read_frames(
        (photo for _, photo in photos),
        workers=profile.runtime.workers,
        max_pixels=profile.runtime.max_pixels,
        wanted=lambda source, digest: not held(person_of[source], digest),
        downscale=full_size if aligned else engine.reduction,
    )
    select = only_central_face if profile.gallery.faces == "central" else None
    stream = engine.in_whole_batches().faces(frames, aligned=aligned, select=select)
    for (person, _), (frame, faces) in zip(photos, stream, strict=True):
        refused = is_refused(faces, profile)
        seen(person, frame, () if refused else faces)
        error = "" if frame.error is None else str(frame.error)
        yield Outcome(frame.sha256, error, frame.image is not None, tuple(faces))


def is_refused(faces: Sequence[Face], profile: Profile) -> bool:
    """Whether a photo shows more faces than `gallery.faces` allows."""
    return profile.gallery.faces == "refuse" and len(faces) > 1
