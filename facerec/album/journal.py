"""The undo journal: every change by a user is one step, which `undo_step` takes back.

While a step is open, triggers of this connection note what each changed row of `faces`, `people`
and `decisions` was before, so nothing that changes them can be missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from facerec.album.records import Step
from facerec.album.store import Album

_COLUMNS = {
    "faces": ("person", "state"),
    "people": ("name", "merged"),
    "decisions": ("kind", "face", "person", "other"),
}
"""What a step may change; rows of faces are neither added nor removed by one."""


@contextmanager
def step(album: Album, command: str, undo: str | None = None) -> Iterator[int]:
    """All changes of the block are one step, and one transaction; without any there is no step.

    Args:
        command: what is done, in words: `merge person-0007 into Anna`.
        undo: JSON of what undoing it needs outside of the album.

    Yields:
        the step's id.
    """
    with album.transaction():
        added = album.execute(
            "INSERT INTO steps (time, command, undo) VALUES (?, ?, ?)",
            (datetime.now(timezone.utc).isoformat(timespec="seconds"), command, undo),
        ).lastrowid
        assert added is not None, "a row was inserted"
        _watch(album, added)
        try:
            yield added
        finally:
            _unwatch(album)
        changed = album.row("SELECT 1 FROM changes WHERE step = ?", (added,))
        if changed is None and undo is None:
            album.execute("DELETE FROM steps WHERE id = ?", (added,))


def last_step(album: Album) -> Step | None:
    """The step that `undo_step` would take back; None: there is none."""
    found = album.row("SELECT id, time, command, undo FROM steps ORDER BY id DESC LIMIT 1")
    return None if found is None else Step(*found)


def undo_step(album: Album) -> Step | None:
    """Take back the last step inside the album, and forget it; returns it, None: there was none.

    What `Step.undo` says about things outside of the album is the caller's to do, before.
    """
    with album.transaction():
        last = last_step(album)
        if last is None:
            return None
        album.execute("PRAGMA defer_foreign_keys = ON")
        changes = list(
            album.rows(
                "SELECT place, row, before FROM changes WHERE step = ? ORDER BY id DESC", (last.id,)
            )
        )
        for place, row, before in changes:
            _restore(album, place, row, None if before is None else json.loads(before))
        album.execute("DELETE FROM changes WHERE step = ?", (last.id,))
        album.execute("DELETE FROM steps WHERE id = ?", (last.id,))
    return last


def purge_steps(album: Album) -> None:
    """Forget all steps: what they noted can no longer be undone, nor read."""
    with album.transaction():
        album.execute("DELETE FROM changes")
        album.execute("DELETE FROM steps")


def _restore(album: Album, place: str, row: int, before: dict[str, object] | None) -> None:
    columns = _COLUMNS[place]
    if before is None:
        if place == "people":
            # A scan is no step, and may have copied decisions to another copy of a photo.
            album.execute(
                "UPDATE faces SET person = NULL, state = 'grouped' WHERE person = ?", (row,)
            )
            album.execute("DELETE FROM decisions WHERE ? IN (person, other)", (row,))
        album.execute(f"DELETE FROM {place} WHERE id = ?", (row,))
        return
    values = [before[column] for column in columns]
    changed = album.execute(
        f"UPDATE {place} SET {', '.join(f'{column} = ?' for column in columns)} WHERE id = ?",
        (*values, row),
    ).rowcount
    if not changed and place != "faces":
        marks = ", ".join("?" * (len(columns) + 1))
        album.execute(
            f"INSERT INTO {place} (id, {', '.join(columns)}) VALUES ({marks})", (row, *values)
        )


def _watch(album: Album, step: int) -> None:
    for place, columns in _COLUMNS.items():
        pairs = ", ".join(f"'{column}', OLD.{column}" for column in columns)
        differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        events = {
            f"UPDATE ON {place} WHEN {differs}": f"OLD.id, json_object({pairs})",
            f"DELETE ON {place}": f"OLD.id, json_object({pairs})",
            f"INSERT ON {place}": "NEW.id, NULL",
        }
        for event, noted in events.items():
            album.execute(
                f"CREATE TEMP TRIGGER {_trigger(place, event)} AFTER {event} BEGIN"
                " INSERT INTO changes (step, place, row, before)"
                f" VALUES ({step}, '{place}', {noted}); END"
            )


def _unwatch(album: Album) -> None:
    for place in _COLUMNS:
        for event in ("UPDATE", "DELETE", "INSERT"):
            album.execute(f"DROP TRIGGER IF EXISTS temp.{_trigger(place, event)}")


def _trigger(place: str, event: str) -> str:
    return f"{place}_{event.partition(' ')[0].lower()}"
