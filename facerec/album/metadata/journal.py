"""Files that `album write` has changed: noted before each is written, so a kill loses nothing.

A written photo has another content. The album knows both as the same photo, so it keeps its faces
whichever of the two a scan finds: here, in a copy of before, or after `album undo`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from facerec.album.journal import step
from facerec.album.metadata.patches import Patch, earlier_bytes, is_after, is_before, make_patch
from facerec.album.metadata.photo import Change, write_change
from facerec.album.metadata.sidecars import sidecars
from facerec.album.photos import from_stored, place_photo, places_of, to_stored
from facerec.album.records import Place
from facerec.album.store import Album
from facerec.errors import FacerecError, UsageError
from facerec.files.writing import replacing
from facerec.imaging.photos import unreadable

OUTSIDE = "files"
"""What `Step.undo` says of a step whose files lie in the table `writings`."""


def begin_writing(album: Album, command: str) -> int:
    """A step for files that are about to be written; returns its id."""
    with step(album, command, OUTSIDE) as begun:
        return begun


def write_file(album: Album, begun: int, photo: int, change: Change) -> None:
    """Note a change in a step, then make it.

    Args:
        photo: the photo that it is, or belongs to.

    Raises:
        UsageError: the file cannot be written, another program has changed it, or the step was
            taken back meanwhile; then nothing is noted.
    """
    patch = make_patch(change.before, change.after)
    with album.transaction():
        if album.row("SELECT 1 FROM steps WHERE id = ?", (begun,)) is None:
            raise UsageError(f"{change.path}: not written: the step was undone meanwhile")
        mtime = _time_of(change)
        noted = album.execute(
            "INSERT INTO writings (step, path, photo, before, after, start, length, old, mtime_ns,"
            " copies) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                begun, to_stored(str(change.path)), photo, patch.before, patch.after, patch.start,
                patch.length, patch.old, mtime, json.dumps(patch.copies) if patch.copies else None,
            ),
        ).lastrowid  # fmt: skip
        if change.embedded:
            album.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (patch.after, photo))
    try:
        write_change(change)
    except FacerecError:
        album.execute("DELETE FROM writings WHERE id = ?", (noted,))
        raise
    if change.embedded:
        _place_again(album, photo, change.path)


def _time_of(change: Change) -> int | None:
    """When the file was last changed; None: it is not there yet.

    Raises:
        UsageError: it is not what it was when the change was planned.
    """
    mtime, now = None, None
    try:
        mtime = change.path.stat().st_mtime_ns
        now = change.path.read_bytes()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{change.path}: cannot be read: {error.strerror or error}") from error
    if now != change.before:
        raise UsageError(f"{change.path}: stays as it is: another program has just changed it")
    return mtime


def take_back(
    album: Album, begun: int, advance: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Give the files of a step their earlier bytes and times, the last one first.

    What is given back is no longer noted, nor what has other bytes now, which stay. A file that is
    not there, or cannot be written at the moment, stays noted, for another try.

    Yields:
        of each file that did not get its earlier bytes: what is wrong; it stays as it is.
    """
    noted: dict[int, str | bytes] = dict(
        album.rows("SELECT id, path FROM writings WHERE step = ? ORDER BY id", (begun,))
    )
    paths = {from_stored(path) for path in noted.values()}
    for one in reversed(noted):
        # One at a time: each holds earlier bytes of a file.
        row = album.row(
            "SELECT path, photo, before, after, start, length, old, mtime_ns, copies FROM writings"
            " WHERE id = ?",
            (one,),
        )
        assert row is not None, "a step is taken back in one transaction"
        path, photo, before, after, start, length, old, mtime, copies = row
        parts = tuple((at, source, size) for at, source, size in json.loads(copies or "[]"))
        patch = Patch(before, after, start, length, old, parts)
        try:
            found = _find(album, photo, Path(from_stored(path)), patch, paths)
            _restore(found, patch, mtime)
            _place_again(album, photo, found)
        except _Changed as error:
            yield str(error)
        except (OSError, FacerecError) as error:
            yield _reason(Path(from_stored(path)), error)
            advance()
            continue
        album.execute("DELETE FROM writings WHERE id = ?", (one,))
        advance()


def files_of(album: Album, begun: int) -> int:
    """How many files a step has written that were not given back."""
    found = album.row("SELECT count(*) FROM writings WHERE step = ?", (begun,))
    assert found is not None, "a count is a row"
    return int(found[0])


class _Changed(FacerecError):
    """A file has neither the bytes that it was given nor those of before."""


def _find(album: Album, photo: int, path: Path, patch: Patch, noted: set[str]) -> Path:
    """Where the file lies now: where it was written, or with its photo, which a scan has followed.

    Args:
        noted: paths of all files of the step; none of them stands for another.

    Raises:
        InputError: it is not there.
        OSError: a file cannot be read.
    """
    if path.exists() and (is_before(patch, data := path.read_bytes()) or is_after(patch, data)):
        return path
    places = [place for one in places_of(album, photo) if (place := Path(one)).is_file()]
    for place in places:
        for other in (place, *sidecars(place)):
            if str(other) not in noted and is_after(patch, other.read_bytes()):
                return other
    if path.exists():
        return path
    # A new sidecar that is gone is taken back, but for one that has gone with its photo.
    if patch.before is None and any(place.parent == path.parent for place in places):
        return path
    raise unreadable(path, "is not there; if it was moved: facerec album scan")


def _restore(path: Path, patch: Patch, mtime: int | None) -> None:
    """Give a file its earlier bytes and time.

    Raises:
        _Changed: the file was changed since.
        OSError, UsageError: it cannot be written.
    """
    data = path.read_bytes() if path.exists() else None
    if is_before(patch, data):
        return  # a kill came before it was written, or while it was taken back
    earlier = None if data is None else earlier_bytes(patch, data)
    if earlier is None:
        raise _Changed(f"{path}: stays as it is: it was changed since")
    if patch.before is None:
        path.unlink()
        return
    with replacing(path) as temporary:
        temporary.write_bytes(earlier)
    if mtime is not None:
        os.utime(path, ns=(path.stat().st_atime_ns, mtime))


def _reason(path: Path, error: OSError | FacerecError) -> str:
    if isinstance(error, OSError):
        return f"{path}: stays as it is: {error.strerror or error}"
    return str(error)


def _place_again(album: Album, photo: int, path: Path) -> None:
    """Note the size and time of a photo's file anew, so that a scan need not read it."""
    if album.row("SELECT 1 FROM places WHERE path = ?", (to_stored(str(path)),)) is not None:
        facts = path.stat()
        place_photo(album, photo, Place(str(path), facts.st_size, facts.st_mtime_ns))
