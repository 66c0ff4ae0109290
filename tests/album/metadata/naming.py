"""Albums of drawn faces with names that a user gave."""

from __future__ import annotations

from pathlib import Path

from facerec.album.journal import last_step, step, undo_step
from facerec.album.metadata.journal import files_of, take_back
from facerec.album.people import add_person, find_name
from facerec.album.store import Album


def name_face(album: Album, face: int, name: str) -> None:
    """As a user who confirms a face."""
    with step(album, f"confirm face {face}"):
        known = find_name(album, name)
        person = add_person(album, name) if known is None else known
        album.execute("DELETE FROM decisions WHERE kind = 'is' AND face = ?", (face,))
        album.execute(
            "INSERT INTO decisions (kind, face, person) VALUES ('is', ?, ?)", (face, person)
        )
        album.execute(
            "UPDATE faces SET person = ?, state = 'confirmed' WHERE id = ?", (person, face)
        )


def undo(album: Album) -> list[str]:
    """As `facerec album undo`; what it says of files."""
    last = last_step(album)
    assert last is not None
    problems = list(take_back(album, last.id))
    if not files_of(album, last.id):
        undo_step(album)
    return problems


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
