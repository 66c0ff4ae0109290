"""Enrolment: photos are embedded, by one rank or several, and added to a gallery."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facerec.engine.engine import Engine
from facerec.errors import FacerecError
from facerec.gallery.addresses import Saver, backend_of, changing, local_path, open_gallery
from facerec.gallery.base import GalleryStore, Where
from facerec.gallery.outcomes import (
    Chunks,
    Held,
    Outcome,
    Seen,
    describe_settings,
    embed_photos,
    is_refused,
)
from facerec.gallery.people import check_name
from facerec.imaging.names import is_url
from facerec.imaging.photos import Photo
from facerec.profile.loading import Profile

Observer = Callable[[str], None]
"""Callback after each photo, with a problem or ""."""


@dataclass
class Enrolment:
    """The photos of a run, by outcome.

    Attributes:
        enrolled: photos that were added.
        replaced: those of them that replaced an earlier version of the photo.
        skipped: photos that were enrolled already.
        faces: faces that were added.
        no_face: photos without a face.
        several_faces: photos refused because they show several.
        failed: unreadable photos, with the error.
    """

    enrolled: int = 0
    replaced: int = 0
    skipped: int = 0
    faces: int = 0
    no_face: list[str] = field(default_factory=list)
    several_faces: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that enrol together.

    Attributes:
        rank: this one's; rank 0 alone writes the gallery.
        world_size: how many there are.
        barrier: returns when all ranks have called it.
    """

    rank: int = 0
    world_size: int = 1
    barrier: Callable[[], None] = lambda: None


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
    ranks: Ranks = Ranks(),
) -> Enrolment | None:
    """Embed photos and add them to a gallery, which is created if there is none.

    The gallery is the same to the byte for any number of ranks, also after a crash and a restart.

    Args:
        photos: person and photo each; the same on all ranks.
        aligned: the photos are aligned faces.
        meta: metadata of the faces added.
        seen: callback for each photo that this rank embeds.
        observe: callback for each photo, in order, on rank 0.
        ranks: the processes that do this together.

    Returns:
        the photos by outcome; None on ranks other than 0.

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
    chunks = Chunks(_chunks_folder(address), photos, settings)

    def embed_share(held: Held) -> None:
        missing = chunks.missing(held)
        # Every rank must list the missing chunks before any of them writes one.
        ranks.barrier()
        own = missing[ranks.rank :: ranks.world_size]
        chunks.write(own, embed(chunks.photos(own), held))
        ranks.barrier()

    if ranks.rank:
        ranks.barrier()
        embed_share(_held(address))
        return None
    backend = backend_of(address)
    new = not backend.exists(address)
    with changing(address, create=engine.card) as gallery:
        if ranks.world_size == 1:
            saver = Saver(gallery, changed=new)
            outcomes = embed(photos, gallery.holds)
        else:
            # Opened before the other ranks try to: Milvus Lite serves the first process alone.
            ranks.barrier()
            embed_share(gallery.holds)
            left = chunks.missing(gallery.holds)
            chunks.write(left, embed(chunks.photos(left), gallery.holds))
            # Committed once, at the end: after a crash all chunks are enrolled again.
            saver = Saver(gallery, changed=False, share=0)
            outcomes = chunks.outcomes()
        report = _enrol(gallery, address, photos, outcomes, profile, meta, observe, saver)
        if new:
            backend.tidy(gallery)
    chunks.remove()
    return report


def _held(address: str) -> Held:
    """What a rank other than 0 knows to be enrolled; rank 0 skips what it embeds in vain."""
    try:
        return open_gallery(address).holds
    except FacerecError:
        return lambda *_: False


def _chunks_folder(address: str) -> Path:
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
    """Add photos to a gallery and commit them, at the latest when the loop ends or fails.

    A photo already enrolled for its person, by content, is skipped; new content under the same
    name replaces the entries of the old.
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
