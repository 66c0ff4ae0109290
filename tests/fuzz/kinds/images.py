"""Images of every format, and videos, through the default engine."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image as Pillow

from facerec import Gallery
from facerec.imaging.decode import read_image
from facerec.imaging.portraits import portrait_files
from tests.fuzz.cases import Action, Kind, Seed
from tests.fuzz.mutations import png_checksums

SIDE = 96
_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def portrait(side: int = SIDE) -> Pillow.Image:
    """A face that the detector finds."""
    file = next(iter(portrait_files().values()))
    return Pillow.fromarray(read_image(file, 10**8)).resize((side, side))


def encoded(picture: Pillow.Image, form: str, **options: object) -> bytes:
    target = io.BytesIO()
    if "append_images" in options:
        options["append_images"] = [picture.rotate(90), picture.rotate(180)]
    # A copy: Pillow leaves one format's settings in the image, where the next trips over them.
    picture.copy().save(target, form, **options)
    return target.getvalue()


def _seeds(_: Path) -> Mapping[str, Seed]:
    face = portrait()
    grey, clear = face.convert("L"), face.convert("RGBA")
    clear.putalpha(100)
    wide = Pillow.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": []}
    files = {
        "plain.jpg": encoded(face, "JPEG"),
        "progressive.jpg": encoded(face, "JPEG", progressive=True),
        "grey.jpg": encoded(grey, "JPEG"),
        "cmyk.jpg": encoded(face.convert("CMYK"), "JPEG"),
        "turned.jpg": encoded(face, "JPEG", exif=_EXIF),
        "pages.mpo": encoded(face, "MPO", **frames),
        "plain.gif": encoded(face.convert("P"), "GIF"),
        "moving.gif": encoded(face, "GIF", **frames),
        "plain.bmp": encoded(face, "BMP"),
        "palette.bmp": encoded(face.convert("P"), "BMP"),
        "plain.tif": encoded(face, "TIFF"),
        "lzw.tif": encoded(face, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded(face, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": encoded(face, "TIFF", compression="jpeg"),
        "pages.tif": encoded(face, "TIFF", **frames),
        "wide.tif": encoded(wide, "TIFF"),
        "lossy.webp": encoded(face, "WEBP"),
        "clear.webp": encoded(clear, "WEBP", lossless=True),
        "moving.webp": encoded(face, "WEBP", **frames),
        "plain.ppm": encoded(face, "PPM"),
        "plain.pgm": encoded(grey, "PPM"),
        "text.pgm": b"P2\n2 2\n255\n0 100\n200 255\n",
        "plain.pbm": encoded(face.convert("1"), "PPM"),
        "plain.avif": encoded(face, "AVIF"),
    }
    seeds = {name: Seed(data) for name, data in files.items()}
    for name, picture in (("plain", face), ("clear", clear), ("wide", wide), ("grey", grey),
                          ("palette", face.convert("P"))):  # fmt: skip
        seeds[f"{name}.png"] = Seed(encoded(picture, "PNG"), png_checksums)
    seeds["moving.png"] = Seed(encoded(face, "PNG", **frames), png_checksums)
    seeds |= {name: Seed(data) for name, data in _by_plugins(face).items()}
    return seeds | {name: Seed(data, hostile=True) for name, data in _bombs(files).items()}


def _by_plugins(face: Pillow.Image) -> dict[str, bytes]:
    """Formats that Pillow learns from other packages."""
    made = {}
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        made["plain.heic"] = encoded(face, "HEIF")
    except ImportError:
        pass
    try:
        import pillow_jxl  # noqa: F401

        made["plain.jxl"] = encoded(face, "JXL")
    except ImportError:
        pass
    return made


def _bombs(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Small files that claim to be large."""
    huge = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(3 * 65535 + 1), 9)

    def png(*chunks: tuple[bytes, bytes]) -> bytes:
        parts = [b"\x89PNG\r\n\x1a\n"]
        for kind, content in chunks:
            check = struct.pack(">I", zlib.crc32(kind + content))
            parts.append(struct.pack(">I", len(content)) + kind + content + check)
        return b"".join(parts)

    fits = struct.pack(">IIBBBBB", 96, 96, 8, 2, 0, 0, 0)
    text = b"zTXt", b"key\0\0" + zlib.compress(bytes(300_000_000), 9)
    jpeg = bytearray(files["plain.jpg"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    scans = files["progressive.jpg"]
    first = scans.index(b"\xff\xda")
    tiff = (
        b"II*\0\x08\0\0\0\x08\0"
        + b"".join(
            struct.pack("<HHII", tag, 4, 1, value)
            for tag, value in ((256, 65535), (257, 65535), (258, 8), (259, 1), (262, 1), (273, 8),
                               (278, 65535), (279, 0xFFFFFFF0))
        )
        + bytes(4)
    )  # fmt: skip
    return {
        "bomb.png": png((b"IHDR", huge), (b"IDAT", row), (b"IEND", b"")),
        "text.png": png((b"IHDR", fits), text, (b"IDAT", row), (b"IEND", b"")),
        "overfull.png": png(
            (b"IHDR", fits), (b"IDAT", zlib.compress(bytes(300_000_000), 9)), (b"IEND", b"")
        ),
        "bomb.jpg": bytes(jpeg),
        "scans.jpg": scans[:-2] + scans[first:-2] * 5000 + b"\xff\xd9",
        "bomb.tif": tiff,
        "bomb.gif": b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
        "bomb.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 65535, -65535, 1, 24, 0, 0, 0, 0, 0, 0),
        "bomb.ppm": b"P6 99999 99999 255\n\0\0\0",
        "wide.ppm": b"P6 9999999999 1 255\n\0\0\0",
        "empty.jpg": b"",
        "html.jpg": b"<!doctype html><title>Not found</title>",
    }  # fmt: skip


def _act(path: Path, dice: Random) -> Action:
    choice = dice.randrange(10)
    if choice == 0:
        return ["compare", path.name, path.name, "--aligned"]
    if choice == 1:
        return ["detect", path.name, "--save", "out", "--json"]
    if choice == 2:
        return ["embed", path.name, "--name", "a", "-o", "g.h5"]
    return ["detect", path.name, "--json"]


def _videos(folder: Path) -> Mapping[str, Seed]:
    import av

    pictures = [np.asarray(portrait(96).rotate(turn)) for turn in (0, 5, 10, 15, 10, 5, 0, 5)]
    made = {}
    for name, codec in (("a.mp4", "mpeg4"), ("a.avi", "mjpeg"), ("a.webm", "libvpx"),
                        ("a.mkv", "mpeg4"), ("h.mp4", "libx264"), ("a.ts", "mpeg2video"),
                        ("a.mov", "mjpeg")):  # fmt: skip
        path = folder / name
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=Fraction(10 if codec != "mpeg2video" else 25))
            stream.width = stream.height = 96
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for picture in pictures:
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                    out.mux(packet)
            for packet in stream.encode():
                out.mux(packet)
        made[name] = Seed(path.read_bytes())
    jpegs = [encoded(Pillow.fromarray(picture), "JPEG") for picture in pictures]
    made["a.mjpeg"] = Seed(b"".join(jpegs))
    made["photo.mp4"] = Seed(jpegs[0], hostile=True)
    made["empty.mp4"] = Seed(b"", hostile=True)
    playlist = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n"
    made["list.m3u8"] = Seed(playlist + b"#EXT-X-ENDLIST\n", hostile=True)
    made["list.mp4"] = Seed(playlist + b"#EXT-X-ENDLIST\n", hostile=True)
    made["concat.mp4"] = Seed(b"ffconcat version 1.0\nfile /etc/passwd\n", hostile=True)
    return made


def _gallery(folder: Path) -> None:
    from facerec import Engine

    engine = Engine.from_profile("default")
    gallery = Gallery(engine.card)
    image = np.asarray(portrait(160))
    gallery.add("Ada", engine.embed([image])[0][:1], "ada.jpg", "a")
    gallery.save(folder / "g.h5")


def _watch_video(path: Path, dice: Random) -> Action:
    save = ("--save", "out.mp4") if dice.random() < 0.2 else ()
    return ["recognize", "video", path.name, "-g", "g.h5", "--json", "--every-frame", *save]


KINDS = (
    Kind("images", _seeds, _act),
    Kind("videos", _videos, _watch_video, stage=_gallery),
)
