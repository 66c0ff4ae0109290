"""Enrolment: photos are embedded, by one rank or several, and added to a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facerec.card import ModelCard
from facerec.engine.engine import Engine
from facerec.errors import FacerecError, UsageError
from facerec.gallery.addresses import Saver, backend_of, changing, local_path, open_gallery
from facerec.gallery.base import GalleryStore, Where
from facerec.gallery.match import deciding_card
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
from facerec.gallery.places import Places
from facerec.gallery.points import record_points
from facerec.gallery.remarks import (
    Remark,
    remark_on_loose,
    remark_on_mixtures,
    remark_on_names,
    remark_on_others,
)
from facerec.gallery.sync import Enrolled, Stale, compare
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
        removed: enrolled photos that were removed, as they are no longer there or have changed.
        remarks: what is probably not as it was meant.
        people: those who got a face.
        read: the hashes of all photos that were read, by person and name.
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
    read: dict[tuple[str, str], str] = field(default_factory=dict)

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
        points, report = engine.points(aligned=aligned), Enrolment(removed=removed)
        enroller = _Enroller(
            gallery, gallery_folder(address), profile, points, meta, observe, saver, report
        )
        if lost := enroller.run(photos, outcomes):
            enroller.run(lost, embed(lost, gallery.holds))
        card = deciding_card(gallery, engine.card, address)
        _remark(report, gallery, address, photos, profile, card)
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


class _Enroller:
    """Adds photos to a gallery and commits them.

    A photo already enrolled for its person, by content, is skipped. Other content in the place of
    an enrolled photo replaces what that gave, also where no face is found in it or where it is
    enrolled already; a photo that cannot be read leaves it.

    Args:
        points: by whose points faces are aligned.
        report: filled.
    """

    def __init__(
        self,
        gallery: GalleryStore,
        folder: Path | None,
        profile: Profile,
        points: str,
        meta: Where | None,
        observe: Observer,
        saver: Saver,
        report: Enrolment,
    ) -> None:
        self._gallery = gallery
        self._places = Places(folder)
        self._profile = profile
        self._points = points
        self._meta = meta
        self._observe = observe
        self._saver = saver
        self._report = report

    def run(
        self, photos: Sequence[tuple[str, Photo]], outcomes: Iterable[Outcome]
    ) -> list[tuple[str, Photo]]:
        """Add photos, and commit at the latest when the loop ends or fails.

        Returns:
            those that were skipped, but whose content went with what a changed photo gave, as when
            two photos change their names: they are to be embedded anew.
        """
        enrolled = Enrolled(self._gallery, _people_of(photos), self._places)
        skipped = []
        try:
            for (person, photo), outcome in zip(photos, outcomes, strict=True):
                problem, sha256 = outcome.error, outcome.sha256
                if problem:
                    self._report.failed[str(photo)] = problem
                # Not by what is held now: it depends on how far other photos are decoded.
                elif (
                    not outcome.looked
                    or enrolled.holds(person, sha256)
                    or self._gallery.holds(person, sha256)
                ):
                    self._remove_changed(enrolled, person, str(photo), sha256)
                    skipped.append((person, photo, sha256))
                else:
                    problem = self._add(enrolled, person, str(photo), outcome)
                if not outcome.error:
                    self._report.read[person, str(photo)] = sha256
                self._observe(problem)
        finally:
            self._saver.save()
        lost = [
            (person, photo)
            for person, photo, sha256 in skipped
            if not self._gallery.holds(person, sha256)
        ]
        self._report.skipped += len(skipped) - len(lost)
        return lost

    def _add(self, enrolled: Enrolled, person: str, photo: str, outcome: Outcome) -> str:
        """Add the faces of a photo that were looked for; returns why there are none, or ""."""
        report, verdict = self._report, judge(outcome.faces, self._profile)
        report.note(photo, verdict)
        if verdict.reason:
            self._remove_changed(enrolled, person, photo, outcome.sha256)
            return f"{photo}: {verdict.told}"
        source, before = self._places.source(photo), enrolled.at(person, photo)
        replaced = bool(before) or self._gallery.has_source(person, source)
        report.removed += len(enrolled.changed(person, photo, outcome.sha256))
        # Not what `add` replaces in place: the person may have nothing else.
        _remove(self._gallery, [one for one in before if one.source != source])
        enrolled.forget(person, photo)
        record_points(self._gallery, [self._points])
        self._gallery.add(person, verdict.kept, source, outcome.sha256, self._meta)
        self._saver.note_change()
        report.enrolled += 1
        report.replaced += replaced
        report.faces += len(verdict.kept)
        report.qualities += [face.quality for face in verdict.kept if face.quality is not None]
        report.people[person] = None
        if verdict.kept[0].among > len(outcome.faces):
            report.remarks.append(remark_on_others(photo, verdict.kept[0].among))
        return ""

    def _remove_changed(self, enrolled: Enrolled, person: str, photo: str, sha256: str) -> None:
        """Remove what a photo's place gave when it held other content."""
        if changed := enrolled.changed(person, photo, sha256):
            _remove(self._gallery, changed)
            enrolled.forget(person, photo)
            self._report.removed += len(changed)
            self._saver.note_change()


def _remove(gallery: GalleryStore, entries: Iterable[Stale]) -> None:
    for person, source in dict.fromkeys((one.person, one.source) for one in entries):
        gallery.remove_source(person, source)


def gallery_folder(address: str) -> Path | None:
    """The folder that a gallery's sources are relative to; None for one on a server."""
    path = local_path(address)
    return path.parent if path else None


def _remove_stale(gallery: GalleryStore, address: str, photos: Sequence[tuple[str, Photo]]) -> int:
    """Remove what photos gave that are no longer there; returns how many photos."""
    stale = compare(gallery, photos, {}, gallery_folder(address)).stale
    _remove(gallery, stale)
    return len(stale)


def _remark(
    report: Enrolment,
    gallery: GalleryStore,
    address: str,
    photos: Sequence[tuple[str, Photo]],
    profile: Profile,
    card: ModelCard,
) -> None:
    """Add what an enrolment should tell besides its outcomes."""
    placed = [
        (photo.tree, str(photo).removeprefix(f"{photo.tree}/"), person)
        for person, photo in photos
        if photo.tree
    ]
    report.remarks += remark_on_loose(placed)
    report.remarks += remark_on_mixtures(gallery, report.people, card)
    unknown = profile.recognize.unknown
    everyone = _people_of(photos)
    report.remarks += remark_on_names(gallery.counts(), everyone, unknown, address)
    found = compare(gallery, photos, report.read, gallery_folder(address))
    report.remarks += found.remarks("the same command with --sync")
