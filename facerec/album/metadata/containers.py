"""The XMP packet of an image file: taken out of it, and put into it with all else bit for bit.

JPEG (ISO 10918-1, XMP specification part 3) and PNG are spliced: every byte but the packet's own
segment stays. Exiv2 rewrites WebP and TIFF. It can write no HEIC, AVIF or JPEG XL, and a camera's
raw file is nobody's to write: there a sidecar is, and packets are only read.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from PIL import Image as Pillow
from PIL import ImageSequence

from facerec.album.metadata.xmp import LONGEST_PACKET, load_exiv2
from facerec.files.hush import hushed
from facerec.imaging.contents import START, TIFF, image_kind
from facerec.imaging.names import has_raw_suffix
from facerec.imaging.packaged import jxl_boxes
from facerec.imaging.photos import unreadable
from facerec.imaging.quiet import quiet_pillow

T = TypeVar("T")

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_GUID = 32
_JPEG_EXIF = b"Exif\0\0"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_MULTI_PICTURE = b"MPF\0"
_APP0, _APP1, _APP2 = 0xE0, 0xE1, 0xE2
_LONGEST_SEGMENT = 0xFFFF - 2
_KEYWORDS = "Iptc.Application2.Keywords"
_XMP_TAG, _DNG_VERSION = 700, 0xC612

EMBEDDABLE = ("JPEG", "PNG", "WEBP", TIFF)


def embeddable(data: bytes, name: str) -> str | None:
    """The kind of an image file that a packet can be put into; None: of another kind."""
    kind = image_kind(data[:START])
    if kind == TIFF and (has_raw_suffix(name) or _is_dng(data)):
        return None  # cameras' raw files, but for some, are TIFF
    return kind if kind in EMBEDDABLE else None


def _is_dng(data: bytes) -> bool:
    return bool(_look(data, lambda opened: _DNG_VERSION in getattr(opened, "tag_v2", ())))


def take_packet(data: bytes, name: str) -> bytes | None:
    """The XMP packet of an image file that Pillow does not give; None: there is none.

    Raises:
        InputError: the file is damaged, or its packet is compressed.
    """
    kind = image_kind(data[:START])
    try:
        if kind == "JPEG":
            for marker, start, end in _segments(data):
                if marker == _APP1 and data.startswith(_JPEG_XMP, start + 4):
                    return data[start + 4 + len(_JPEG_XMP) : end]
            return None
        if kind == "PNG":
            for chunk, start, end in _chunks(data):
                if chunk == b"iTXt" and data.startswith(_PNG_XMP, start + 8):
                    return _png_text(data[start + 8 + len(_PNG_XMP) : end - 4])
            return None
    except (struct.error, IndexError, ValueError, zlib.error) as error:
        raise unreadable(name, "its metadata are damaged") from error
    return _jxl_packet(data, name) if kind == "JXL" else _packet_by_exiv2(data)


def _jxl_packet(data: bytes, name: str) -> bytes | None:
    for kind, start, end in jxl_boxes(data):
        if kind == b"xml ":
            return data[start:end]
        if kind == b"brob" and data.startswith(b"xml ", start):
            raise unreadable(name, "its XMP is compressed (Brotli), and not read")
    return None


def _opened_by_exiv2(data: bytes) -> Any:
    """An image file with its metadata read, of which they are parts; raises Exiv2Error."""
    image = load_exiv2().ImageFactory.open(data)
    image.readMetadata()
    return image


def _packet_by_exiv2(data: bytes) -> bytes | None:
    """The packet of a camera's raw file or a JPEG 2000, which Exiv2 writes anew; that of a TIFF is
    taken as it is."""
    packet = _look(data, lambda opened: getattr(opened, "tag_v2", {}).get(_XMP_TAG))
    if isinstance(packet, bytes):
        return packet
    exiv2 = load_exiv2()
    try:
        image = _opened_by_exiv2(data)
        return str(image.xmpPacket()).encode() or None
    except exiv2.Exiv2Error:
        return None


def take_extension(data: bytes, guid: str, name: str) -> bytes | None:
    """The part of a JPEG's XMP that did not fit into its packet (XMP specification part 3, section
    1.1.3.1); None: there is none, as when a program has left it out.

    Args:
        guid: what the packet calls it.

    Raises:
        InputError: the file is damaged, or a part of the extension is missing.
    """
    start = EXTENDED + guid.encode()
    parts: dict[int, bytes] = {}
    whole = 0
    try:
        for marker, begin, end in _segments(data) if len(guid) == _GUID else ():
            if marker == _APP1 and data.startswith(start, begin + 4):
                place = begin + 4 + len(start)
                whole, offset = struct.unpack_from(">II", data, place)
                parts[offset] = data[place + 8 : end]
    except (struct.error, IndexError) as error:
        raise unreadable(name, "its metadata are damaged") from error
    extension = bytearray()
    for offset, part in sorted(parts.items()):
        if offset != len(extension):
            break
        extension += part
    if len(extension) != whole:
        raise unreadable(name, "its extended XMP is damaged")
    return bytes(extension) or None


def exif_orientation(data: bytes) -> int:
    """EXIF orientation as it is written, which some decoders overrule; 1 without one."""
    exiv2 = load_exiv2()
    try:
        image = _opened_by_exiv2(data)
        exif = image.exifData()
        key = "Exif.Image.Orientation"
        value = exif[key].toInt64() if key in exif else 1
    except exiv2.Exiv2Error:
        return 1
    return value if 1 <= value <= 8 else 1


def iim_keywords(data: bytes) -> list[str]:
    """The keywords of an image file's IPTC-IIM (2:25), as readers show them that find none in XMP.

    In UTF-8, as its coded character set (1:90) says or leaves open, else in Windows' Latin 1.
    """
    exiv2 = load_exiv2()
    try:
        image = _opened_by_exiv2(data)
        iptc = image.iptcData()
    except exiv2.Exiv2Error:
        return []
    found = [bytes(one.value().data()) for one in iptc if one.key() == _KEYWORDS]
    return list(dict.fromkeys(_read_iim(text) for text in found))


def _read_iim(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def put_packet(data: bytes, packet: bytes, name: str) -> bytes:
    """An image file with another XMP packet.

    Args:
        data: the whole file, of an `embeddable` kind.
        packet: the new one.
        name: what an error calls the file.

    Raises:
        InputError: the file is damaged, or the packet too long for its kind.
    """
    kind = image_kind(data[:START])
    try:
        if kind == "JPEG":
            return _into_jpeg(data, packet, name)
        if kind == "PNG":
            return _into_png(data, packet)
    except (struct.error, IndexError) as error:
        raise unreadable(name, "is damaged, and stays as it is") from error
    return _by_exiv2(data, packet, name)


def _into_jpeg(data: bytes, packet: bytes, name: str) -> bytes:
    content = _JPEG_XMP + packet
    if len(content) > _LONGEST_SEGMENT:
        raise unreadable(
            name, f"{len(packet):,} bytes of XMP are too many for a JPEG; use --xmp sidecar"
        )
    segment = struct.pack(">BBH", 0xFF, _APP1, len(content) + 2) + content
    place = 2
    for marker, start, end in _segments(data):
        if marker == _APP2 and data.startswith(_MULTI_PICTURE, start + 4):
            # It says how far behind it the other pictures lie (CIPA DC-007): nothing between them
            # may change its length. Usually it is the last segment.
            break
        if marker == _APP1 and data.startswith(_JPEG_XMP, start + 4):
            return data[:start] + segment + data[end:]
        if marker == _APP0 or (marker == _APP1 and data.startswith(_JPEG_EXIF, start + 4)):
            # Exif and JFIF ask to come first.
            place = end
    if take_packet(data, name) is not None:
        raise unreadable(name, "its XMP lies among its pictures; use --xmp sidecar")
    return data[:place] + segment + data[place:]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment before the first scan."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise IndexError("no marker where one must be")
        while data[place + 1] == 0xFF:
            place += 1  # fill bytes
        marker = data[place + 1]
        if marker in (0xDA, 0xD9):
            return
        (length,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + length
        if length < 2 or end > len(data):
            raise IndexError("a segment reaches beyond the file")
        yield marker, place, end
        place = end


def _into_png(data: bytes, packet: bytes) -> bytes:
    content = _PNG_XMP + b"\0\0\0\0" + packet
    chunk = struct.pack(">I", len(content)) + b"iTXt" + content
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    place: int | None = None
    for kind, start, end in _chunks(data):
        if kind == b"iTXt" and data.startswith(_PNG_XMP, start + 8):
            return data[:start] + chunk + data[end:]
        if kind == b"IDAT" and place is None:
            place = start
    if place is None:
        raise IndexError("a PNG without pixels")
    return data[:place] + chunk + data[place:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk of a PNG."""
    place = 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, place, place + 12 + length
        if kind == b"IEND":
            return
        place += 12 + length


def _png_text(content: bytes) -> bytes:
    """The text of an `iTXt` chunk, behind its keyword (PNG 1.2, section 4.2.3.3)."""
    compressed = content[0]
    _language, _translated, text = content[2:].split(b"\0", 2)
    if not compressed:
        return text
    return zlib.decompressobj().decompress(text, LONGEST_PACKET + 1)


def _by_exiv2(data: bytes, packet: bytes, name: str) -> bytes:
    exiv2 = load_exiv2()
    try:
        image = _opened_by_exiv2(data)
        image.setXmpPacket(packet.decode())
        image.writeXmpFromPacket(True)
        image.writeMetadata()
        stream = image.io()
        stream.open()
        written = bytes(memoryview(stream.mmap()))
    except exiv2.Exiv2Error as error:
        raise unreadable(name, f"cannot be written: {error.args[-1]}; use --xmp sidecar") from error
    before = _pixels(data)
    if before is None or before != _pixels(written):
        raise unreadable(name, "may not keep its pixels, and stays as it is; use --xmp sidecar")
    return written


def _pixels(data: bytes) -> list[str] | None:
    """A hash of each picture in a file; None if it cannot be decoded."""
    return _look(
        data,
        lambda opened: [
            hashlib.sha256(picture.tobytes()).hexdigest()
            for picture in ImageSequence.Iterator(opened)
        ],
    )


def _look(data: bytes, function: Callable[[Pillow.Image], T]) -> T | None:
    """What a function says of an opened image file; None if that cannot be decoded."""
    try:
        with quiet_pillow(), hushed(), Pillow.open(io.BytesIO(data)) as opened:
            return function(opened)
    except Exception:  # noqa: BLE001  (whatever Pillow raises on hostile bytes)
        return None
