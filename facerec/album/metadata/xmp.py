"""An XMP packet as properties, by Exiv2, after checks that Exiv2 leaves out.

Exiv2 runs in this process, and a packet may come from anybody: one that is too long, nested too
deeply, or declares entities is refused before Exiv2 sees it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any
from xml.parsers import expat

from facerec.errors import InputError, MissingError
from facerec.imaging.photos import unreadable

LONGEST_PACKET = 16 << 20
"""Bytes of a packet; Lightroom's longest, with every brush stroke, have some megabytes."""
_DEEPEST = 50
_MOST = 200_000
"""Elements of a packet."""

EXTENSION = "Xmp.xmpNote.HasExtendedXMP"
"""What a packet calls the rest of a JPEG's XMP, which did not fit into it."""

_START = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_STARTS = ("<?xpacket", "<?xml", "<x:xmpmeta")
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# Say how the rest is written, not what.
_SYNTAX = {f"{_RDF} about", f"{_RDF} parseType", "adobe:ns:meta/ xmptk"}

_COMPACT, _BARE = 0x40, 0x10


@cache
def load_exiv2() -> Any:
    """The package exiv2, silent.

    Raises:
        MissingError: it is not installed.
    """
    try:
        exiv2 = sys.modules.get("exiv2") or import_module("exiv2")
    except ImportError as error:
        raise MissingError(
            "XMP needs exiv2, which is not installed; pip install 'facerec[xmp]'"
        ) from error
    exiv2.LogMsg.setLevel(exiv2.LogMsg.Level.mute)
    return exiv2


class Xmp:
    """The properties of a packet, which may be changed. Keys are Exiv2's: `Xmp.dc.subject`.

    Attributes:
        name: what an error calls the file it is in.
    """

    def __init__(self, packet: bytes | None, name: str) -> None:
        """Parse a packet.

        Args:
            packet: None for an empty one.
            name: what an error calls the file it is in.

        Raises:
            InputError: it is malformed or hostile, or Exiv2 would not keep all of it.
            MissingError: the package exiv2 is not installed.
        """
        self._exiv2 = load_exiv2()
        self.name = name
        self._image: Any = None
        self._data = self._exiv2.XmpData()
        if packet is not None:
            self._read(packet)

    def _read(self, packet: bytes) -> None:
        text = _text(packet, self.name)
        says_something = leaves(text, self.name)
        if not text.startswith(_STARTS):
            text = _START + text
        exiv2 = self._exiv2
        try:
            self._image = exiv2.ImageFactory.open(text.encode())
            self._image.readMetadata()
        except exiv2.Exiv2Error as error:
            raise unreadable(self.name, "its XMP is damaged") from error
        # A part of the image, which must live as long.
        self._data = self._image.xmpData()
        if says_something and not len(self._data):
            # Exiv2 warns of what it cannot parse, and goes on without.
            raise unreadable(self.name, "its XMP cannot be read by exiv2")

    def texts(self, prefix: str) -> dict[str, str]:
        """Simple values whose keys begin so, by the rest of the key."""
        return {
            datum.key()[len(prefix) :]: str(datum.toString())
            for datum in self._data
            if datum.key().startswith(prefix)
        }

    def items(self, key: str) -> list[str]:
        """The items of an array of texts; of a single text that one."""
        for datum in self._data:
            if datum.key() == key:
                value = datum.value()
                if hasattr(value, "append"):
                    return [str(value.toString(place)) for place in range(value.count())]
                return [str(datum.toString())]
        return []

    def set_text(self, key: str, text: str) -> None:
        """Set a simple value.

        Raises:
            InputError: Exiv2 cannot hold it.
        """
        try:
            self._data[key] = text
        except self._exiv2.Exiv2Error as error:
            raise unreadable(self.name, f"exiv2 cannot write {text[:60]!r}") from error

    def set_items(self, key: str, items: Sequence[str]) -> None:
        """Set an array of texts, of the sort that is there, else unordered; without any it is
        removed.

        Raises:
            InputError: Exiv2 cannot hold one.
        """
        types = self._exiv2.TypeId
        ordered = key in self._data and self._data[key].typeId() == types.xmpSeq
        array = self._exiv2.XmpArrayValue(types.xmpSeq if ordered else types.xmpBag)
        try:
            for item in items:
                array.append(item)
        except self._exiv2.Exiv2Error as error:
            raise unreadable(self.name, f"exiv2 cannot write {key}") from error
        if [array.toString(place) for place in range(array.count())] != list(items):
            raise unreadable(self.name, f"exiv2 cannot write {key}")
        if items:
            self._data[key] = array
        elif key in self._data:
            del self._data[key]

    def add_structure(self, key: str) -> None:
        """Make a structure, unless it is there."""
        if key not in self._data:
            value = self._exiv2.XmpTextValue()
            value.setXmpStruct()
            self._data[key] = value

    def add_bag(self, key: str) -> None:
        """Make an unordered array of structures, unless it is there."""
        if key not in self._data:
            value = self._exiv2.XmpTextValue()
            value.setXmpArrayType(self._exiv2.XmpValue.XmpArrayType.xaBag)
            self._data[key] = value

    def add_extension(self, other: Xmp) -> None:
        """Add the properties of the extension, which the packet then no longer tells of."""
        for datum in other._data:
            self._data.add(self._exiv2.XmpKey(datum.key()), datum.value())
        if EXTENSION in self._data:
            del self._data[EXTENSION]

    def encode(self, *, sidecar: bool) -> bytes:
        """The packet.

        Args:
            sidecar: as the content of a file, not as a part of one.

        Raises:
            InputError: Exiv2 cannot write it.
        """
        flags = _COMPACT | (_BARE if sidecar else 0)
        result, text = self._exiv2.XmpParser.encode(self._data, flags)
        if result != 0:
            raise unreadable(self.name, "its XMP cannot be written by exiv2")
        start = '<?xml version="1.0" encoding="UTF-8"?>\n' if sidecar else ""
        return (start + str(text)).encode()


def require_kept(before: bytes, name: str) -> None:
    """Make sure that Exiv2 keeps every value of a packet; it takes `type=…` for its own syntax.

    Raises:
        InputError: it would lose one.
    """
    text = _text(before, name)
    after = _text(Xmp(before, name).encode(sidecar=False), name)
    lost = leaves(text, name) - leaves(after, name)
    if lost:
        value = next(iter(lost))
        raise unreadable(
            name, f"its XMP holds what exiv2 would not keep ({value[:60]!r}), and stays as it is"
        )


def _text(packet: bytes, name: str) -> str:
    if len(packet) > LONGEST_PACKET:
        raise unreadable(name, f"{len(packet):,} bytes of XMP; at most {LONGEST_PACKET:,} are read")
    encoding = "utf-8-sig"
    if b"\0" in packet[:4]:
        encoding = "utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be"
    try:
        return packet.decode(encoding).strip("\ufeff\0 \t\r\n")
    except UnicodeDecodeError as error:
        raise unreadable(name, "its XMP is no UTF-8") from error


def leaves(text: str, name: str) -> Counter[str]:
    """Every text and attribute of a packet, whatever property it is of, and how often.

    Raises:
        InputError: it is malformed, or hostile.
    """
    found: Counter[str] = Counter()
    if not text:
        return found  # what Exiv2 writes without properties
    reader = _Reader(found, name)
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise unreadable(name, f"its XMP is damaged: {error}") from error
    return found


class _Reader:
    def __init__(self, found: Counter[str], name: str) -> None:
        self._found = found
        self._name = name
        self._depth = 0
        self._elements = 0

    def start(self, _element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _DEEPEST or self._elements > _MOST:
            raise self._hostile("is nested too deeply, or has too many elements")
        for attribute, value in attributes.items():
            if attribute not in _SYNTAX and value.strip():
                self._found[value.strip()] += 1

    def end(self, _element: str) -> None:
        self._depth -= 1

    def text(self, text: str) -> None:
        if text.strip():
            self._found[text.strip()] += 1

    def doctype(self, *_: object) -> None:
        raise self._hostile("declares a document type or entities")

    def _hostile(self, reason: str) -> InputError:
        return unreadable(self._name, f"its XMP {reason}")
