"""What a file is by its first bytes: phones, browsers and chats give photos wrong names."""

from __future__ import annotations

import re

START = 64
"""Bytes of a file that tell its kind."""

TAR_START = 512
"""Bytes of a file that tell whether it is a tar."""

TIFF = "TIFF"
RAW = "RAW"

# By the decoder that opens them. `FF 0A` is followed by a codestream, seldom by text.
_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    # Canon, Fujifilm, Olympus and Panasonic mark theirs; other cameras write a plain TIFF.
    (RAW, re.compile(rb"II\*\0....CR|FUJIFILMCCD-RAW|II(RO|RS|U\0)|MMOR", re.DOTALL)),
    (TIFF, re.compile(rb"(II[*+]\0|MM\0[*+])")),
    ("BMP", re.compile(rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("PPM", re.compile(rb"P[1-6]\s|P[1-6]#")),
    ("JPEG2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    ("JXL", re.compile(rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a")),
)
# ISO base media: the major brand and the compatible ones. An AVIF may call itself `mif1`.
_BRANDS = (
    (RAW, frozenset({b"crx "})),
    ("AVIF", frozenset({b"avif", b"avis"})),
    (
        "HEIF",
        frozenset(
            {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
             b"mif1", b"mif2", b"msf1", b"heif"}
        ),
    ),
)  # fmt: skip
_UNREAD = (
    ("a Photoshop file", re.compile(rb"8BPS")),
    ("a GIMP file", re.compile(rb"gimp xcf")),
    ("an OpenEXR file", re.compile(rb"v/1\x01")),
    ("a Radiance file", re.compile(rb"#\?(RADIANCE|RGBE)")),
    ("a JPEG XR file", re.compile(rb"II\xbc")),
    ("a BPG file", re.compile(rb"BPG\xfb")),
    ("a FLIF file", re.compile(rb"FLIF")),
    ("a QOI file", re.compile(rb"qoif")),
    ("a DDS file", re.compile(rb"DDS ")),
    ("a PCX file", re.compile(rb"\x0a[\0\2-\5]\x01[\1\2\4\x08]")),
    ("a PAM or PFM file", re.compile(rb"P7\n|P[Ff]\s")),
    ("a Sun raster file", re.compile(rb"\x59\xa6\x6a\x95")),
    ("an SGI file", re.compile(rb"\x01\xda[\0\1][\1\2]")),
    ("a DPX or Cineon file", re.compile(rb"SDPX|XPDS|\x80\x2a\x5f\xd7")),
    ("a DjVu file", re.compile(rb"AT&TFORM")),
)
_OTHER = (
    ("a 7z archive", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    ("a RAR archive", re.compile(rb"Rar!\x1a\x07")),
    ("a zip", re.compile(rb"PK\x03\x04")),
    ("a Zstandard file", re.compile(rb"\x28\xb5\x2f\xfd")),
    ("a PDF", re.compile(rb"%PDF-")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("SVG, a drawing", re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<svg", re.IGNORECASE)),
    ("a web page", re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)", re.IGNORECASE)),
    ("XML", re.compile(rb"(\xef\xbb\xbf)?<\?xml")),
)

_PACKED = (
    ("a tar", re.compile(rb".{257}ustar", re.DOTALL)),
    ("a file of gzip", re.compile(rb"\x1f\x8b")),
    ("a file of bzip2", re.compile(rb"BZh[1-9]1AY&SY")),
    ("a file of xz", re.compile(rb"\xfd7zXZ\0")),
)


def image_kind(start: bytes) -> str | None:
    """The kind of image a file is, as Pillow calls it; `RAW` for a camera's; None for none.

    Args:
        start: its first bytes, `START` of them if it has as many.
    """
    if start[4:8] == b"ftyp":
        size = int.from_bytes(start[:4], "big")
        brands = {start[place : place + 4] for place in range(8, min(size, len(start)), 4)}
        return next((kind for kind, known in _BRANDS if brands & known), None)
    return next((kind for kind, marked in _SIGNATURES if marked.match(start)), None)


def unread_image(start: bytes) -> str | None:
    """What sort of image that facerec does not read a file is, in words; None for none."""
    return next((words for words, marked in _UNREAD if marked.match(start)), None)


def describe(start: bytes) -> str | None:
    """What a file is that is no image facerec reads, in words; None if unknown."""
    other = (words for words, marked in _OTHER if marked.match(start))
    return unread_image(start) or next(other, None)


def name_contents(start: bytes) -> str | None:
    """What a file is, images and archives that facerec reads too, in words; None if unknown.

    Args:
        start: its first bytes, `TAR_START` of them if it has as many.
    """
    kind = image_kind(start)
    packed = (words for words, marked in _PACKED if marked.match(start))
    return f"an image ({kind})" if kind else describe(start) or next(packed, None)
