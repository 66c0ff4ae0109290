"""Which files are videos, by their first bytes."""

from __future__ import annotations

from facerec.imaging.contents import START, image_kind

LENGTH = 1024
"""Bytes that tell."""
_VIDEOS = (
    b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\x01\xba",
    b"\0\0\x01\xb3", b".RMF", b"\0\0\0\x01\x67", b"\0\0\0\x01\x27", b"\0\0\0\x01\x40\x01",
    b"\0\0\x01\x67", b"\0\0\x01\x27", b"\0\0\0\x01\x09", b"\0\0\x01\x09", b"YUV4MPEG2", b"DKIF",
)  # fmt: skip
"""Matroska, Flash, Ogg, ASF, MPEG program stream and video, RealMedia, H.264 and H.265 with their
start codes, YUV4MPEG2, IVF."""
_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip")
_TS_PACKETS = (188, 192, 204)


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is a video."""
    if head[4:8] in _BOXES:
        return image_kind(head[:START]) is None
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return head.startswith(_VIDEOS) or any(_is_transport_stream(head, n) for n in _TS_PACKETS)


def _is_transport_stream(head: bytes, packet: int) -> bool:
    first = packet - 188 if packet == 192 else 0
    marks = head[first : first + 3 * packet + 1 : packet]
    return len(marks) == 4 and set(marks) == {0x47}
