"""Scanning: all faces of all photos, once for each content.

A photo is known by its content wherever it lies. What is new is committed in whole batches, so a
killed scan goes on where it stopped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from facerec.album.chips import cut_chips
from facerec.album.edited import (
    carry_erased,
    change_content,
    copy_decisions,
    lies_elsewhere,
    photo_before,
    same_faces,
)
from facerec.album.faces import add_faces
from facerec.album.listing import place_of
from facerec.album.moved import move_photo
from facerec.album.photos import add_photo, find_photo, known_contents, lies_whole, place_photo
from facerec.album.records import NewFace, Place
from facerec.album.store import Album
from facerec.card import ModelCard
from facerec.errors import IncompatibleError, InputError
from facerec.faces import Frame
from facerec.imaging.photos import Photo, read_bytes
from facerec.imaging.reader import decode_frame
from facerec.imaging.taken import taken_at
from facerec.parallel.ahead import map_ahead
from facerec.profile.loading import Profile

if TYPE_CHECKING:
    # A scan that finds nothing new does not wait for PyTorch.
    from facerec.engine.engine import Engine

_BATCH = 32
"""Photos that are committed together."""
_SECONDS = 5.0
"""Results are committed at least this often."""

Observer = Callable[[str], None]
"""Callback after each photo, with a problem or ""."""


@dataclass
class Scan:
    """The photos of a scan, by outcome.

    Attributes:
        photos: how many there are.
        new: contents that the album had not.
        known: photos whose content it had.
        changed: photos whose bytes changed, and whose faces did not.
        moved: those of them that lie elsewhere now.
        gone: places where photos no longer lie.
        faces: faces that were added.
        no_face: new photos without a face.
        failed: unreadable photos, with the error.
    """

    photos: int = 0
    new: int = 0
    changed: int = 0
    known: int = 0
    moved: int = 0
    gone: int = 0
    faces: int = 0
    no_face: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def completed(self, listed: Sequence[Photo], unknown: Sequence[Photo], gone: int) -> Scan:
        """This report on what was read, with what was not: the photos of `unknown_photos` were."""
        known = self.known + len(listed) - len(unknown)
        return replace(self, photos=len(listed), known=known, gone=gone)


def merge_scans(reports: Sequence[Scan]) -> Scan:
    """The report of several processes that have read a share of the photos each."""
    failed = {name: error for report in reports for name, error in report.failed.items()}
    counts = [one.name for one in fields(Scan) if one.name != "failed"]
    sums = {name: sum(getattr(report, name) for report in reports) for name in counts}
    return Scan(failed=failed, **sums)


def require_model(album: Album, card: ModelCard) -> None:
    """Set the model of a new album, and the model's present thresholds; refuse another one's.

    Raises:
        IncompatibleError: the album's vectors are another model's.
    """
    with album.transaction():
        known = album.meta("card")
        if known is None:
            album.set_meta("card", card.to_json())
            album.set_meta("model", card.fingerprint())
            return
    model = ModelCard.from_json(known, album.path)
    if model.fingerprint() != card.fingerprint():
        raise IncompatibleError(
            f"{album.path}: its vectors are {model.name}'s, the profile's model is {card.name}; "
            "facerec album migrate moves it there; or give the album's (--set model.name=…)"
        )
    if card.calibration not in (None, model.calibration):
        with album.transaction():
            newer = model.model_copy(update={"calibration": card.calibration})
            album.set_meta("card", newer.to_json())


def _note_points(album: Album, points: str) -> None:
    """Record by whose points faces that are about to be added are aligned, for galleries that are
    made of them; see `facerec.gallery.points`."""
    from facerec.album.export import album_card
    from facerec.gallery.points import with_points

    with album.transaction():
        card, faces = album_card(album), album.row("SELECT 1 FROM faces LIMIT 1")
        noted = with_points(card, [points], others=faces is not None)
        if noted.points != card.points:
            album.set_meta("card", noted.to_json())


def scan_photos(
    album: Album,
    photos: Sequence[Photo],
    engine: Engine,
    profile: Profile,
    *,
    observe: Observer = lambda _: None,
) -> Scan:
    """Add photos and all of their faces.

    Args:
        photos: see `facerec.album.listing.unknown_photos`.
        observe: callback for each photo, in order.

    Raises:
        IncompatibleError: the album's vectors are another model's.
        UsageError: the album cannot be written.
    """
    require_model(album, engine.card)
    if photos:
        _note_points(album, engine.points())
    report = Scan()
    pending: list[_Looked] = []
    committed = time.monotonic()
    try:
        for one in _look(album, photos, engine, profile):
            pending.append(one)
            if len(pending) >= _BATCH or time.monotonic() - committed > _SECONDS:
                _commit(album, pending, engine.card.fingerprint(), report)
                pending.clear()
                committed = time.monotonic()
            observe(one.error)
    finally:
        _commit(album, pending, engine.card.fingerprint(), report)
    return report


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """A photo that was looked at, without its pixels: many of these wait for a commit.

    Attributes:
        source: its name.
        content: hash of its bytes; empty if they could not be read.
        error: why it is unreadable, or "".
        size: height and width; None if its content was known, or it is unreadable.
    """

    place: Place
    source: str
    content: str
    error: str
    size: tuple[int, int] | None
    taken: str | None
    faces: tuple[NewFace, ...]


def _look(
    album: Album, photos: Sequence[Photo], engine: Engine, profile: Profile
) -> Iterator[_Looked]:
    contents = known_contents(album)
    waiting: deque[tuple[Place, str | None]] = deque()

    def read(photo: Photo) -> tuple[Frame, Place, str | None]:
        limit, place = profile.runtime.max_pixels, place_of(photo)
        try:
            data = read_bytes(photo, limit)
        except InputError as error:
            return Frame(str(photo), None, "", error), place, None
        frame = decode_frame(
            str(photo), data, limit, lambda _, content: content not in contents, engine.reduction
        )
        return frame, place, None if frame.image is None else taken_at(data)

    def frames() -> Iterator[Frame]:
        for frame, place, taken in map_ahead(photos, read, workers=profile.runtime.workers):
            waiting.append((place, taken))
            yield frame

    for frame, faces in engine.in_whole_batches().faces(frames(), expected=len(photos)):
        place, taken = waiting.popleft()
        size = None if frame.image is None else frame.size
        if size is not None:
            contents.add(frame.sha256)
        error = "" if frame.error is None else str(frame.error)
        found = tuple(map(NewFace, faces, cut_chips(frame, faces)))
        yield _Looked(place, frame.source, frame.sha256, error, size, taken, found)


def _commit(album: Album, batch: Sequence[_Looked], model: str, report: Scan) -> None:
    with album.transaction():
        for one in batch:
            _add(album, one, model, report)


def _add(album: Album, one: _Looked, model: str, report: Scan) -> None:
    report.photos += 1
    if one.error:
        report.failed[one.source] = one.error
        # What was whole before may be half written; its faces stay until it is whole again.
        if one.content and not lies_whole(album, one.place.path):
            photo = add_photo(album, one.content, 0, 0, None, one.error)
            place_photo(album, photo, one.place)
        return
    known = find_photo(album, one.content)
    if known is not None:
        report.known += 1
        report.moved += move_photo(album, known, one.place)
        return
    assert one.size is not None, "a photo that is not known was decoded"
    before = photo_before(album, one.place.path, one.size)
    same: dict[int, int] = {}
    if before is not None:
        carry_erased(album, before, one.content)
        same = same_faces(album, before, one.faces)
        if same and not lies_elsewhere(album, before, one.place.path):
            missing = [face for number, face in enumerate(one.faces) if number not in same]
            change_content(album, before, one.content, one.taken)
            report.faces += _count(add_faces(album, before, one.content, missing, model))
            report.changed += 1
            place_photo(album, before, one.place)
            return
    height, width = one.size
    photo = add_photo(album, one.content, width, height, one.taken, None)
    added = add_faces(album, photo, one.content, one.faces, model)
    rows = [(face, same.get(number)) for number, face in enumerate(added)]
    copy_decisions(album, {new: old for new, old in rows if new is not None and old is not None})
    place_photo(album, photo, one.place)
    report.new += 1
    report.faces += _count(added)
    report.no_face += not one.faces


def _count(faces: Sequence[int | None]) -> int:
    return sum(face is not None for face in faces)
