"""Enrolling a stream of photos in a gallery file, saving as it goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facerec.engine import Engine
from facerec.gallery.gallery import Gallery, check_name
from facerec.gallery.outcomes import Outcome, is_refused
from facerec.imaging.remote import is_url
from facerec.imaging.stored import Photo
from facerec.profile import Profile

Observer = Callable[[str], None]
"""Told after each photo, with a problem or ""."""

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
    photos: Sequence[tuple[str, Photo]],
    outcomes: Iterable[Outcome],
    profile: Profile,
    observe: Observer,
) -> Enrolment:
    """Add photos to a gallery and save it, now and then and at the end, however it ends.

    A photo already enrolled for its person, by content, is skipped; one of the same name with
    other content replaces what it gave before.

    Args:
        path: where the gallery is saved.
        photos: person and photo each.
        outcomes: what embedding each gave.
        observe: told of each photo, in order, with a problem or "".

    Raises:
        UsageError: a name is unusable, or the gallery cannot be written.
    """
    report = Enrolment()
    saver = _Saver(gallery, path)
    try:
        for (person, photo), outcome in zip(photos, outcomes, strict=True):
            name, faces = str(photo), outcome.faces
            problem = outcome.error
            if problem:
                report.failed[name] = problem
            elif not outcome.looked or gallery.holds(person, outcome.sha256):
                report.skipped += 1
            elif not faces:
                report.no_face.append(name)
                problem = f"{name}: no face found"
            elif is_refused(faces, profile):
                report.several_faces.append(name)
                problem = f"{name}: {len(faces)} faces, and only one is allowed"
            else:
                source = _relative(photo, path)
                report.replaced += gallery.has_source(person, source)
                gallery.add(person, faces, source, outcome.sha256)
                report.enrolled += 1
                report.faces += len(faces)
                saver.note_change()
            observe(problem)
    finally:
        saver.save()
    return report


def check_people(photos: Iterable[tuple[str, Photo]]) -> None:
    """See that every name is usable.

    Raises:
        UsageError: one is not.
    """
    for person in {person for person, _ in photos}:
        check_name(person)


def _relative(photo: Photo, gallery: Path) -> str:
    if is_url(name := str(photo)):
        return name
    try:
        return Path(os.path.relpath(name, gallery.parent)).as_posix()
    except ValueError:  # another drive
        return Path(name).resolve().as_posix()


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
