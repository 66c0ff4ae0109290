"""Picasa's names: `.picasa.ini` in the photos' folder, one section a photo.

`faces=rect64(3f845bcb59418507),8e62398ebda8c1a5;…`: four times 16 bits, left, top, right and bottom
of the stored image in parts of 65,536 (leading zeros left out), and a contact, whose name
`[Contacts2]` says: `8e62398ebda8c1a5=Anna;;`. Picasa leaves that section out, or writes
`[Contacts]` with an account in place of the name, where the contacts are in its own list,
`contacts.xml`: `<contact id="8e62398ebda8c1a5" name="Anna" …/>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

from facerec.album.metadata.names import composed
from facerec.album.metadata.regions import FACE, Region, to_upright
from facerec.imaging.photos import normalise_person, unreadable

FILES = (".picasa.ini", "Picasa.ini", "picasa.ini")
_CONTACTS = "contacts2"
_LIST = "contacts.xml"
_OWN = (
    "AppData/Local/Google/Picasa2", "AppData/Local/Google/Picasa3",
    "Local Settings/Application Data/Google/Picasa2",
    "Library/Application Support/Google/Picasa2", "Library/Application Support/Google/Picasa3",
)  # fmt: skip
"""Picasa's folders for its own data on Windows 7 and later, on XP, and on a Mac."""
_LONGEST = 64 << 20
_FACE = re.compile(r"rect64\(([0-9a-fA-F]{1,16})\),([0-9a-fA-F]+)")

_Sections = dict[str, dict[str, str]]


def picasa_regions(photo: Path, orientation: int) -> Iterator[Region]:
    """The faces that Picasa knows in a photo; those that it has no name for without one.

    Raises:
        InputError: a file is there, and cannot be read.
    """
    sections = _sections_beside(photo.parent)
    faces = _FACE.findall(sections.get(_key(photo.name), {}).get("faces", ""))
    listed = sections.get(_CONTACTS, {})
    for rectangle, contact in faces:
        digits = rectangle.zfill(16)
        left, top, right, bottom = (int(digits[at : at + 4], 16) / 65536 for at in (0, 4, 8, 12))
        if left < right and top < bottom:
            number = contact.casefold()
            name = listed.get(number, "").split(";")[0] or _known(photo.parent).get(number, "")
            box = to_upright((left, top, right, bottom), orientation)
            yield Region(normalise_person(name).strip(), box, FACE, "picasa")


def _known(folder: Path) -> dict[str, str]:
    """Names by contact in the lists beside a photo, in folders above it, and where Picasa keeps
    its own; the nearest says what a contact is called."""
    home = Path.home()
    places = [above / _LIST for above in (folder, *folder.absolute().parents)]
    places += [home / place / "contacts" / _LIST for place in _OWN]
    names: dict[str, str] = {}
    for place in places:
        try:
            facts = place.stat()
        except OSError:
            continue
        names = {**_read_contacts(place, facts.st_size, facts.st_mtime_ns), **names}
    return names


@lru_cache(maxsize=16)
def _read_contacts(path: Path, size: int, _mtime_ns: int) -> dict[str, str]:
    """Names by contact; again if the file has changed."""
    if size > _LONGEST:
        raise unreadable(path, f"{size:,} bytes; at most {_LONGEST:,} are read")
    names: dict[str, str] = {}

    def start(element: str, attributes: dict[str, str]) -> None:
        if element == "contact" and attributes.get("id"):
            name = attributes.get("name") or attributes.get("display") or ""
            names[attributes["id"].casefold()] = name

    def refuse(*_: object) -> None:
        raise unreadable(path, "declares a document type or entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror or error}") from error
    except expat.ExpatError as error:
        raise unreadable(path, f"is damaged: {error}") from error
    return names


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
    """The sections of a file by `_key`; again if it has changed."""
    if size > _LONGEST:
        raise unreadable(path, f"{size:,} bytes; at most {_LONGEST:,} are read")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # of a Windows that was set so
    sections: _Sections = {}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(_key(line[1:-1]), {})
        elif "=" in line:
            key, _, value = line.partition("=")
            section[key.strip().casefold()] = value.strip()
    return sections


def _key(name: str) -> str:
    """A photo's name in lower case, as Windows compares it, and composed, as it writes it."""
    return composed(name).casefold()
