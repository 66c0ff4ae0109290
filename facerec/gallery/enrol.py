"""Enrolling photos in a gallery, saving as it goes, by one process or several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facerec.engine.engine import Engine
from facerec.errors import FacerecError
from facerec.gallery.addresses import backend_of, changing, local_path, open_gallery
from facerec.gallery.base import GalleryStore, Where
from facerec.gallery.files.saving import Saver
from facerec.gallery.outcomes import Held, Outcome, Seen, embed_photos, is_refused
from facerec.gallery.parts import Parts, describe_settings
from facerec.gallery.people import check_name
from facerec.imaging.names import is_url
from facerec.imaging.photos import Photo
from facerec.profile.loading import Profile

Observer = Callable[[str], None]
"""Told after each photo, with a problem or ""."""


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


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that enrol together.

    Attributes:
        rank: this one's number; number 0 alone writes the gallery.
        size: how many there are.
        wait: returns when all of them are there.
    """

    rank: int = 0
    size: int = 1
    wait: Callable[[], None] = lambda: None


def enrol_photos(
    address: str | Path,
    photos: Sequence[tuple[str, Photo]],
    engine: Engine,
    profile: Profile,
    *,
    aligned: bool = False,
    meta: Where | None = None,
    seen: Seen = lambda *_: None,
    observe: Observer = lambda _: None,
    team: Team = Team(),
) -> Enrolment | None:
    """Embed photos and add them to the gallery at an address, which is made where there is none.

    The gallery comes out the same to the byte whatever the number of processes, and whenever one
    of them died and all were started again.

    Args:
        photos: person and photo each; the same in all processes.
        aligned: the photos are aligned faces.
        meta: metadata of the faces added.
        seen: told of each photo that this process embeds.
        observe: told of each photo, in order, in the process that writes the gallery.
        team: the processes that do this together.

    Returns:
        what became of the photos; None in a process that does not write the gallery.

    Raises:
        UsageError: a name is unusable, or the gallery cannot be written.
        IncompatibleError: the gallery was built with another model.
        MissingError: the gallery is damaged.
    """
    address = str(address)
    for person in {person for person, _ in photos}:
        check_name(person)

    def embed(chosen: Sequence[tuple[str, Photo]], held: Held) -> Iterator[Outcome]:
        return embed_photos(chosen, engine, profile, aligned=aligned, held=held, seen=seen)

    settings = describe_settings(engine.card, profile, aligned=aligned)
    parts = Parts(_parts_folder(address), photos, settings)

    def embed_share(held: Held) -> None:
        missing = parts.missing(held)
        # All must have looked before one begins: each takes its share of the same runs.
        team.wait()
        own = missing[team.rank :: team.size]
        parts.write(own, embed(parts.photos(own), held))
        team.wait()

    if team.rank:
        team.wait()
        embed_share(_held(address))
        return None
    backend = backend_of(address)
    new = not backend.exists(address)
    with changing(address, create=engine.card) as gallery:
        if team.size == 1:
            saver = Saver(gallery, changed=new)
            outcomes = embed(photos, gallery.holds)
        else:
            # Before the others look into it: Milvus Lite is its first opener's alone.
            team.wait()
            embed_share(gallery.holds)
            left = parts.missing(gallery.holds)
            parts.write(left, embed(parts.photos(left), gallery.holds))
            # Once, at the end: after a death all is merged again from the beginning.
            saver = Saver(gallery, changed=False, share=0)
            outcomes = parts.outcomes()
        report = _enrol(gallery, address, photos, outcomes, profile, meta, observe, saver)
        if new:
            backend.tidy(gallery)
    parts.remove()
    return report


def _held(address: str) -> Held:
    """What is enrolled, as far as a process that does not write the gallery can see it; what it
    embeds for nothing is left out in the end."""
    try:
        return open_gallery(address).holds
    except FacerecError:
        return lambda *_: False


def _parts_folder(address: str) -> Path:
    path = local_path(address) or Path(address.rpartition("/")[2])
    return path.with_name(f".{path.name}.parts")


def _enrol(
    gallery: GalleryStore,
    address: str,
    photos: Sequence[tuple[str, Photo]],
    outcomes: Iterable[Outcome],
    profile: Profile,
    meta: Where | None,
    observe: Observer,
    saver: Saver,
) -> Enrolment:
    """Add photos to a gallery, and commit them at the latest in the end, however it ends.

    A photo already enrolled for its person, by content, is skipped; one of the same name with
    other content replaces what it gave before.
    """
    folder = path.parent if (path := local_path(address)) else None
    report = Enrolment()
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
                source = _relative(name, folder)
                report.replaced += gallery.has_source(person, source)
                gallery.add(person, faces, source, outcome.sha256, meta)
                report.enrolled += 1
                report.faces += len(faces)
                saver.note_change()
            observe(problem)
    finally:
        saver.save()
    return report


def _relative(photo: str, folder: Path | None) -> str:
    if is_url(photo):
        return photo
    try:
        relative = photo if folder is None else os.path.relpath(photo, folder)
    except ValueError:  # another drive
        relative = str(Path(photo).resolve())
    return Path(relative).as_posix()
