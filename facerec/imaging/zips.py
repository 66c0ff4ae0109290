"""Files of a zip by key, read in place."""

from __future__ import annotations

import logging
import lzma
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO

from facerec.errors import InputError
from facerec.imaging.code_pages import STANDARD, decode_names
from facerec.imaging.contents import START
from facerec.imaging.members import link_target, plain, resolve_links, tell_encoding, tell_passed
from facerec.imaging.photos import MAX_FILE

_log = logging.getLogger(__name__)

# What `zipfile` raises on damaged, encrypted and unknown members.
_DAMAGED = (
    zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, OSError,
    EOFError, ValueError,
)  # fmt: skip
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNICODE_PATH = 0x7075
_LONGEST_LINK = 4096


class ZipSource:
    """Files of a zip, and symbolic links to them; some Windows tools write backslashes.

    Attributes:
        lost: links that lead nowhere in the zip, and where they lead.
        damage: empty, as a damaged zip cannot be opened, or fails on `read`.
    """

    damage = ""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._archive = zipfile.ZipFile(file)
        self._lock = threading.Lock()
        self._members: dict[str, zipfile.ZipInfo] = {}
        links: dict[str, str] = {}
        members = self._archive.infolist()
        for member, path in zip(members, self._paths(members), strict=True):
            if path.endswith("/"):
                continue
            key = plain(path)
            if (target := self._target(member)) is not None:
                links[key] = link_target(key, target)
                continue
            before = self._members.get(key)
            if before is not None and before.CRC != member.CRC:
                _log.warning("%s: holds %s more than once; the last one is read", name, key)
            self._members[key] = member
        found, self.lost = resolve_links(self._members, links)
        self._members |= {key: self._members[target] for key, target in found.items()}
        tell_passed(name, self._members)

    def names(self) -> Iterable[str]:
        return [*self._members, *self.lost]

    def start(self, key: str) -> bytes:
        member = self._members.get(key)
        if member is not None:
            with self._lock, suppress(*_DAMAGED), self._archive.open(member) as file:
                return file.read(START)
        return b""

    def read(self, key: str) -> bytes:
        if key in self.lost:
            raise InputError(f"{self.name}: {key} is a link to {self.lost[key]}, not in there")
        if key not in self._members:
            raise InputError(f"{self.name}: holds no {key}")
        member = self._members[key]
        if member.file_size > MAX_FILE:
            raise InputError(f"{self.name}: {key} has {member.file_size} bytes, too many")
        if member.flag_bits & _ENCRYPTED:
            raise InputError(f"{self.name}: {key} is encrypted; unpack the zip with its password")
        try:
            with self._lock:
                return self._archive.read(member)
        except _DAMAGED as error:
            raise InputError(f"{self.name}: {key} cannot be read: {error}") from error

    def _paths(self, members: Sequence[zipfile.ZipInfo]) -> list[str]:
        """The members' names, folders parted by slashes."""
        told = [_told_name(member) for member in members]
        stored = [
            member.orig_filename.encode(STANDARD)
            for member, name in zip(members, told, strict=True)
            if name is None
        ]
        untold, encoding = decode_names(stored)
        if encoding not in (STANDARD, "utf-8"):
            tell_encoding(self.name, encoding, untold, stored)
        rest = iter(untold)
        return [(next(rest) if name is None else name).replace("\\", "/") for name in told]

    def _target(self, member: zipfile.ZipInfo) -> str | None:
        """What a symbolic link names, as Info-ZIP's `-y` stores it; None for any other member."""
        if not stat.S_ISLNK(member.external_attr >> 16) or member.file_size > _LONGEST_LINK:
            return None
        with suppress(*_DAMAGED):
            return self._archive.read(member).decode("utf-8", "surrogateescape")
        return None


def _told_name(member: zipfile.ZipInfo) -> str | None:
    """A member's name, by the zip's flag for UTF-8 or Info-ZIP's extra field; None where neither
    says how it is encoded."""
    if member.flag_bits & _UTF8 or member.filename.isascii():
        return member.filename
    with suppress(UnicodeError, struct.error):
        return _unicode_path(member.extra, member.orig_filename.encode(STANDARD))
    return None


def _unicode_path(extra: bytes, stored: bytes) -> str | None:
    """APPNOTE 4.6.9: a version, the CRC of the stored name, and the name in UTF-8."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, place)
        if kind == _UNICODE_PATH and size > 5:
            version, check = struct.unpack_from("<BL", extra, place + 4)
            if version == 1 and check == zlib.crc32(stored):
                return extra[place + 9 : place + 4 + size].decode("utf-8")
        place += 4 + size
    return None
