"""Picasa's names: `.picasa.ini` in the photos' folder, one section a photo.

`faces=rect64(3f845bcb59418507),8e62398ebda8c1a5;…`: four times 16 bits, left, top, right and bottom
of the stored image in parts of 65,536 (leading zeros left out), and a contact, whose name
`[Contacts2]` says: `8e62398ebda8c1a5=Anna;;`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from facerec.album.metadata.regions import FACE, Region, to_upright
from facerec.imaging.photos import normalise_person, unreadable

FILES = (".picasa.ini", "Picasa.ini", "picasa.ini")
_CONTACTS = "contacts2"
_LONGEST = 64 << 20
_FACE = re.compile(r"rect64\(([0-9a-fA-F]{1,16})\),([0-9a-fA-F]+)")

_Sections = dict[str, dict[str, str]]


def picasa_regions(photo: Path, orientation: int) -> Iterator[Region]:
    """The faces that Picasa knows in a photo; those that it has no name for without one.

    Raises:
        InputError: the file is there, and cannot be read.
    """
    sections = _sections_beside(photo.parent)
    contacts = sections.get(_CONTACTS, {})
    faces = sections.get(photo.name.casefold(), {}).get("faces", "")
    for rectangle, contact in _FACE.findall(faces):
        digits = rectangle.zfill(16)
        left, top, right, bottom = (int(digits[at : at + 4], 16) / 65536 for at in (0, 4, 8, 12))
        if left < right and top < bottom:
            name = normalise_person(contacts.get(contact.casefold(), "").split(";")[0]).strip()
            box = to_upright((left, top, right, bottom), orientation)
            yield Region(name, box, FACE, "picasa")


def _sections_beside(folder: Path) -> _Sections:
    for name in FILES:
        path = folder / name
        try:
            facts = path.stat()
        except OSError:
            continue
        return _read(path, facts.st_size, facts.st_mtime_ns)
    return {}


@lru_cache(maxsize=4)
def _read(path: Path, size: int, _mtime_ns: int) -> _Sections:
    """The sections of a file, in lower case as Windows compares names; again if it has changed."""
    if size > _LONGEST:
        raise unreadable(path, f"{size:,} bytes; at most {_LONGEST:,} are read")
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror or error}") from error
    sections: _Sections = {}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1].casefold(), {})
        elif "=" in line:
            key, _, value = line.partition("=")
            section[key.strip().casefold()] = value.strip()
    return sections
