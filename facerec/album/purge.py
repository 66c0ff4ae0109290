"""Purging: what was deleted leaves the file of an album and its write-ahead log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facerec.errors import UsageError

if TYPE_CHECKING:
    from facerec.album.store import Album

_PATIENCE = 5000
"""Milliseconds to wait for other processes."""


def purge(album: Album) -> bool:
    """Write the file anew without what was deleted, and empty its write-ahead log.

    What is deleted is overwritten at once (`secure_delete`), but older pages may lie in the log.

    Returns:
        False if another process uses the file; `meta` then still says that it must be done.
    """
    album.execute(f"PRAGMA busy_timeout = {_PATIENCE}").fetchall()
    try:
        if not _empty_log(album):
            return False
        album.execute("VACUUM")
        if not _empty_log(album):
            return False
        album.set_meta("purge", None)
    except UsageError:
        return False
    finally:
        album.execute(f"PRAGMA busy_timeout = {round(album.patience * 1000)}").fetchall()
    return True


def _empty_log(album: Album) -> bool:
    """Whether all commits are in the file itself, and the log has no bytes."""
    busy = album.row("PRAGMA wal_checkpoint(TRUNCATE)")
    return busy is not None and busy[0] == 0
