"""Outcomes of embedding photos, and the files through which the ranks of an enrolment share them.

The photos are cut into chunks, the same for the same photos, and the outcomes of a chunk are one
file, written whole. A process that dies loses its unfinished chunks; the next run does those that
are missing. The outcomes of all chunks, in order, are those of a single process.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from facerec.alignment.warp import only_central_face
from facerec.card import ModelCard
from facerec.engine.engine import Engine
from facerec.faces import Face, Frame
from facerec.files.parsing import MALFORMED, parse_json
from facerec.files.writing import replacing
from facerec.gallery.entries import known_quality
from facerec.imaging.decode import full_size
from facerec.imaging.photos import Photo
from facerec.imaging.reader import read_frames
from facerec.profile.loading import Profile

_CHUNK = 64
"""Photos a file."""
_ARRAYS = ("box", "landmarks", "embedding")

Held = Callable[[str, str], bool]
"""Whether a photo, by its person and hash, is enrolled."""
Seen = Callable[[str, Frame, Sequence[Face]], None]
"""Callback for each photo while its pixels are there: its person, the frame, its usable faces."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of embedding one photo.

    Attributes:
        sha256: hash of its bytes; empty if they cannot be read.
        error: why it cannot be read, or "".
        looked: whether it was decoded; False if it is enrolled already.
        faces: those that `gallery.faces` keeps, with embeddings.
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
    """Embed each photo, in order; batches are composed so that a vector depends on its photo alone.

    Args:
        photos: person and photo each.
        aligned: the photos are aligned faces.
        held: whether a photo is enrolled already and need not be decoded.
        seen: told of each photo, in order.
    """
    people_of: dict[str, set[str]] = {}  # a photo may be enrolled as several people's
    for person, photo in photos:
        people_of.setdefault(str(photo), set()).add(person)
    frames = read_frames(
        (photo for _, photo in photos),
        workers=profile.runtime.workers,
        max_pixels=profile.runtime.max_pixels,
        wanted=lambda source, digest: not all(held(who, digest) for who in people_of[source]),
        downscale=full_size if aligned else engine.reduction,
    )
    select = only_central_face if profile.gallery.faces == "central" else None
    stream = engine.in_whole_batches().faces(
        frames, aligned=aligned, select=select, expected=len(photos)
    )
    for (person, _), (frame, faces) in zip(photos, stream, strict=True):
        seen(person, frame, judge(faces, profile).kept)
        error = "" if frame.error is None else str(frame.error)
        yield Outcome(frame.sha256, error, frame.image is not None, tuple(faces))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of a photo's faces is enrolled.

    Attributes:
        kept: the faces that are.
        poor: quality of those below `gallery.min_quality`.
        reason: why none is; "" where some are.
        told: the same as prose that follows the photo's name.
    """

    kept: list[Face]
    poor: tuple[float, ...] = ()
    reason: Literal["", "no_face", "several_faces", "low_quality"] = ""
    told: str = ""


def judge(faces: Sequence[Face], profile: Profile) -> Verdict:
    """Which of a photo's faces `gallery.faces` and `gallery.min_quality` let in."""
    if not faces:
        return Verdict([], (), "no_face", "no face found")
    if profile.gallery.faces == "refuse" and len(faces) > 1:
        return Verdict([], (), "several_faces", f"{len(faces)} faces, and only one is allowed")
    least = profile.gallery.min_quality
    kept = [face for face in faces if face.quality is None or face.quality >= least]
    poor = tuple(known_quality(face) for face in faces if face not in kept)
    if not kept:
        return Verdict([], poor, "low_quality", f"face quality {max(poor):.4g} is too low")
    return Verdict(kept, poor)


class Chunks:
    """The chunks of one enrolment, and the files of those that are done.

    Args:
        folder: where the files are kept; made when the first is written.
        photos: all of them, person and photo each.
        settings: all other inputs of the outcomes, as text.
    """

    def __init__(self, folder: Path, photos: Sequence[tuple[str, Photo]], settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._chunks = [photos[start : start + _CHUNK] for start in range(0, len(photos), _CHUNK)]

    @cached_property
    def _files(self) -> list[Path]:
        return [self._folder / f"{_digest(chunk, self._settings)}.npz" for chunk in self._chunks]

    def missing(self, held: Held) -> list[int]:
        """The chunks that are not done.

        Args:
            held: what is enrolled; a chunk that skipped a photo as enrolled, which no longer is,
                must be done again.
        """
        return [number for number in range(len(self._chunks)) if not self._is_done(number, held)]

    def photos(self, chunks: Iterable[int]) -> list[tuple[str, Photo]]:
        """The photos of some chunks."""
        return [photo for number in chunks for photo in self._chunks[number]]

    def write(self, chunks: Iterable[int], outcomes: Iterator[Outcome]) -> None:
        """Write the outcomes of the chunks' photos, a file as soon as its chunk is complete.

        Raises:
            UsageError: the folder cannot be written.
        """
        for number in chunks:
            _write(self._files[number], list(islice(outcomes, len(self._chunks[number]))))

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes of all photos, in order."""
        return (outcome for file in self._files for outcome in _read(file))

    def remove(self) -> None:
        """Remove the folder, with the files of enrolments of other photos."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_done(self, number: int, held: Held) -> bool:
        try:
            outcomes = _read(self._files[number])
        except MALFORMED:
            return False
        return all(
            outcome.looked or outcome.error or held(person, outcome.sha256)
            for (person, _), outcome in zip(self._chunks[number], outcomes, strict=True)
        )


def describe_settings(card: ModelCard, profile: Profile, *, aligned: bool) -> str:
    """All inputs of an outcome except the photo, as JSON."""
    return json.dumps(
        {
            "card": card.fingerprint(),
            "detector": profile.detector.model_dump(mode="json"),
            "runtime": profile.runtime.model_dump(
                mode="json", exclude={"device", "threads", "processes", "workers"}
            ),
            "faces": profile.gallery.faces,
            "aligned": aligned,
        }
    )


def _digest(chunk: Sequence[tuple[str, Photo]], settings: str) -> str:
    photos = [(person, str(photo), photo.version) for person, photo in chunk]
    return hashlib.sha256(json.dumps([settings, photos]).encode()).hexdigest()[:32]


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    faces = [face for outcome in outcomes for face in outcome.faces]
    facts = [[o.sha256, o.error, o.looked, len(o.faces)] for o in outcomes]
    arrays: dict[str, Any] = {
        name: np.array([getattr(face, name) for face in faces]) for name in _ARRAYS
    }
    names = ("score", "among", "quality")
    numbers = [[getattr(face, name) for face in faces] for name in names]
    text = np.frombuffer(json.dumps([facts, numbers]).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, text=text, **arrays)


def _read(path: Path) -> list[Outcome]:
    with np.load(path, allow_pickle=False) as file:
        facts, (scores, among, qualities) = parse_json(file["text"].tobytes())
        boxes, landmarks, embeddings = (file[name] for name in _ARRAYS)
    rows = zip(boxes, scores, landmarks, embeddings, among, qualities, strict=True)
    faces = (
        Face(box, score, points, vector, among=shown, quality=quality)
        for box, score, points, vector, shown, quality in rows
    )
    return [
        Outcome(sha256, error, looked, tuple(islice(faces, count)))
        for sha256, error, looked, count in facts
    ]
