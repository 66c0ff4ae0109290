"""Archives of photos: tar, zip, compressed tars, WebDataset's shards, and extraction."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.fuzz.cases import Action, Kind, Seed
from tests.fuzz.kinds.images import encoded, portrait

Members = Mapping[str, bytes]


def tarred(members: Members, **options: object) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", **options) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target.getvalue()


def _special(kind: bytes, name: str, link: str = "", size: int = 0) -> bytes:
    """A tar of one member that is no plain file, or says a size that it has not."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member.tobuf() + bytes(1024)


def _seeds(_: Path) -> Mapping[str, Seed]:
    jpeg = encoded(portrait(), "JPEG")
    png = encoded(portrait(32), "PNG")
    people = {"ada/1.jpg": jpeg, "ada/2.png": png, "bob/1.jpg": jpeg, "readme.txt": b"text"}
    shard = {"0.jpg": jpeg, "0.cls": b"3", "1.jpg": jpeg, "1.json": b'{"label": 4}', "2.png": png}
    escaping = {"../../escape.jpg": jpeg, "/escape.jpg": jpeg, "a/../../b.jpg": jpeg,
                "..\\..\\escape.jpg": jpeg, "C:\\escape.jpg": jpeg, "a" * 300 + ".jpg": jpeg,
                "a/" * 200 + "b.jpg": jpeg, "a\nb.jpg": jpeg, "[/x].jpg": jpeg}  # fmt: skip
    plain = tarred(people)
    seeds = {
        "plain.tar": Seed(plain),
        "pax.tar": Seed(tarred({"é" * 120 + "/1.jpg": jpeg}, format=tarfile.PAX_FORMAT)),
        "shard.tar": Seed(tarred(shard)),
        "packed.tar.gz": Seed(plain, gzip.compress),
        "packed.tgz": Seed(plain, gzip.compress),
        "packed.tar.bz2": Seed(plain, bz2.compress),
        "packed.tar.xz": Seed(plain, lzma.compress),
        "plain.zip": Seed(zipped(people)),
        "stored.zip": Seed(zipped(people, zipfile.ZIP_STORED)),
        "bzip.zip": Seed(zipped(people, zipfile.ZIP_BZIP2)),
        "lzma.zip": Seed(zipped(people, zipfile.ZIP_LZMA)),
    }
    bomb = bytes(400_000_000)
    hostile = {
        "escaping.tar": tarred(escaping),
        "escaping.zip": zipped(escaping),
        "bomb.zip": zipped({"a/1.jpg": bomb}),
        "bomb.tar.gz": gzip.compress(tarred({"a/1.jpg": bomb})),
        "twice.zip": zipped(people) + zipped({"c/1.jpg": jpeg}),
        "link.tar": _special(tarfile.SYMTYPE, "a/1.jpg", "/etc/passwd"),
        "loop.tar": _special(tarfile.SYMTYPE, "a/1.jpg", "1.jpg"),
        "up.tar": _special(tarfile.LNKTYPE, "a/1.jpg", "../../../etc/passwd"),
        "device.tar": _special(tarfile.CHRTYPE, "a/1.jpg"),
        "pipe.tar": _special(tarfile.FIFOTYPE, "a/1.jpg"),
        "long.tar": _special(tarfile.REGTYPE, "a/1.jpg", size=1 << 60),
        "sparse.tar": _special(tarfile.GNUTYPE_SPARSE, "a/1.jpg", size=1 << 33),
        "header.tar": _special(tarfile.XHDTYPE, "a", size=1 << 40),
        "name.tar": _special(tarfile.GNUTYPE_LONGNAME, "a", size=1 << 40),
        "empty.zip": b"PK\x05\x06" + bytes(18),
        "empty.tar": bytes(10240),
    }
    return seeds | {name: Seed(data, hostile=True) for name, data in hostile.items()}


def _act(path: Path, dice: Random) -> Action:
    choice = dice.randrange(6)
    if choice == 0:
        return ["detect", path.name, "--save", "out", "--json"]
    if choice == 1:
        return ["embed", path.name, "-o", "g.h5"]
    if choice == 2:
        return ["align", path.name, "out"]
    if choice == 3:
        return lambda: _train_on(path)
    if choice == 4:
        return lambda: _extract(path)
    return ["detect", path.name, "--json"]


def _train_on(path: Path) -> None:
    from facerec.errors import InputError
    from facerec.training.data.opening import open_examples

    examples = open_examples(path)
    for index in range(min(len(examples.labels), 4)):
        try:
            examples.image(index)
        except InputError:
            continue


def _extract(path: Path) -> None:
    from facerec.weights.archives import extract

    extract(path, Path("out"), most_bytes=1 << 24, most_members=1000)


KINDS = (Kind("archives", _seeds, _act),)
