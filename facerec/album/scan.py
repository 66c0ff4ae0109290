"""Scanning: all faces of all photos, once for each content.

A photo is known by its path, size and time without being read, and by its content wherever it
lies. What is new is committed in whole batches, so a killed scan goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
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
from facerec.album.photos import (
    add_photo,
    find_photo,
    known_contents,
    lies_whole,
    place_photo,
    places_of,
    read_places,
    remove_places,
)
from facerec.album.records import NewFace, Place
from facerec.album.store import Album
from facerec.card import ModelCard
from facerec.errors import IncompatibleError, InputError
from facerec.faces import Face, Frame
from facerec.imaging.names import is_archive, is_url
from facerec.imaging.photos import Photo, is_file, read_bytes
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


def place_of(photo: Photo) -> Place:
    """Where a photo lies."""
    path = _absolute(str(photo))
    size, _, mtime_ns = photo.version.partition(" ")
    return Place(path, int(size) if size else None, int(mtime_ns) if mtime_ns else None)


def _absolute(name: str) -> str:
    # Not `resolve`: a linked folder keeps the name that the user gave.
    return name if is_url(name) else os.path.normpath(Path(name).absolute())


def unknown_photos(album: Album, photos: Sequence[Photo]) -> list[Photo]:
    """The photos that must be read: new, changed, or once undecodable; each place once."""
    failed = {photo for (photo,) in album.rows("SELECT id FROM photos WHERE error IS NOT NULL")}
    known = {place: photo not in failed for place, photo in read_places(album)}
    listed = {(place := place_of(photo)).path: (place, photo) for photo in reversed(photos)}
    return [
        photo
        for place, photo in reversed(listed.values())
        if place.size is None or not known.get(place, False)
    ]


def remove_gone(album: Album, photos: Sequence[Photo]) -> int:
    """Remove places below the folders and archives that were listed, in which no photo lies now.

    A folder that gave no photo, as a disk that is not there, loses none, and neither does what
    lies below a folder that cannot be listed.

    Args:
        photos: all that were listed.

    Returns:
        how many.
    """
    listed = {place_of(photo).path for photo in photos}
    trees = {_absolute(photo.tree) for photo in photos if photo.tree}
    gone = [
        place.path
        for place, _ in read_places(album)
        if place.path not in listed
        and not trees.isdisjoint(above := _parents(place.path))
        and listed.isdisjoint(above)
    ]
    with album.transaction():
        remove_places(album, gone)
    return len(gone)


def _parents(path: str) -> list[str]:
    if not is_url(path):
        return list(map(str, Path(path).parents))
    head, _, tail = path.partition("://")
    folders = tail.split("/")[:-1]
    return [f"{head}://{'/'.join(folders[:count])}" for count in range(1, len(folders) + 1)]


def require_model(album: Album, card: ModelCard) -> None:
    """Set the model of a new album; refuse another one's.

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
        photos: see `unknown_photos`.
        observe: callback for each photo, in order.

    Raises:
        IncompatibleError: the album's vectors are another model's.
        UsageError: the album cannot be written.
    """
    require_model(album, engine.card)
    report = Scan()
    pending: list[_Read] = []
    committed = time.monotonic()
    try:
        for read in _read_all(album, photos, engine, profile):
            pending.append(read)
            if len(pending) >= _BATCH or time.monotonic() - committed > _SECONDS:
                _commit(album, pending, engine.card.fingerprint(), report)
                pending.clear()
                committed = time.monotonic()
            observe("" if read.frame.error is None else str(read.frame.error))
    finally:
        _commit(album, pending, engine.card.fingerprint(), report)
    return report


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A photo that was read, and the faces in it."""

    place: Place
    frame: Frame
    taken: str | None
    faces: tuple[NewFace, ...] = ()


def _read_all(
    album: Album, photos: Sequence[Photo], engine: Engine, profile: Profile
) -> Iterator[_Read]:
    contents = known_contents(album)
    waiting: deque[_Read] = deque()

    def read(photo: Photo) -> _Read:
        limit, place = profile.runtime.max_pixels, place_of(photo)
        try:
            data = read_bytes(photo, limit)
        except InputError as error:
            return _Read(place, Frame(str(photo), None, "", error), None)
        frame = decode_frame(
            str(photo), data, limit, lambda _, content: content not in contents, engine.reduction
        )
        return _Read(place, frame, None if frame.image is None else taken_at(data))

    def frames() -> Iterator[Frame]:
        for one in map_ahead(photos, read, workers=profile.runtime.workers):
            waiting.append(one)
            yield one.frame

    for frame, faces in engine.in_whole_batches().faces(frames()):
        one = waiting.popleft()
        if frame.image is not None:
            contents.add(frame.sha256)
        yield _Read(one.place, frame, one.taken, _with_chips(frame, faces))


def _with_chips(frame: Frame, faces: Sequence[Face]) -> tuple[NewFace, ...]:
    return tuple(map(NewFace, faces, cut_chips(frame, faces)))


def _commit(album: Album, batch: Sequence[_Read], model: str, report: Scan) -> None:
    with album.transaction():
        for read in batch:
            _add(album, read, model, report)


def _add(album: Album, read: _Read, model: str, report: Scan) -> None:
    frame = read.frame
    report.photos += 1
    if frame.error is not None:
        report.failed[frame.source] = str(frame.error)
        # What was whole before may be half written; its faces stay until it is whole again.
        if frame.sha256 and not lies_whole(album, read.place.path):
            photo = add_photo(album, frame.sha256, 0, 0, None, str(frame.error))
            place_photo(album, photo, read.place)
        return
    known = find_photo(album, frame.sha256)
    if known is not None:
        report.known += 1
        report.moved += _move(album, known, read.place)
        return
    assert frame.image is not None, "a photo that is not known was decoded"
    before = photo_before(album, read.place.path, frame.size)
    same: dict[int, int] = {}
    if before is not None:
        carry_erased(album, before, frame.sha256)
        same = same_faces(album, before, read.faces)
        if same and not lies_elsewhere(album, before, read.place.path):
            missing = [face for number, face in enumerate(read.faces) if number not in same]
            change_content(album, before, frame.sha256, read.taken)
            report.faces += _count(add_faces(album, before, frame.sha256, missing, model))
            report.changed += 1
            place_photo(album, before, read.place)
            return
    height, width = frame.size
    photo = add_photo(album, frame.sha256, width, height, read.taken, None)
    added = add_faces(album, photo, frame.sha256, read.faces, model)
    copy_decisions(
        album,
        {
            face: same[place]
            for place, face in enumerate(added)
            if face is not None and place in same
        },
    )
    place_photo(album, photo, read.place)
    report.new += 1
    report.faces += _count(added)
    report.no_face += not read.faces


def _count(faces: Sequence[int | None]) -> int:
    return sum(face is not None for face in faces)


def _move(album: Album, photo: int, place: Place) -> bool:
    """Place a known photo; returns whether it lay elsewhere before, and no longer does."""
    gone = [path for path in places_of(album, photo) if path != place.path and not _exists(path)]
    remove_places(album, gone)
    place_photo(album, photo, place)
    return bool(gone)


def _exists(path: str) -> bool:
    """Whether something is there; behind a URL and in an archive only a scan can tell."""
    if is_url(path) or os.path.lexists(path):
        return True
    return any(is_archive(above.name) and is_file(above) for above in Path(path).parents)
