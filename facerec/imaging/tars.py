"""Files of a tar by key, read in place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import IO, NamedTuple, cast

from facerec.errors import InputError
from facerec.imaging.code_pages import decode_names
from facerec.imaging.contents import START
from facerec.imaging.members import link_target, plain, resolve_links, tell_encoding, tell_passed
from facerec.imaging.photos import MAX_FILE

_Opener = Callable[[IO[bytes]], IO[bytes]]
_OPENERS = (
    (b"\x1f\x8b", cast("_Opener", gzip.open)),
    (b"BZh", cast("_Opener", bz2.open)),
    (b"\xfd7zXZ\0", cast("_Opener", lzma.open)),
)
"""By what a compressed file begins with: browsers save a `.tar.gz` as `.tar`."""
_BLOCK = 1 << 16
_RECORD = 512

_CUT_OFF = "is cut off, or damaged"


class _Place(NamedTuple):
    """Where a file's content lies.

    Attributes:
        offset: of its first byte.
        size: of the file.
        parts: of a sparse file, offset in it and size of each part that is stored, one after the
            other; None for a whole one.
    """

    offset: int
    size: int
    parts: tuple[tuple[int, int], ...] | None


def _no_utf8(name: str) -> bytes | None:
    """A name as the tar has it, if that is no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape")
    return None


class TarSource:
    """Regular files of a tar, and hard and symbolic links to them.

    A compressed tar has no random access, so it is decompressed once into an unnamed temporary
    file that vanishes with the process. A link that leads nowhere in the tar fails on `read`.
    Tars one after the other in one file (`cat a.tar b.tar`) are one.

    Attributes:
        lost: those links, and where they lead.
        damage: what is wrong with the archive, where files may be missing; empty if nothing is.

    Raises:
        tarfile.TarError: it is no tar.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file, self._damage_outside = _decompressed(file)
        self.damage = ""
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        links: dict[str, str] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            # A damaged header would else be taken for the end.
            archive.ignore_zeros = True
            end = 0
            try:
                for member in archive:
                    if member.offset > end:
                        self._look_at_gap(end)
                    end = archive.offset
                    self._take(member, links)
            except tarfile.TarError:
                self.damage = _CUT_OFF
        self._look_at_gap(end, last=True)
        links = self._decode(links)
        found, self.lost = resolve_links(self._places, links)
        self._places |= {key: self._places[target] for key, target in found.items()}
        tell_passed(name, self._places)

    def _take(self, member: tarfile.TarInfo, links: dict[str, str]) -> None:
        key = plain(member.name)
        if member.isreg():
            # Pairs, whatever typeshed says.
            sparse = cast("Sequence[tuple[int, int]] | None", member.sparse)
            parts = None if sparse is None else tuple(sparse)
            self._places[key] = _Place(member.offset_data, member.size, parts)
            links.pop(key, None)
        elif member.islnk():
            # `tar` stores a file that is named twice as a link to itself.
            if (target := posixpath.normpath(member.linkname)) != key:
                links[key] = target
        elif member.issym():
            links[key] = link_target(key, member.linkname)

    def _decode(self, links: dict[str, str]) -> dict[str, str]:
        """Read names that are no UTF-8 in the code page in which they look like names; older
        systems wrote their own. Returns the links anew."""
        said = dict.fromkeys([*self._places, *links, *links.values()])
        unknown = {name: raw for name in said if (raw := _no_utf8(name)) is not None}
        if not unknown:
            return links
        stored = list(unknown.values())
        decoded, encoding = decode_names(stored)
        tell_encoding(self.name, encoding, decoded, stored)
        names = dict(zip(unknown, decoded, strict=True))
        self._places = {names.get(key, key): place for key, place in self._places.items()}
        return {names.get(key, key): names.get(to, to) for key, to in links.items()}

    def _look_at_gap(self, end: int, *, last: bool = False) -> None:
        """Look what lies between a member's end and the next one, or the end of all: zeros mark the
        end of an archive, anything else is damage."""
        self._file.seek(end)
        block = self._file.read(_RECORD)
        if any(block):
            self.damage = self.damage or "a part of it is damaged"
        elif last and not block and self._damage_outside:
            self.damage = self._damage_outside

    def names(self) -> Iterable[str]:
        return [*self._places, *self.lost]

    def start(self, key: str) -> bytes:
        place = self._places.get(key)
        if place is None or place.size > MAX_FILE:
            return b""
        if place.parts is None:
            place = place._replace(size=min(place.size, START))
        return self._read(place)[:START]

    def read(self, key: str) -> bytes:
        if key in self.lost:
            raise InputError(f"{self.name}: {key} is a link to {self.lost[key]}, not in there")
        if key not in self._places:
            raise InputError(f"{self.name}: holds no {key}")
        place = self._places[key]
        if place.size > MAX_FILE:
            raise InputError(
                f"{self.name}: {key} has {place.size} bytes, more than an image can have"
            )
        data = self._read(place)
        if len(data) != place.size:
            raise InputError(f"{self.name}: ends within {key}")
        return data

    def _read(self, place: _Place) -> bytes:
        with self._lock:
            self._file.seek(place.offset)
            if place.parts is None:
                return self._file.read(place.size)
            whole = bytearray(place.size)
            for start, size in place.parts:
                part = self._file.read(size)
                if len(part) != size or start + size > place.size:
                    return b""
                whole[start : start + size] = part
            return bytes(whole)


def _decompressed(file: IO[bytes]) -> tuple[IO[bytes], str]:
    """A tar without its compression, as far as that can be read, and what is wrong with it."""
    start = file.read(6)
    file.seek(0)
    opener = next((opener for mark, opener in _OPENERS if start.startswith(mark)), None)
    if opener is None:
        return file, ""
    tar = tempfile.TemporaryFile()  # noqa: SIM115  (it is the source's, for its life)
    damage = ""
    with file, opener(file) as packed:
        # As much as is there: a longer read would lose what comes before the damage.
        read = getattr(packed, "read1", packed.read)
        try:
            while block := read(_BLOCK):
                tar.write(block)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            # bz2 and gzip raise an OSError without a number; a full disk has one.
            if not tar.tell() or getattr(error, "errno", None) is not None:
                raise
            damage = _CUT_OFF
    tar.seek(0)
    return tar, damage
