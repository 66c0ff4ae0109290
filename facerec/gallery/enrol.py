"""Enrolling a stream of photos in a gallery file, saving as it goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facerec.alignment import only_central_face
from facerec.engine import Engine
from facerec.faces import Face, Frame
from facerec.gallery.gallery import Gallery
from facerec.gallery.names import check_name
from facerec.gallery.store import Where
from facerec.imaging.reader import read_frames
from facerec.profile import Profile

Observer = Callable[[str, Frame, Sequence[Face], str], None]
"""Told of each photo: its person, the frame, the faces enrolled, and a problem or ""."""

# Writing the whole gallery may take at most this share of the time.
_SAVING_SHARE = 0.05


@dataclass
class Enrolment:
    """What became of a run's photos.

    Attributes:
        enrolled: photos that were added.
        replaced: those of them whose earlier content was enrolled before.
        skipped: photos that were enrolled already.
        faces: faces that were added.
        no_face: photos without a face.
        several_faces: photos refused because they show several.
        failed: photos that could not be read, and why.
    """

    enrolled: int = 0
    replaced: int = 0
    skipped: int = 0
    faces: int = 0
    no_face: list[str] = field(default_factory=list)
    several_faces: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def open_or_create(path: Path, engine: Engine) -> Gallery:
    """The gallery at a path, or a new one for the engine's model.

    Raises:
        IncompatibleError: it was built with another model.
        MissingError: it is damaged.
    """
    if not path.exists():
        return Gallery(engine.card)
    gallery = Gallery.open(path, assume=engine.card)
    engine.card.require_same_model(gallery.card, str(path))
    return gallery


def enrol(
    gallery: Gallery,
    path: Path,
    photos: Sequence[tuple[str, Path]],
    engine: Engine,
    profile: Profile,
    *,
    aligned: bool,
    observe: Observer,
    meta: Where | None = None,
) -> Enrolment:
    """Add photos to a gallery and save it, now and then and at the end, however it ends.

    A photo already enrolled for its person, by content, is skipped; one of the same name with
    other content replaces what it gave before.

    Args:
        path: where the gallery is saved.
        photos: person and file each.
        aligned: the photos are aligned faces.
        observe: told of each photo, in order.
        meta: metadata of the faces added.

    Raises:
        UsageError: a name is unusable, or the gallery cannot be written.
    """
    for person in {person for person, _ in photos}:
        check_name(person)
    person_of = {str(file): person for person, file in photos}
    frames = read_frames(
        (file for _, file in photos),
        workers=profile.runtime.workers,
        max_pixels=profile.runtime.max_pixels,
        wanted=lambda source, digest: not gallery.holds(person_of[source], digest),
    )
    policy = profile.gallery.faces
    stream = engine.faces(
        frames, aligned=aligned, select=only_central_face if policy == "central" else None
    )
    report = Enrolment()
    saver = _Saver(gallery, path)
    try:
        for (person, file), (frame, faces) in zip(photos, stream, strict=True):
            source = _relative(file, path)
            problem = _problem(frame, faces, refuse_several=policy == "refuse")
            if frame.error is not None:
                report.failed[frame.source] = problem
            elif frame.image is None or gallery.holds(person, frame.sha256):
                report.skipped += 1
                faces = []
            elif not faces:
                report.no_face.append(frame.source)
            elif problem:
                report.several_faces.append(frame.source)
                faces = []
            else:
                report.replaced += gallery.has_source(person, source)
                gallery.add(person, faces, source, frame.sha256, meta)
                report.enrolled += 1
                report.faces += len(faces)
                saver.note_change()
            observe(person, frame, faces, problem)
    finally:
        saver.save()
    return report


def _problem(frame: Frame, faces: Sequence[Face], *, refuse_several: bool) -> str:
    if frame.error is not None:
        return str(frame.error)
    if frame.image is None:
        return ""
    if not faces:
        return f"{frame.source}: no face found"
    if refuse_several and len(faces) > 1:
        return f"{frame.source}: {len(faces)} faces, and only one is allowed"
    return ""


def _relative(file: Path, gallery: Path) -> str:
    try:
        return Path(os.path.relpath(file, gallery.parent)).as_posix()
    except ValueError:  # another drive
        return file.resolve().as_posix()


class _Saver:
    """Saves a gallery that changes, as often as the cost allows."""

    def __init__(self, gallery: Gallery, path: Path) -> None:
        self._gallery = gallery
        self._path = path
        self._changed = not path.exists()
        self._seconds = 0.0
        # Now, so that a place that cannot be written is known before the work is done.
        self.save()

    def note_change(self) -> None:
        self._changed = True
        if (time.monotonic() - self._ended) * _SAVING_SHARE > self._seconds:
            self.save()

    def save(self) -> None:
        if self._changed:
            start = time.monotonic()
            self._gallery.save(self._path)
            self._seconds = time.monotonic() - start
            self._changed = False
        self._ended = time.monotonic()
