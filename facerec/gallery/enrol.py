"""Enrolment: photos are embedded, by one rank or several, and added to a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facerec.engine.engine import Engine
from facerec.errors import FacerecError, UsageError
from facerec.gallery.addresses import Saver, backend_of, changing, local_path, open_gallery
from facerec.gallery.base import GalleryStore, Where
from facerec.gallery.outcomes import (
    Chunks,
    Held,
    Outcome,
    Seen,
    Verdict,
    describe_settings,
    embed_photos,
    judge,
)
from facerec.gallery.people import check_new_name
from facerec.gallery.points import record_points
from facerec.gallery.remarks import (
    Remark,
    remark_on_loose,
    remark_on_mixtures,
    remark_on_names,
    remark_on_others,
)
from facerec.gallery.sync import compare, relative_source
from facerec.imaging.photos import FailedPhoto, Photo, unreadable
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
        qualities: of those faces.
        low_quality: quality of the faces below `gallery.min_quality`, by photo.
        no_face: photos without a face.
        several_faces: photos refused because they show several.
        failed: unreadable photos, with the error.
        removed: enrolled photos that were removed, as they are no longer there.
        remarks: what is probably not as it was meant.
        people: those who got a face.
        content: the hashes of all photos that were read.
    """

    enrolled: int = 0
    replaced: int = 0
    skipped: int = 0
    faces: int = 0
    qualities: list[float] = field(default_factory=list)
    low_quality: dict[str, tuple[float, ...]] = field(default_factory=dict)
    no_face: list[str] = field(default_factory=list)
    several_faces: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    removed: int = 0
    remarks: list[Remark] = field(default_factory=list)
    people: dict[str, None] = field(default_factory=dict)
    content: set[str] = field(default_factory=set)

    def note(self, photo: str, verdict: Verdict) -> None:
        """Take down a photo of which nothing is enrolled, or not all."""
        if verdict.poor:
            self.low_quality[photo] = verdict.poor
        elif verdict.reason == "no_face":
            self.no_face.append(photo)
        elif verdict.reason == "several_faces":
            self.several_faces.append(photo)


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
    sync: bool = False,
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
        sync: remove what photos gave that are no longer there, see `facerec.gallery.sync`.

    Returns:
        the photos by outcome; None on ranks other than 0.

    Raises:
        UsageError: no name is usable, or the gallery cannot be written.
        IncompatibleError: the gallery was built with another model.
        MissingError: the gallery is damaged.
    """
    address = str(address)
    photos = _with_usable_names(photos)

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
        removed = _remove_stale(gallery, address, photos) if sync else 0
        if ranks.world_size == 1:
            saver = Saver(gallery, changed=new or removed > 0)
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
        points = engine.points(aligned=aligned)
        report = _enrol(
            gallery, address, photos, outcomes, profile, points, meta, observe, saver, sync
        )
        report.removed = removed
        _remark(report, gallery, address, photos, profile)
        if new:
            backend.tidy(gallery)
    chunks.remove()
    return report


def _with_usable_names(photos: Sequence[tuple[str, Photo]]) -> list[tuple[str, Photo]]:
    """The photos; those of people whose name is unusable fail on `read`, if they did not before.

    Raises:
        UsageError: no name is usable.
    """
    wrong: dict[str, UsageError] = {}
    people = _people_of(photos)
    for person in people:
        try:
            check_new_name(person)
        except UsageError as error:
            wrong[person] = error
    if wrong and len(wrong) == len(people):
        raise next(iter(wrong.values()))
    return [
        (person, photo)
        if person not in wrong or isinstance(photo, FailedPhoto)
        else (person, FailedPhoto(str(photo), unreadable(str(photo), str(wrong[person]))))
        for person, photo in photos
    ]


def _people_of(photos: Sequence[tuple[str, Photo]]) -> dict[str, None]:
    """Whose photos there are, in order; what cannot be read, such as an archive's rest, is
    nobody's."""
    return dict.fromkeys(person for person, photo in photos if not isinstance(photo, FailedPhoto))


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
    points: str,
    meta: Where | None,
    observe: Observer,
    saver: Saver,
    sync: bool,
) -> Enrolment:
    """Add photos to a gallery and commit them, at the latest when the loop ends or fails.

    A photo already enrolled for its person, by content, is skipped; new content under the same
    name replaces the entries of the old.
    """
    folder = gallery_folder(address)
    report = Enrolment()
    try:
        for (person, photo), outcome in zip(photos, outcomes, strict=True):
            name, verdict = str(photo), judge(outcome.faces, profile)
            faces = verdict.kept
            source = relative_source(name, folder)
            problem = outcome.error
            report.content.add(outcome.sha256)
            if problem:
                report.failed[name] = problem
            elif not outcome.looked or gallery.holds(person, outcome.sha256):
                report.skipped += 1
            elif verdict.reason:
                report.note(name, verdict)
                problem = f"{name}: {verdict.told}"
                if sync and gallery.has_source(person, source):
                    gallery.remove_source(person, source)
                    saver.note_change()
            else:
                report.replaced += gallery.has_source(person, source)
                record_points(gallery, [points])
                gallery.add(person, faces, source, outcome.sha256, meta)
                report.enrolled += 1
                report.faces += len(faces)
                report.qualities += [face.quality for face in faces if face.quality is not None]
                report.people[person] = None
                report.note(name, verdict)
                if faces[0].among > len(outcome.faces):
                    report.remarks.append(remark_on_others(name, faces[0].among))
                saver.note_change()
            observe(problem)
    finally:
        saver.save()
    return report


def gallery_folder(address: str) -> Path | None:
    """The folder that a gallery's sources are relative to; None for one on a server."""
    path = local_path(address)
    return path.parent if path else None


def _remove_stale(gallery: GalleryStore, address: str, photos: Sequence[tuple[str, Photo]]) -> int:
    """Remove what photos gave that are no longer there; returns how many photos."""
    stale = compare(gallery, photos, (), gallery_folder(address)).stale
    for one in stale:
        gallery.remove_source(one.person, one.source)
    return len(stale)


def _remark(
    report: Enrolment,
    gallery: GalleryStore,
    address: str,
    photos: Sequence[tuple[str, Photo]],
    profile: Profile,
) -> None:
    """Add what an enrolment should tell besides its outcomes."""
    placed = [
        (photo.tree, str(photo).removeprefix(f"{photo.tree}/"), person)
        for person, photo in photos
        if photo.tree
    ]
    report.remarks += remark_on_loose(placed)
    report.remarks += remark_on_mixtures(gallery, report.people)
    unknown = profile.recognize.unknown
    everyone = _people_of(photos)
    report.remarks += remark_on_names(gallery.counts(), everyone, unknown, address)
    found = compare(gallery, photos, report.content - {""}, gallery_folder(address))
    report.remarks += found.remarks("the same command with --sync")
