"""Every kind of photo that phones, cameras and data sets have is read, whatever it is called."""

from __future__ import annotations

import io
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from facerec.cli.cleanup_inputs import look_at_people
from facerec.errors import InputError
from facerec.faces import Image
from facerec.imaging import decode
from facerec.imaging.archives import locate, open_source
from facerec.imaging.contents import image_kind
from facerec.imaging.decode import decode_downscaled, decode_image
from facerec.imaging.packaged import jxl_header
from facerec.imaging.sources import find_photos, photo_tree
from facerec.training.data.opening import open_examples
from tests.conftest import ROOT

ENOUGH = 1_000_000
FIELD = ROOT.parent / "shared" / "field"


def scene(width: int = 64, height: int = 48) -> Pillow.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Pillow.fromarray(np.stack([x, y, 255 - (x + y) / 2], axis=2).astype(np.uint8))


def encoded(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif kind == "JXL":
        pytest.importorskip("pillow_jxl")
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def turned(orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def assert_close(pixels: Image, expected: Pillow.Image, tolerance: int) -> None:
    wanted = np.asarray(expected.convert("RGB")).astype(int)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= tolerance


KINDS = {
    ".heic": "HEIF",
    ".avif": "AVIF",
    ".jxl": "JXL",
    ".jp2": "JPEG2000",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".bmp": "BMP",
    ".pgm": "PPM",
}
NEW = ["HEIF", "AVIF", "JXL", "JPEG2000"]


@pytest.mark.parametrize("kind", NEW)
def test_modern_formats_are_read(kind: str) -> None:
    data = encoded(scene(), kind)
    assert image_kind(data[:64]) == kind
    assert_close(decode_image(data, "picture", ENOUGH), scene(), 32)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JXL"])
def test_they_are_upright(kind: str, orientation: int) -> None:
    data = encoded(scene(), kind, exif=turned(orientation))
    sample = Pillow.open(io.BytesIO(encoded(scene(), "PNG", exif=turned(orientation))))
    assert_close(decode_image(data, "picture", ENOUGH), ImageOps.exif_transpose(sample), 32)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_jpeg_that_became_a_jpeg_xl_without_loss_is_upright(
    orientation: int, tmp_path: Path
) -> None:
    pytest.importorskip("pillow_jxl")
    (tmp_path / "1.jpg").write_bytes(encoded(scene(), "JPEG", exif=turned(orientation)))
    with Pillow.open(tmp_path / "1.jpg") as jpeg:
        expected = ImageOps.exif_transpose(jpeg)
        jpeg.save(tmp_path / "1.jxl", lossless_jpeg=True)
    data = (tmp_path / "1.jxl").read_bytes()
    assert_close(decode_image(data, "picture", ENOUGH), expected, 16)


@pytest.mark.parametrize("kind", NEW)
def test_they_are_bounded_in_pixels_before_they_are_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(scene(), kind)

    def decodes(*_: object) -> None:
        raise AssertionError("decoded before the bound was checked")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decodes)
    monkeypatch.setattr(decode, "open_jxl", decodes)
    with pytest.raises(InputError, match="64x48 is 3,072 pixels; at most 3,071"):
        decode_image(data, "picture", 64 * 48 - 1)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (64, 48), (256, 256), (300, 200), (1920, 1080)])
def test_a_jpeg_xls_header_is_read(size: tuple[int, int]) -> None:
    header = jxl_header(encoded(Pillow.new("RGB", size), "JXL"))
    assert (header.width, header.height, header.orientation) == (*size, 1)


@pytest.mark.parametrize("kind", NEW)
def test_their_transparency_is_laid_on_white(kind: str) -> None:
    layer = Pillow.new("RGBA", (16, 16), (0, 0, 0, 0))
    assert decode_image(encoded(layer, kind), "picture", ENOUGH).min() >= 250


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_half_of_one_is_one_line(kind: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = encoded(Pillow.fromarray(noise), kind)
    with pytest.raises(InputError, match=r"^a\.x: [^\n]+$"):
        decode_image(data[: int(len(data) * kept)], "a.x", ENOUGH)


@pytest.mark.parametrize("kind", ["JXL", "WEBP"])
def test_half_of_what_its_decoder_has_no_words_for_is_said_to_be_damaged(kind: str) -> None:
    data = encoded(scene(), kind)
    with pytest.raises(InputError, match=r"^a\.x: is damaged or truncated$"):
        decode_image(data[: len(data) // 2], "a.x", ENOUGH)


def test_half_of_a_heic_is_told_in_words_without_escapes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = encoded(Pillow.fromarray(noise), "HEIF")
    with pytest.raises(InputError, match=r"^a\.x: cannot be decoded: [^\\]+$"):
        decode_image(data[: len(data) // 2], "a.x", ENOUGH)


@pytest.mark.parametrize(
    ("kind", "module", "install"),
    [("HEIF", "pillow_heif", "pillow-heif"), ("JXL", "pillow_jxl", r"facerec\[photos\]")],
)
def test_a_missing_package_is_named(
    kind: str, module: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(scene(), kind)
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"pip install '{install}'"):
        decode_image(data, "picture", ENOUGH)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"8BPS\0\1" + b"\0" * 40, "is a Photoshop file, not JPEG"),
        (b"v/1\x01" + b"\0" * 40, "is an OpenEXR file"),
        (b"%PDF-1.7" + b"\0" * 40, "is a PDF"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 40, "is a video"),
        (b"Rar!\x1a\x07" + b"\0" * 40, "is a RAR archive"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is PostScript"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "is SVG"),
        (b"\n<!DOCTYPE html><html>404", "is a web page"),
        (b"P7\nWIDTH 9\n", "is a PAM or PFM file"),
        (b"\x0a\5\1\x08" + b"\0" * 40, "is a PCX file"),
        (b"\x01\xda\1\1" + b"\0" * 40, "is an SGI file"),
        (b"\0\0\0\x14ftypavif" + b"\0" * 40, "is an AVIF of a sort that is not read, or damaged"),
        (b"II*\0\x08\0\0\0" + b"\0" * 40, "is a TIFF of a sort that is not read, or damaged"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what):
        decode_image(data, "picture", ENOUGH)


AWKWARD = {
    "heic.jpg": "HEIF",
    "jpeg.HEIC": "JPEG",
    "IMG_1234": "JPEG",
    "photo.jpeg_large": "JPEG",
    "photo.JPG~": "JPEG",
    "subject01.happy": "GIF",
    "subject01.sad": "GIF",
    "png.jfif": "PNG",
    "old.DIB": "BMP",
    "mailed.JPG.txt": "JPEG",
    **{f"1{suffix.upper()}": kind for suffix, kind in KINDS.items()},
}


def tree_of_all(root: Path) -> Path:
    for number, (name, kind) in enumerate(AWKWARD.items()):
        path = root / f"person{number % 2}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = scene().convert("L") if name.endswith("PGM") else scene()
        path.write_bytes(encoded(picture, kind))
    for name in (
        "notes.txt",
        "README",
        "Thumbs.db",
        "clip.MOV",
        "IMG_1.AAE",
        "x.json",
        "raw.dat",
        "1.jpg.json",
        "2.jpg.txt",
    ):
        (root / "person0" / name).write_bytes(b"no photo")
    return root


def as_folder(root: Path) -> str:
    return str(root)


def as_tar(root: Path) -> str:
    return shutil.make_archive(str(root), "gztar", root)


def as_zip(root: Path) -> str:
    return shutil.make_archive(str(root), "zip", root)


@pytest.fixture(scope="module", params=[as_folder, as_tar, as_zip])
def awkward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    pack: Callable[[Path], str] = request.param
    return pack(tree_of_all(tmp_path_factory.mktemp("all") / "tree"))


EXPECTED = sorted(f"person{number % 2}/{name}" for number, name in enumerate(AWKWARD))


def test_every_format_under_any_name_is_found_and_read(awkward: str) -> None:
    photos = list(find_photos([awkward]))
    assert [photo.key for photo in photos] == EXPECTED
    for photo in photos:
        assert decode_image(photo.read(), photo.name, ENOUGH).shape == (48, 64, 3)


def test_alignment_training_and_evaluation_see_the_same(awkward: str) -> None:
    assert list(photo_tree(awkward)) == EXPECTED
    examples = open_examples(awkward)
    assert sorted(examples.name(i).removeprefix(f"{awkward}/") for i in range(len(EXPECTED))) == (
        EXPECTED
    )
    for index in range(len(EXPECTED)):
        assert examples.image(index).shape == (48, 64, 3)
    found = locate(open_source(awkward), EXPECTED)
    assert {key for key, file in found.items() if key == file} >= {
        key for key in EXPECTED if ".J" not in key
    }
    assert list(found) == EXPECTED


def test_a_cleanup_sees_them_too(engine, tmp_path: Path) -> None:
    from facerec import Profile

    root = tree_of_all(tmp_path / "tree")
    (root / "person0" / "poster.psd").write_bytes(b"8BPS" + b"\0" * 60)
    seen, _, _ = look_at_people(root, tmp_path / "r", Profile.load(), aligned=False, pile=False)
    assert sorted(seen.file) == sorted([*EXPECTED, "person0/poster.psd"])
    faces = dict(zip(seen.file, (facts.faces for facts in seen.facts), strict=True))
    assert faces.pop("person0/poster.psd") == -1
    assert set(faces.values()) == {0}


def test_yales_names_are_told_apart(tmp_path: Path) -> None:
    for name in ("subject01.happy", "subject01.sad", "subject02.happy.gif"):
        (tmp_path / name).write_bytes(encoded(scene(), "GIF"))
    keys = ["subject01.sad", "subject01.happy", "subject02.happy"]
    assert list(locate(open_source(tmp_path), keys).values()) == [*keys[:2], f"{keys[2]}.gif"]


def test_a_pipe_among_photos_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "1.png").write_bytes(encoded(scene(), "PNG"))
    assert [photo.key for photo in find_photos([tmp_path])] == ["1.png"]


# A camera's raw file


def dng(preview: bytes | None, orientation: int, side: int = 64) -> bytes:
    """A minimal DNG: an RGGB mosaic of one colour, and a JPEG preview."""
    mosaic = np.zeros((side, side), "<u2")
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = 60000, 10000
    mosaic[0::2, 1::2] = mosaic[1::2, 0::2] = 20000
    body = bytearray(b"II*\0\0\0\0\0")

    def put(data: bytes) -> int:
        place = len(body)
        body.extend(data + b"\0" * (len(data) % 2))
        return place

    def directory(entries: dict[int, tuple[int, int, bytes]]) -> int:
        packed = []
        for tag, (kind, count, value) in sorted(entries.items()):
            place = struct.pack("<I", put(value)) if len(value) > 4 else value.ljust(4, b"\0")
            packed.append(struct.pack("<HHI", tag, kind, count) + place)
        return put(struct.pack("<H", len(packed)) + b"".join(packed) + b"\0" * 4)

    def short(*values: int) -> tuple[int, int, bytes]:
        return 3, len(values), struct.pack(f"<{len(values)}H", *values)

    def long(value: int) -> tuple[int, int, bytes]:
        return 4, 1, struct.pack("<I", value)

    def text(value: bytes) -> tuple[int, int, bytes]:
        return 2, len(value) + 1, value + b"\0"

    def rational(*values: int) -> tuple[int, int, bytes]:
        pairs = [part for value in values for part in (value, 10000)]
        return 10, len(values), struct.pack(f"<{len(pairs)}i", *pairs)

    raw = {
        0xFE: long(0), 0x100: long(side), 0x101: long(side), 0x102: short(16), 0x103: short(1),
        0x106: short(32803), 0x111: long(put(mosaic.tobytes())), 0x115: short(1),
        0x116: long(side), 0x117: long(mosaic.nbytes), 0x828D: short(2, 2),
        0x828E: (1, 4, bytes([0, 1, 1, 2])), 0xC61D: long(65535),
    }  # fmt: skip
    shared = {
        0x10F: text(b"Maker"), 0x110: text(b"Camera"), 0x112: short(orientation),
        0xC612: (1, 4, bytes([1, 4, 0, 0])), 0xC614: text(b"Maker Camera"),
        0xC621: rational(10000, 0, 0, 0, 10000, 0, 0, 0, 10000),
        0xC628: (5, 3, struct.pack("<6I", 1, 1, 1, 1, 1, 1)), 0xC65A: short(21),
    }  # fmt: skip
    if preview is None:
        first = directory({**raw, **shared})
    else:
        with Pillow.open(io.BytesIO(preview)) as opened:
            width, height = opened.size
        inner = directory(raw)
        first = directory({
            **shared, 0xFE: long(1), 0x100: long(width), 0x101: long(height),
            0x102: short(8, 8, 8), 0x103: short(7), 0x106: short(6),
            0x111: long(put(preview)), 0x115: short(3), 0x116: long(height),
            0x117: long(len(preview)), 0x14A: long(inner),
        })  # fmt: skip
    struct.pack_into("<I", body, 4, first)
    return bytes(body)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_preview_of_a_raw_file_is_read_upright(orientation: int) -> None:
    pytest.importorskip("rawpy")
    data = dng(encoded(scene(), "JPEG", quality=95), orientation)
    sample = Pillow.open(io.BytesIO(encoded(scene(), "PNG", exif=turned(orientation))))
    for name in ("1.DNG", "1.nef", "1.tif"):
        pixels = decode_image(data, name, ENOUGH)
        assert_close(pixels, ImageOps.exif_transpose(sample), 16)


@pytest.mark.parametrize("preview", [None, encoded(scene(16, 12), "JPEG")])
def test_a_raw_file_without_a_preview_of_use_is_developed(preview: bytes | None) -> None:
    pytest.importorskip("rawpy")
    pixels = decode_image(dng(preview, 1), "1.dng", ENOUGH)
    assert pixels.shape == (32, 32, 3)
    assert pixels[16, 16, 0] == 255


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["1.dng", "1.tif"])
def test_the_header_of_a_developed_raw_file_says_its_orientation(
    name: str, orientation: int
) -> None:
    pytest.importorskip("rawpy")
    thumbnail = encoded(scene(16, 12), "JPEG")
    data = dng(thumbnail, orientation)
    upright = decode_image(dng(thumbnail, 1), name, ENOUGH)
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    assert np.array_equal(decode_image(data, name, ENOUGH), np.rot90(upright, turns))
    header = decode.read_header(data, name)
    assert (header.width, header.height, header.orientation) == (32, 32, orientation)


def test_a_raw_file_is_bounded_in_pixels() -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(InputError, match="64x64"):
        decode_image(dng(None, 1), "1.dng", 1000)


def test_a_damaged_raw_file_is_one_line() -> None:
    pytest.importorskip("rawpy")
    for data in (b"junk" * 30, dng(None, 1)[:300], b"II*\0" + b"\0" * 90):
        with pytest.raises(InputError, match=r"^1\.dng: [^\n]+$"):
            decode_image(data, "1.dng", ENOUGH)


def test_without_rawpy_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(InputError, match=r"pip install 'facerec\[raw\]'"):
        decode_image(dng(None, 1), "1.dng", ENOUGH)


# A JPEG's end


def noisy(mode: str = "RGB", **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (160, 128, 3), np.uint8)
    return encoded(Pillow.fromarray(noise).convert(mode), "JPEG", **options)


PATHS = [
    (hush, factor) for hush in (True, False) for factor in (1, 2, 8)
]  # by OpenCV or by Pillow, whole or downscaled


@pytest.mark.parametrize(("hush", "factor"), PATHS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_that_lacks_only_its_end_marker_is_whole(
    hush: bool, factor: int, mode: str, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hush:
        monkeypatch.setattr(decode, "can_hush", lambda: False)

    def read(data: bytes) -> Image:
        return decode_downscaled(data, "a.jpg", ENOUGH, lambda *_: factor)[0]

    data = noisy(mode, **options)
    for spoilt in (data[:-2], data[:-1], data[:-2] + b"\0" * 512, data + b"trailer!"):
        np.testing.assert_array_equal(read(spoilt), read(data))


@pytest.mark.parametrize(("hush", "factor"), PATHS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_half_of_a_jpeg_is_refused_with_an_end_marker_and_without(
    hush: bool, factor: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hush:
        monkeypatch.setattr(decode, "can_hush", lambda: False)
    data = noisy(mode)
    half = data[: len(data) // 2]
    for spoilt in (half, half + b"\xff\xd9", half + b"trailer!\xff\xd9", half + b"\0" * 99):
        with pytest.raises(InputError, match=r"a\.jpg: is truncated"):
            decode_downscaled(spoilt, "a.jpg", ENOUGH, lambda *_: factor)


def test_a_grey_corner_is_not_taken_for_missing_data() -> None:
    grey = encoded(Pillow.new("RGB", (64, 64), (128, 128, 128)), "JPEG")
    assert set(np.unique(decode_image(grey, "a.jpg", ENOUGH))) <= {127, 128, 129}


@pytest.mark.parametrize(
    ("name", "whole"),
    [("noeoi", True), ("trailer", True), ("half", False), ("half_then_trailer_with_eoi", False)],
)
def test_jpegs_of_the_field_are_read_whole_or_named(name: str, whole: bool) -> None:
    path = FIELD / "jpeg-ends" / f"{name}.jpg"
    if not path.is_file():
        pytest.skip(f"no {path}")
    if whole:
        assert decode.read_image(path).shape == (600, 480, 3)
    else:
        with pytest.raises(InputError, match="truncated"):
            decode.read_image(path)


def test_a_photo_that_is_in_icloud_alone_is_named(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/1.jpg").write_bytes(encoded(scene(), "JPEG"))
    for name in (".IMG_2.HEIC.icloud", ".notes.txt.icloud"):
        (tmp_path / "ann" / name).write_bytes(b"bplist00")
    waiting, there = find_photos([tmp_path])
    assert there.key == "ann/1.jpg"
    with pytest.raises(InputError, match=r"IMG_2\.HEIC\.icloud: is in iCloud alone"):
        waiting.read()


SYSTEM = """
    @Recycle .Trash-1000 .AppleDouble .dtrash .picasaoriginals .stversions .recycle ~snapshot
    FOUND.000 LOST.DIR RECYCLED _gsdata_ @SynoResource .DocumentRevisions-V100
"""


@pytest.mark.parametrize("folder", SYSTEM.split())
@pytest.mark.parametrize("listed", [True, False])
def test_what_systems_keep_is_nobodys_photo(tmp_path: Path, folder: str, listed: bool) -> None:
    for name in ("ann/1.jpg", f"{folder}/2.jpg", f"ann/{folder}/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(scene(), "JPEG"))
    lines = "".join(f"{path}\n" for path in tmp_path.rglob("*.jpg"))
    found = find_photos(["-" if listed else tmp_path], stdin=io.BytesIO(lines.encode()))
    assert [Path(photo.name).relative_to(tmp_path).as_posix() for photo in found] == ["ann/1.jpg"]
