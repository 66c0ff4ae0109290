"""The tables of an album, and how older ones become these.

- `meta`: `card` (model card, JSON), `model` (its fingerprint) and `purge` (a forgotten person is
  not yet erased from the file).
- `photos`: one row a content. Width and height are those of the upright picture; `error` says why
  one cannot be decoded.
- `places`: where a content lies: absolute path of a file or of a member of an archive, or URL;
  bytes where the path is no Unicode. `size` and `mtime_ns` are of the file or of the archive, null
  behind a URL. A photo may have several places, or none any more.
- `faces`: boxes in pixels of the upright picture; `landmarks` are ten float32. `person` is who the
  face is taken for, `state` whether by a grouping or by the user. Ids are never used again.
- `vectors` and `chips`: of a face; apart, so that reading `faces` does not read them. A vector is
  float32, of unit length, of the model with that fingerprint; `translated` is 1 if it was computed
  from another model's.
- `people`: ids are never used again; `merged` is whom they have become. No two have one name.
- `decisions`: the user's, binding for every grouping: a face `is` a person or `is-not`, and two
  people are `different` (the smaller id is `person`).
- `steps` and `changes`: the undo journal, see `facerec.album.journal`.
- `writings`: files that a step has changed, see `facerec.album.metadata.journal`; `contents`: what
  a photo's content became by that, as `photos` has what it was.
- `migrated`: vectors of the model that a migration goes to, until it has all of them; `meta` then
  has its fingerprint as `migrating`.
- `erased`: boxes of forgotten faces, by the content of their photo, so that no scan brings them
  back; nothing in it tells people apart.
"""

from __future__ import annotations

APPLICATION = 0x66726141
"""SQLite's `application_id` of an album: `fraA`."""

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE photos (
        id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE, width INTEGER NOT NULL,
        height INTEGER NOT NULL, taken TEXT, error TEXT
    );
    CREATE INDEX photos_by_time ON photos (taken);
    CREATE TABLE places (
        path TEXT PRIMARY KEY, photo INTEGER NOT NULL REFERENCES photos, size INTEGER,
        mtime_ns INTEGER
    );
    CREATE INDEX places_of_photo ON places (photo);
    CREATE TABLE people (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, merged INTEGER REFERENCES people
    );
    CREATE TABLE faces (
        id INTEGER PRIMARY KEY AUTOINCREMENT, photo INTEGER NOT NULL REFERENCES photos,
        x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
        landmarks BLOB NOT NULL, score REAL NOT NULL, quality REAL,
        person INTEGER REFERENCES people,
        state TEXT NOT NULL DEFAULT 'grouped' CHECK (state IN ('grouped', 'confirmed'))
    );
    CREATE INDEX faces_of_photo ON faces (photo);
    CREATE INDEX faces_of_person ON faces (person);
    CREATE TABLE vectors (
        face INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE, vector BLOB NOT NULL,
        model TEXT NOT NULL, translated INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE chips (
        face INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE, jpeg BLOB NOT NULL
    );
    CREATE TABLE decisions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL CHECK (kind IN ('is', 'is-not', 'different')),
        face INTEGER REFERENCES faces ON DELETE CASCADE,
        person INTEGER NOT NULL REFERENCES people, other INTEGER REFERENCES people,
        CHECK ((kind = 'different') = (face IS NULL)),
        CHECK ((kind = 'different') = (other IS NOT NULL AND person < other))
    );
    CREATE UNIQUE INDEX one_person_a_face ON decisions (face) WHERE kind = 'is';
    CREATE UNIQUE INDEX rejected_once ON decisions (face, person) WHERE kind = 'is-not';
    CREATE UNIQUE INDEX different_once ON decisions (person, other) WHERE kind = 'different';
    CREATE INDEX decisions_of_person ON decisions (person);
    CREATE TABLE steps (
        id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, command TEXT NOT NULL, undo TEXT
    );
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, step INTEGER NOT NULL REFERENCES steps,
        place TEXT NOT NULL, row INTEGER NOT NULL, before TEXT
    );
    CREATE INDEX changes_of_step ON changes (step);
    CREATE TABLE erased (
        content TEXT NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL,
        y2 REAL NOT NULL
    );
    CREATE INDEX erased_of_photo ON erased (content);
    """,
    """
    CREATE TABLE writings (
        id INTEGER PRIMARY KEY, step INTEGER NOT NULL REFERENCES steps ON DELETE CASCADE,
        path TEXT NOT NULL, photo INTEGER NOT NULL REFERENCES photos, before TEXT,
        after TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, old BLOB NOT NULL,
        mtime_ns INTEGER
    );
    CREATE INDEX writings_of_step ON writings (step);
    CREATE TABLE contents (
        content TEXT PRIMARY KEY, photo INTEGER NOT NULL REFERENCES photos
    ) WITHOUT ROWID;
    CREATE TABLE migrated (
        face INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE, vector BLOB NOT NULL
    );
    """,
    "ALTER TABLE writings ADD COLUMN copies TEXT",
)
"""What makes version n + 1 (SQLite's `user_version`) of version n."""
