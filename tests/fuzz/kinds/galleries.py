"""Galleries: HDF5, journal and index, the formats of exchange, and SQLite's caches."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from unittest import mock

import h5py
import numpy as np

from facerec import Gallery
from facerec.gallery.addresses import changing
from facerec.gallery.exchange import ENDINGS, export_gallery
from facerec.gallery.files import backend
from facerec.gallery.files.journal import START, journal_of
from facerec.gallery.match import Matcher
from facerec.gallery.search.approximate import index_of
from facerec.profile.schema import RecognizeSection
from tests.conftest import make_card, make_face
from tests.fuzz.cases import Action, Kind, Pack, Seed
from tests.fuzz.mutations import BINARY, TEXT

_PEOPLE = ("Ada", "Zoë", "Bob")


def _gallery() -> Gallery:
    gallery = Gallery(make_card())
    for number, name in enumerate(_PEOPLE):
        face = make_face(1, number, 0, 0)
        gallery.add(name, [face, face], f"{name}/1.jpg", str(number), {"team": "red"})
    return gallery


def _saved(folder: Path) -> None:
    """A gallery with a journal, as large ones have."""
    with mock.patch.object(backend, "_WHOLE", 0):
        _gallery().save(folder / "g.h5")
        with changing(str(folder / "g.h5")) as gallery:
            gallery.add("Eve", [make_face(0, 0, 1, 0)], "eve.jpg", "e", {"k": "v"})
            gallery.rename("Bob", "Rob")


def _files(folder: Path) -> Mapping[str, Seed]:
    _gallery().save(folder / "g.h5")
    seeds = {"g.h5": Seed((folder / "g.h5").read_bytes())}
    for name, per_image in (("older.h5", False), ("oldest.h5", True)):
        with h5py.File(folder / name, "w") as file:
            for person in _PEOPLE:
                group = file.create_group(person)
                if per_image:
                    group = group.create_group("1.png")
                    group["file_path"] = f"data/{person}/1.png"
                group["embedding"] = np.ones(4, np.float32)
        seeds[name] = Seed((folder / name).read_bytes())
    return seeds | {name: Seed(data, hostile=True) for name, data in _hostile(folder).items()}


def _hostile(folder: Path) -> dict[str, bytes]:
    """Galleries whose datasets have other shapes, types and places than they should."""
    changes: dict[str, Callable[[h5py.File], object]] = {
        "shape": lambda f: f.create_dataset("embeddings", (1 << 40, 4), np.float32, chunks=(1, 4)),
        "type": lambda f: f.create_dataset("embeddings", data=np.array([b"x", b"y"])),
        "compound": lambda f: f.create_dataset("embeddings", data=np.zeros(3, [("a", "i4")])),
        "scalar": lambda f: f.create_dataset("embeddings", data=1.0),
        "packed": lambda f: f.create_dataset(
            "embeddings", (1 << 20, 4), np.float32, compression="gzip", chunks=(1 << 20, 4)
        ),
        "group": lambda f: f.create_group("embeddings"),
        "soft": lambda f: f.__setitem__("embeddings", h5py.SoftLink("/embeddings")),
        "external": lambda f: f.__setitem__(
            "embeddings", h5py.ExternalLink("/etc/passwd", "/embeddings")
        ),
        "storage": lambda f: f.create_dataset(
            "embeddings", (3, 4), np.float32, external=[("/etc/passwd", 0, 48)]
        ),
        "nan": lambda f: f.create_dataset("embeddings", data=np.full((6, 4), np.nan, np.float32)),
        "zero": lambda f: f.create_dataset("embeddings", data=np.zeros((6, 4), np.float32)),
        "people": lambda f: f.create_dataset("people", data=np.array([b"\xff\xfe", b"a", b"a"])),
        "slashes": lambda f: f.create_dataset("people", data=[b"../../a", b"b/c", b""]),
        "numbers": lambda f: f.create_dataset("people", data=np.arange(3)),
        "person": lambda f: f.create_dataset("person", data=np.array([9, -1, 0, 1, 2, 2], np.int32)),
        "meta": lambda f: f.create_dataset("meta", data=np.array([99] * 6, np.int32)),
        "metas": lambda f: f.create_dataset("metas", data=[b"[" * 50_000]),
        "card": lambda f: f.attrs.__setitem__("card", "[" * 50_000),
        "card_number": lambda f: f.attrs.__setitem__("card", 3),
        "card_bytes": lambda f: f.attrs.__setitem__("card", np.void(b"\xff\0")),
        "version": lambda f: f.attrs.__setitem__("facerec_gallery", "one"),
        "versions": lambda f: f.attrs.__setitem__("facerec_gallery", np.arange(3)),
        "id": lambda f: f.attrs.__setitem__("id", np.arange(3)),
    }  # fmt: skip
    made = {}
    for name, change in changes.items():
        path = folder / f"{name}.h5"
        shutil.copy(folder / "g.h5", path)
        with h5py.File(path, "r+") as file:
            if (place := _REPLACED.get(name, "embeddings")) is not None:
                del file[place]
            change(file)
        made[path.name] = path.read_bytes()
    return made


_REPLACED = {
    "people": "people", "slashes": "people", "numbers": "people", "person": "person",
    "meta": "meta", "metas": "metas", "card": None, "card_number": None, "card_bytes": None,
    "version": None, "versions": None, "id": None,
}  # fmt: skip
"""The column that a change takes the place of; None: it changes an attribute. Else `embeddings`."""


def _look(path: Path, dice: Random) -> Action:
    place = path.name
    return dice.choice(
        (
            ["gallery", "list", "-g", place, "--json"],
            ["gallery", "verify", "-g", place],
            ["gallery", "show", "Ada", "-g", place, "--json"],
            ["gallery", "export", "--format", "csv", "-o", "out.csv", "-g", place],
            ["gallery", "remove", "Ada", "--force", "-g", place],
            ["gallery", "rename", "Ada", "Eva", "-g", place],
            ["gallery", "merge", "Ada", "Bob", "--into", "Ada", "-g", place],
            ["gallery", "compact", "-g", place],
            ["gallery", "copy", place, "copy.h5"],
            ["gallery", "convert", place, "new.h5"],
        )
    )


def _journals(folder: Path) -> Mapping[str, Seed]:
    _saved(folder)
    content = journal_of(folder / "g.h5").read_bytes()
    (length,) = struct.unpack_from("<Q", content, START)
    record = content[START + 16 : START + 16 + length]
    (size,) = struct.unpack_from("<I", record)
    head, text, numbers = content[:START], record[4 : 4 + size], record[4 + size :]

    def framed(changes: bytes) -> bytes:
        """A journal whose checksums are right, whatever its changes say."""
        body = struct.pack("<I", len(changes)) + changes + numbers
        sums = struct.pack("<QI", len(body), zlib.crc32(body))
        return head + sums + struct.pack("<I", zlib.crc32(sums)) + body

    odd = {
        "deep": b"[" * 100_000, "list": b"[[]]", "number": b"3", "null": b"[null]",
        "unknown": b'[{"change": "explode"}]', "absent": b'[{"change": "remove", "name": "Nobody", "source": null}]',
        "types": b'[{"change": "append", "person": 3, "source": [], "sha256": [], "meta": [], "replace": 3}]',
        "texts": b'[{"change": "rename", "old": ["Ada"], "new": {"a": 1}}]',
        "name": b'[{"change": "rename", "old": "Ada", "new": "../x"}]',
        "merge": b'[{"change": "merge", "source": "Ada", "target": "Nobody"}]',
        "card": b'[{"change": "card", "card": "{}"}]', "taken": b'[{"change": "rename", "old": "Ada", "new": "Bob"}]',
        "meta": b'[{"change": "append", "person": ["A"], "source": ["a"], "sha256": ["a"], "meta": [3], "replace": true}]',
    }  # fmt: skip
    return {
        "g.h5.journal": Seed(content),
        "text.g.h5.journal": Seed(text, framed),
        **{f"{name}.g.h5.journal": Seed(data, framed, hostile=True) for name, data in odd.items()},
    }


def _beside(path: Path, dice: Random) -> Action:
    """The file becomes the journal of the gallery beside it."""
    path.rename(path.parent / "g.h5.journal")
    return _look(path.parent / "g.h5", dice)


def _indexes(folder: Path) -> Mapping[str, Seed]:
    _indexed(folder)
    index = index_of(folder / "g.h5", "template")
    return {
        index.name: Seed(index.read_bytes()),
        f"{index.name}.json": Seed(index.with_name(f"{index.name}.json").read_bytes()),
    }


def _indexed(folder: Path) -> None:
    rng = np.random.default_rng(0)
    gallery = Gallery(make_card())
    for number in range(1100):
        gallery.add(f"P{number}", [make_face(*rng.normal(size=4))], f"{number}.jpg", str(number))
    gallery.save(folder / "g.h5")
    from tests.fuzz.cases import _perform

    _perform(["gallery", "index", "-g", folder / "g.h5"])


def _search(path: Path, dice: Random) -> Action:
    def search() -> None:
        section = RecognizeSection(threshold=0.5)
        gallery = Gallery.open("g.h5")
        Matcher(gallery, section, gallery.card).match_faces([make_face(1, 0, 0, 0)])

    return search


def _exchanged(folder: Path) -> Mapping[str, Seed]:
    seeds = {}
    gallery = _gallery()
    for form, ending in ENDINGS.items():
        path = folder / f"g{ending}"
        export_gallery(gallery, path, form)
        seeds[path.name] = Seed(path.read_bytes())
    seeds |= _members((folder / "g.npz").read_bytes())
    seeds |= {name: Seed(data, hostile=True) for name, data in _odd_exchange(folder).items()}
    return seeds


def _members(npz: bytes) -> dict[str, Seed]:
    """Each array of an npz, to be mutated inside a whole zip."""
    with zipfile.ZipFile(io.BytesIO(npz)) as file:
        members = {name: file.read(name) for name in file.namelist()}

    def packing(changed: str) -> Pack:
        def pack(data: bytes) -> bytes:
            target = io.BytesIO()
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
                for name, content in members.items():
                    file.writestr(name, data if name == changed else content)
            return target.getvalue()

        return pack

    return {f"{Path(name).stem}.npz": Seed(data, packing(name)) for name, data in members.items()}


def _odd_exchange(folder: Path) -> dict[str, bytes]:
    csv = (folder / "g.csv").read_bytes()
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4), }"
    head = head.ljust(117) + b"\n"
    huge = b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head
    objects = head.replace(b"'<f4'", b"'|O' ").replace(b"1099511627776", b"3            ")
    pickled = b"\x93NUMPY\x01\0" + struct.pack("<H", len(objects)) + objects
    pickled += b"cos\nsystem\n(S'touch escaped'\ntR."
    packs = _members((folder / "g.npz").read_bytes())
    made = {
        f"{name}.npz": packs["embeddings.npz"].pack(data)  # type: ignore[misc]
        for name, data in (("huge", huge), ("pickled", pickled), ("none", b""))
    }
    return made | {
        "rows.csv": csv.replace(b",", b";"),
        "nan.csv": csv.replace(b"0.9,", b"nan,"),
        "quote.csv": csv[:-2] + b'"\n',
        "nul.csv": csv.replace(b"Ada", b"A\0a"),
        "cell.csv": csv.replace(b"Ada", b'"' + b"A" * 200_000 + b'"'),
        "up.csv": csv.replace(b"Ada", b"../../Ada"),
        "latin.csv": csv.replace("Zoë".encode(), b"Zo\xeb"),
        "meta.csv": csv.replace(b"red", b"[" * 2000),
        "length.pb": b"\n\xff\xff\xff\xff\x7f" + b"x" * 20,
        "nested.pb": b"\x0b" * 5000,
        "nothing.pb": b"",
        "nothing.csv": b"",
        "line.csv": b"\n",
        "nothing.parquet": b"PAR1PAR1",
        "nothing.npz": b"",
        "npy.npz": huge,
        "pickle.npz": b"cos\nsystem\n(S'touch escaped'\ntR.",
    }


def _take(path: Path, _: Random) -> Action:
    return ["gallery", "import", path.name, "-g", "out.h5"]


def _caches(folder: Path) -> Mapping[str, Seed]:
    _write_cache(folder / "c.sqlite")
    seeds = {"c.sqlite": Seed((folder / "c.sqlite").read_bytes())}
    import sqlite3

    odd = {
        "columns": "CREATE TABLE images (sha256 TEXT)",
        "view": "CREATE VIEW images AS SELECT 1 AS sha256",
        "types": "CREATE TABLE images (sha256, vector, facts, thumbnail);"
        "INSERT INTO images VALUES (x'ff', 'text', 3, NULL)",
        "origin": "CREATE TABLE origin (text TEXT);INSERT INTO origin VALUES (x'ff00')",
        "short": "CREATE TABLE images (sha256 TEXT PRIMARY KEY, vector BLOB, facts TEXT, thumbnail BLOB);"
        "INSERT INTO images VALUES ('a', x'0102', '[', 'x')",
    }
    for name, script in odd.items():
        database = sqlite3.connect(folder / f"{name}.sqlite")
        database.executescript(script)
        database.close()
        seeds[f"{name}.sqlite"] = Seed((folder / f"{name}.sqlite").read_bytes(), hostile=True)
    return seeds


def _write_cache(path: Path) -> None:
    from facerec.engine.cache import EmbeddingCache

    with EmbeddingCache(path, "origin", remedy="go away") as cache:
        for name in "abc":
            cache.put(name, np.ones(4, np.float32), json.dumps({"faces": 1}), b"thumbnail")


def _use_cache(path: Path, dice: Random) -> Action:
    origin = dice.choice(("origin", "other", None))

    def use() -> None:
        from facerec.engine.cache import EmbeddingCache

        with EmbeddingCache(path, origin, remedy="go away") as cache:
            for name in "abc":
                if name in cache:
                    cache.get(name)
                    cache.thumbnail(name)
            cache.put("d", np.ones(4, np.float32))

    return use


KINDS = (
    Kind("galleries", _files, _look),
    Kind("journals", _journals, _beside, stage=_saved),
    Kind("indexes", _indexes, _search, stage=_indexed),
    Kind("exchange", _exchanged, _take, (*BINARY, *TEXT)),
    Kind("caches", _caches, _use_cache),
)
