"""A database as digiKam keeps it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

# The columns that are read, of digiKam's `dbconfig.xml`.
SCHEMA = """
CREATE TABLE AlbumRoots (id INTEGER PRIMARY KEY, label TEXT, status INTEGER NOT NULL,
    type INTEGER NOT NULL, identifier TEXT, specificPath TEXT);
CREATE TABLE Albums (id INTEGER PRIMARY KEY, albumRoot INTEGER NOT NULL,
    relativePath TEXT NOT NULL);
CREATE TABLE Images (id INTEGER PRIMARY KEY, album INTEGER, name TEXT NOT NULL,
    status INTEGER NOT NULL, category INTEGER NOT NULL);
CREATE TABLE Tags (id INTEGER PRIMARY KEY, pid INTEGER, name TEXT NOT NULL);
CREATE TABLE TagProperties (tagid INTEGER, property TEXT, value TEXT);
CREATE TABLE ImageTagProperties (imageid INTEGER, tagid INTEGER, property TEXT, value TEXT);
INSERT INTO Tags VALUES (1, 0, 'People'), (2, 1, 'Änna'), (3, 1, 'Ben'), (4, 1, 'Unknown'),
    (5, 1, 'Unconfirmed'), (6, 1, 'Ignored'), (7, 0, 'no person yet');
INSERT INTO TagProperties VALUES (2, 'person', 'Änna'), (2, 'faceEngineId', 'Änna'),
    (3, 'person', 'Ben'), (4, 'person', ''), (4, 'unknownPerson', ''), (5, 'person', ''),
    (5, 'unconfirmedPerson', ''), (6, 'ignoredPerson', '');
"""


def rectangle(x: int, y: int, width: int, height: int) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}"/>'


def make_database(path: Path, root: str, folder: str, faces: list[tuple[int, str, str]]) -> Path:
    """A database that knows one photo, `photo.jpg`.

    Args:
        root: `AlbumRoots.specificPath`.
        folder: `Albums.relativePath`.
        faces: tag, property and value of each.
    """
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    database.execute("INSERT INTO AlbumRoots VALUES (1, 'P', 0, 1, 'volumeid:?uuid=x', ?)", (root,))
    database.execute("INSERT INTO Albums VALUES (1, 1, ?)", (folder,))
    database.execute("INSERT INTO Images VALUES (1, 1, 'photo.jpg', 1, 1)")
    database.executemany("INSERT INTO ImageTagProperties VALUES (1, ?, ?, ?)", faces)
    database.commit()
    database.close()
    return path


def note_size(path: Path, width: int, height: int, orientation: int) -> None:
    """What later databases say of the photo: its size before it is turned."""
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE ImageInformation (imageid INTEGER PRIMARY KEY, rating INTEGER,"
        " creationDate DATETIME, digitizationDate DATETIME, orientation INTEGER, width INTEGER,"
        " height INTEGER, format TEXT, colorDepth INTEGER, colorModel INTEGER)"
    )
    facts = (orientation, width, height)
    database.execute(
        "INSERT INTO ImageInformation (imageid, orientation, width, height) VALUES (1, ?, ?, ?)",
        facts,
    )
    database.commit()
    database.close()


ANNA = [(2, "tagRegion", rectangle(6, 4, 12, 8))]
