"""Any image file becomes upright RGB, or one clear line."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
import threading
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps, TiffImagePlugin

from facerec.errors import InputError, UsageError
from facerec.faces import Image
from facerec.imaging import decode
from facerec.imaging.decode import decode_image, read_header, read_image

ENOUGH = 1_000_000


def scene(width: int = 64, height: int = 48) -> Pillow.Image:
    """A smooth picture whose corners all differ, so that JPEG keeps it and no turn hides."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Pillow.fromarray(np.stack([x, y, 255 - (x + y) / 2], axis=2).astype(np.uint8))


def encoded(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def decoded(data: bytes) -> Image:
    pixels = decode_image(data, "picture", ENOUGH)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert pixels.shape[2:] == (3,)
    return pixels


def refused(data: bytes, max_pixels: int = ENOUGH) -> str:
    with pytest.raises(InputError) as caught:
        decode_image(data, "picture", max_pixels)
    line = str(caught.value)
    assert line.startswith("picture: ")
    assert "\n" not in line
    return line


def assert_close(pixels: Image, expected: Pillow.Image | Image, tolerance: int) -> None:
    wanted = np.asarray(expected).astype(int)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= tolerance


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


LOSSLESS = ["PNG", "TIFF", "BMP", "PPM", "WEBP"]


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_file_gives_back_its_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_close(decoded(encoded(scene(), kind, **options)), scene(), 0)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_file_gives_nearly_its_pixels(kind: str) -> None:
    assert_close(decoded(encoded(scene(), kind, quality=95)), scene(), 12)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS, "GIF"])
def test_a_picture_may_be_one_pixel_wide(kind: str, size: tuple[int, int]) -> None:
    assert decoded(encoded(scene(*size), kind)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(), kind, exif=exif)
    with Pillow.open(io.BytesIO(data)) as picture:
        expected = ImageOps.exif_transpose(picture).convert("RGB")
    assert_close(decoded(data), expected, 4)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_impossible_orientation_is_ignored(orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    assert decoded(encoded(scene(), "JPEG", exif=exif)).shape == (48, 64, 3)


def test_damaged_exif_does_not_spoil_the_picture() -> None:
    junk = b"Exif\0\0II*\0\xff\xff\xff\x7fjunk"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(encoded(scene(), "JPEG", exif=junk)).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_header_says_the_upright_size(kind: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(), kind, exif=exif.tobytes())
    header = read_header(data, "picture")
    assert (header.height, header.width) == decoded(data).shape[:2]
    assert header.orientation == orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_icc_profile_is_ignored(kind: str) -> None:
    plain = decoded(encoded(scene(), kind))
    assert_close(decoded(encoded(scene(), kind, icc_profile=b"not a profile")), plain, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_grey_is_repeated_over_the_channels(kind: str) -> None:
    grey = scene().convert("L")
    assert_close(decoded(encoded(grey, kind)), grey.convert("RGB"), 3)


def test_black_and_white_becomes_0_and_255() -> None:
    assert set(np.unique(decoded(encoded(scene().convert("1"), "PNG")))) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    see_through = Pillow.new("RGBA", (2, 1))
    see_through.putpixel((0, 0), (10, 20, 30, 255))
    see_through.putpixel((1, 0), (0, 0, 0, 0))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert decoded(encoded(see_through, kind, **options)).tolist() == [
        [[10, 20, 30], [255, 255, 255]]
    ]


def test_half_transparent_black_on_white_is_mid_grey() -> None:
    pixels = decoded(encoded(Pillow.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG"))
    assert pixels.tolist() == [[[127, 127, 127]]]


def bmp_with_alpha(pixels: np.ndarray) -> bytes:
    """A BMP with a header that names where alpha lies (BITMAPV4HEADER).

    Args:
        pixels: `(H, W, 4) uint8` RGBA.
    """
    height, width = pixels.shape[:2]
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    sizes = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, pixels.nbytes, 0, 0, 0, 0)
    header = sizes + masks + b"BGRs" + bytes(48)
    content = pixels[::-1].tobytes()
    return b"BM" + struct.pack("<IHHI", 122 + len(content), 0, 0, 122) + header + content


@pytest.mark.parametrize(
    ("alphas", "second"), [((0, 0), [10, 20, 30]), ((255, 0), [255, 255, 255])]
)
def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque(
    alphas: tuple[int, int], second: list[int]
) -> None:
    pixels = np.array([[[10, 20, 30, alpha] for alpha in alphas]], np.uint8)
    assert decoded(bmp_with_alpha(pixels)).tolist() == [[[10, 20, 30], second]]


@pytest.mark.parametrize("mode", ["LA", "P", "L"])
def test_transparency_is_found_in_grey_and_palette_pictures(mode: str) -> None:
    picture = Pillow.new(mode, (1, 1))
    options = {} if mode == "LA" else {"transparency": 0}
    assert decoded(encoded(picture, "PNG", **options)).tolist() == [[[255, 255, 255]]]


def test_a_palette_is_looked_up() -> None:
    picture = Pillow.new("P", (2, 1))
    picture.putpalette([1, 2, 3, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    assert decoded(encoded(picture, "PNG")).tolist() == [[[1, 2, 3], [200, 100, 50]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    wide = np.array([[0, 257, 32896, 65535]], np.uint16)
    pixels = decoded(encoded(Pillow.fromarray(wide), kind))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels == pixels[..., :1]).all()


def test_16_bit_colour_is_scaled_and_not_clipped() -> None:
    cv2 = pytest.importorskip("cv2")
    wide = np.array([[[65535, 32896, 257]]], np.uint16)
    done, data = cv2.imencode(".png", wide)
    assert done
    assert decoded(data.tobytes()).tolist() == [[[1, 128, 255]]]


def strip(samples: bytes, compression: str) -> bytes:
    """Bytes as a strip of a TIFF holds them."""
    row = Pillow.frombytes("L", (len(samples), 1), samples)
    data = encoded(row, "TIFF", compression=compression, strip_size=len(samples))
    with Pillow.open(io.BytesIO(data)) as opened:
        (start,), (length,) = (opened.tag_v2[tag] for tag in (273, 279))
    return data[start : start + length]


def tiff(strips: list[bytes], order: str, tags: dict[int, int | tuple[int, ...]]) -> bytes:
    """A TIFF of 64 by 48 pixels. Tags: 258 bits, 259 compression, 262 colours, 277 samples a pixel,
    281 largest sample, 284 planes, 320 palette, 338 extra samples, 339 format."""
    starts = tuple(8 + sum(map(len, strips[:number])) for number in range(len(strips)))
    lengths = tuple(map(len, strips))
    rows = {256: 64, 257: 48, 273: starts, 278: 48, 279: lengths}
    packed, more = b"", b""
    directory = 8 + sum(lengths)
    entries = sorted((rows | tags).items())
    for tag, value in entries:
        values = value if isinstance(value, tuple) else (value,)
        kind, code = (4, "I") if tag in rows else (3, "H")
        content = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(content) > 4:
            place = directory + 6 + 12 * len(entries) + len(more)
            more += content
            content = struct.pack(f"{order}I", place)
        packed += struct.pack(f"{order}HHI4s", tag, kind, len(values), content)
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(f"{order}I", directory)
    count = struct.pack(f"{order}H", len(entries))
    return head + b"".join(strips) + count + packed + b"\0" * 4 + more


COMPRESSIONS = [("raw", 1), ("tiff_lzw", 5), ("tiff_adobe_deflate", 8), ("packbits", 32773)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("compression", "number"), COMPRESSIONS)
def test_planes_that_a_tiff_keeps_apart_are_put_together(
    compression: str, number: int, bits: int, order: str
) -> None:
    wide = np.asarray(scene()).astype(f"{order}u{bits // 8}") * (257 if bits == 16 else 1)
    planes = [np.ascontiguousarray(wide[..., plane]).tobytes() for plane in range(3)]
    tags = {258: (bits,) * 3, 259: number, 262: 2, 277: 3, 284: 2}
    strips = [strip(plane, compression) if number != 1 else plane for plane in planes]
    data = tiff(strips, order, tags)
    assert_close(decoded(data), scene(), 0)
    refused(tiff(strips[:2], order, tags))


@pytest.mark.parametrize(("compression", "number"), COMPRESSIONS)
def test_planes_of_no_known_use_are_passed_over(compression: str, number: int) -> None:
    planes = [*np.moveaxis(np.asarray(scene()), 2, 0), np.zeros((48, 64), np.uint8)]
    strips = [np.ascontiguousarray(plane).tobytes() for plane in planes]
    if number != 1:
        strips = [strip(plane, compression) for plane in strips]
    tags = {258: (8,) * 4, 259: number, 262: 2, 277: 4, 284: 2, 338: 0}
    assert_close(decoded(tiff(strips, "<", tags)), scene(), 0)


@pytest.mark.parametrize("alpha", [1, 2])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize(("compression", "number"), COMPRESSIONS)
def test_grey_with_alpha_in_planes_of_their_own_is_refused(
    compression: str, number: int, colours: int, alpha: int
) -> None:
    strips = [GREY.astype(np.uint8).tobytes(), b"\xff" * GREY.size]
    if number != 1:
        strips = [strip(plane, compression) for plane in strips]
    tags = {258: (8, 8), 259: number, 262: colours, 277: 2, 284: 2, 338: alpha}
    palette = {320: tuple(range(256)) * 3} if colours == 3 else {}
    refused(tiff(strips, "<", tags | palette))


def grey_tiff(grey: np.ndarray, tags: dict[int, int | tuple[int, ...]], order: str = "<") -> bytes:
    samples = np.ascontiguousarray(grey).astype(grey.dtype.newbyteorder(order)).tobytes()
    shared = {258: 8 * grey.itemsize, 259: 1, 262: 1, 277: 1}
    return tiff([samples], order, shared | tags)


GREY = np.asarray(scene())[..., 0].astype(np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize(("compression", "number"), COMPRESSIONS)
def test_a_16_bit_tiff_whose_white_is_0_is_no_negative(
    compression: str, number: int, planes: int, order: str
) -> None:
    samples = (65535 - GREY * 257).astype(f"{order}u2").tobytes()
    if number != 1:
        samples = strip(samples, compression)
    tags = {258: 16, 259: number, 262: 0, 277: 1, 284: planes}
    assert_close(decoded(tiff([samples], order, tags))[..., 0], GREY, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize(("compression", "number"), COMPRESSIONS)
def test_12_bit_grey_is_scaled_to_its_own_white(
    compression: str, number: int, white_is_zero: bool, order: str
) -> None:
    grey = GREY.astype(np.uint32) * 4095 // 255
    first, second = (4095 - grey if white_is_zero else grey).reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1)
    samples = packed.astype(np.uint8).tobytes()
    if number != 1:
        samples = strip(samples, compression)
    tags = {258: 12, 259: number, 262: int(not white_is_zero), 277: 1}
    assert_close(decoded(tiff([samples], order, tags))[..., 0], GREY, 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tags", "sort"),
    [
        ({258: (16, 16), 262: 1, 277: 2, 338: 2}, "16-bit grey with alpha"),
        ({258: (8,) * 3, 262: 2, 277: 3, 339: (2,) * 3}, "8-bit signed RGB"),
        ({258: (32,) * 3, 262: 2, 277: 3}, "32-bit RGB"),
        ({258: (16,) * 3, 262: 2, 277: 3, 339: (3,) * 3}, "16-bit floating-point RGB"),
        ({258: (16,) * 5, 262: 2, 277: 5, 338: (0, 0)}, "16-bit RGB with 2 more samples"),
        ({258: 10, 262: 1, 277: 1}, "10-bit grey"),
        ({258: 14, 262: 0, 277: 1}, "14-bit grey whose white is 0"),
        ({258: 8, 262: 32844, 277: 1}, "8-bit samples of kind 32844"),
    ],
)
def test_a_tiff_of_a_sort_that_is_not_read_is_called_by_it(
    tags: dict[int, int | tuple[int, ...]], sort: str, order: str
) -> None:
    said = refused(tiff([bytes(64 * 48 * 12)], order, {259: 1} | tags))
    assert said.endswith(f"or damaged: {sort}; save it as 8-bit grey or RGB")


def test_opening_a_tiff_leaves_pillow_as_it_was() -> None:
    before = (TiffImagePlugin.OPEN_INFO, TiffImagePlugin.READ_LIBTIFF)
    data = grey_tiff(GREY, {262: 0}, ">")
    decoded(data)
    refused(data[:12] + data[:12])
    assert before == (TiffImagePlugin.OPEN_INFO, TiffImagePlugin.READ_LIBTIFF)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_samples_of_16_are_scaled_to_the_white_that_the_tiff_tells(
    bits: int, order: str
) -> None:
    largest = (1 << bits) - 1
    grey = (GREY.astype(np.uint32) * largest // 255).astype(np.uint16)
    assert_close(decoded(grey_tiff(grey, {281: largest}, order))[..., 0], GREY, 1)


@pytest.mark.parametrize("largest", [60000, 4095])
def test_a_largest_sample_that_is_none_does_not_brighten_a_tiff(largest: int) -> None:
    assert_close(decoded(grey_tiff(GREY * 257, {281: largest}))[..., 0], GREY, 0)


def test_colours_of_12_bits_in_samples_of_16_are_refused() -> None:
    colours = (np.asarray(scene()).astype("<u2") << 4).tobytes()
    tags = {258: (16,) * 3, 259: 1, 262: 2, 277: 3, 281: (4095,) * 3}
    assert "colours of 12 bits in samples of 16" in refused(tiff([colours], "<", tags))


def test_a_png_says_how_many_bits_were_used_but_has_them_all() -> None:
    """Its `sBIT` is for restoring the original samples: those stored are scaled up."""
    data = encoded(Pillow.fromarray(GREY * 257), "PNG")
    used = b"sBIT\x0c"
    chunk = struct.pack(">I", 1) + used + struct.pack(">I", zlib.crc32(used))
    assert_close(decoded(data[:33] + chunk + data[33:])[..., 0], GREY, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_signed_samples_are_refused_by_name(kind: type, order: str) -> None:
    data = grey_tiff((GREY // 2).astype(kind), {339: 2}, order)
    assert "signed samples are not supported" in refused(data)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_samples_are_refused(mode: str) -> None:
    assert "32-bit samples" in refused(encoded(Pillow.new(mode, (2, 2)), "TIFF"))


def ink() -> Pillow.Image:
    """The scene as CMYK with some black in it."""
    cyan, magenta, yellow, _ = scene().convert("CMYK").split()
    black = Pillow.new("L", cyan.size, 40)
    return Pillow.merge("CMYK", (cyan, magenta, yellow, black))


def test_adobe_cmyk_jpeg_is_not_inverted() -> None:
    data = encoded(ink(), "JPEG", quality=95)
    assert b"Adobe" in data
    assert_close(decoded(data), ink().convert("RGB"), 12)


def test_adobe_ycck_jpeg_is_not_inverted() -> None:
    cyan, magenta, yellow, black = ink().split()
    y, cb, cr = Pillow.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    # Pillow inverts what it writes; Adobe stores the luminance of the ink as it is.
    stored = [ImageOps.invert(plane) for plane in (y, cb, cr)]
    data = bytearray(encoded(Pillow.merge("CMYK", (*stored, black)), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = 2
    assert_close(decoded(bytes(data)), ink().convert("RGB"), 12)


def test_cmyk_tiff_is_read() -> None:
    assert_close(decoded(encoded(ink(), "TIFF")), ink().convert("RGB"), 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Pillow.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert_close(decoded(data), frames[0], 0)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 20}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_fast_jpeg_decoder_gives_what_the_slow_one_gives(
    mode: str, options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (67, 131, 3), np.uint8)
    data = encoded(Pillow.fromarray(noise).convert(mode), "JPEG", **options)
    fast = decoded(data)
    monkeypatch.setattr(decode, "can_hush", lambda: False)
    assert_close(decoded(data), fast, 2)


def test_photos_decode_alike_fast_and_slow(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = data / "photos" / "obama2.jpg"
    fast = read_image(photo, 10_000_000)
    monkeypatch.setattr(decode, "can_hush", lambda: False)
    assert_close(read_image(photo, 10_000_000), fast, 2)


def test_every_shared_photo_is_read(data: Path) -> None:
    for photo in sorted((data / "photos").iterdir()):
        with Pillow.open(photo) as picture:
            assert read_image(photo, 10_000_000).shape[:2] == picture.size[::-1]


@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS, "GIF"])
def test_a_file_cut_in_half_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = encoded(Pillow.fromarray(noise), kind)
    refused(data[: len(data) // 2])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("rest", [b"", b"\0" * 5000])
def test_a_jpeg_without_its_end_is_refused(options: dict[str, bool], rest: bytes) -> None:
    data = encoded(scene(640, 480), "JPEG", **options)
    for kept in (0.2, 0.5, 0.9):
        assert "truncated" in refused(data[: int(len(data) * kept)] + rest)


def test_a_whole_thumbnail_does_not_excuse_a_truncated_jpeg() -> None:
    thumbnail = b"Exif\0\0" + encoded(scene(16, 12), "JPEG")
    data = encoded(scene(640, 480), "JPEG", exif=thumbnail)
    assert "truncated" in refused(data[: len(data) // 2])


def test_bytes_after_a_jpeg_are_ignored() -> None:
    data = encoded(scene(), "JPEG")
    assert_close(decoded(data + b"appended by a camera"), decoded(data), 0)


def test_the_first_picture_of_a_multi_picture_file_is_taken() -> None:
    data = encoded(scene(), "MPO", save_all=True, append_images=[Pillow.new("RGB", (64, 48))])
    assert_close(decoded(data), scene(), 12)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(scene(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert "scans" in refused(data[:-2] + data[last:-2] * 1000 + data[-2:])


@pytest.mark.parametrize("size", [(20_000, 15_000), (2**31 - 1, 2**31 - 1)])
def test_a_huge_header_is_refused_before_decoding(size: tuple[int, int]) -> None:
    assert f"{size[0]}x{size[1]}" in refused(png_header(*size), 100_000_000)


@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS, "GIF"])
def test_the_bound_is_the_number_of_pixels(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(), kind)
    decode_image(data, "picture", 64 * 48)

    def decodes(*_: object) -> None:
        raise AssertionError("decoded before the bound was checked")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decodes)
    monkeypatch.setattr(decode, "_decode_jpeg", decodes)
    assert "at most 3,071" in refused(data, 64 * 48 - 1)


def test_a_picture_beyond_pillows_own_bound_is_read_if_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(encoded(scene(), "PNG")).shape == (48, 64, 3)
    assert Pillow.MAX_IMAGE_PIXELS == 100


def test_an_empty_file_says_so() -> None:
    assert "empty" in refused(b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" * 20, "is not an image"),
        (b"<html>" * 50, "is a web page, not JPEG"),
        (b"\xff\xd8\xff", "is a JPEG of a sort that is not read, or damaged"),
        (b"%!PS-Adobe-3.0 EPSF", "is PostScript, not JPEG"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg: no such file$"):
        read_image(tmp_path / "gone.jpg", ENOUGH)


@pytest.mark.parametrize(
    "given",
    [b"\xff\xd8\xff", Pillow.new("RGB", (9, 9)), np.zeros((9, 9, 3), np.uint8), None, 0],
    ids=lambda given: type(given).__name__,
)
def test_what_is_neither_a_photo_nor_a_path_is_refused(given: object) -> None:
    kind = type(given).__name__
    with pytest.raises(UsageError, match=f"a photo is the path of its file, not a {kind}; "):
        read_image(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.jpg", "file:///x.jpg", "s3://a/x.jpg"])
def test_a_url_is_not_read(url: str) -> None:
    with pytest.raises(InputError, match=f"^{url}: is a URL; only files are read here"):
        read_image(url)


def test_a_path_may_be_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.new("RGB", (9, 7)).save(path)
    (entry,) = os.scandir(tmp_path)
    for place in (str(path), path, entry):
        assert read_image(place).shape == (7, 9, 3)  # type: ignore[arg-type]


def test_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path, ENOUGH)


def test_a_device_is_not_read() -> None:
    with pytest.raises(InputError, match="not a regular file"):
        read_image(Path("/dev/zero"), ENOUGH)


def test_a_path_with_a_zero_byte_says_so() -> None:
    with pytest.raises(InputError, match="null"):
        read_image(Path("a\0b"), ENOUGH)


def test_an_unreadable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(scene(), "PNG"))

    def forbid(_: Path) -> bytes:
        # Raised here because chmod does not stop root, as whom containers run tests.
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbid)
    with pytest.raises(InputError, match=r"secret\.png: cannot be read: Permission denied$"):
        read_image(path, ENOUGH)


def test_a_file_too_large_for_any_picture_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="too many for"):
        read_image(path, ENOUGH)


@pytest.mark.parametrize("name", ["two\nlines.jpg", os.fsdecode(b"caf\xe9.jpg"), "\x1b[31m.jpg"])
def test_an_awkward_name_still_gives_one_printable_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name, ENOUGH)
    assert str(caught.value).isprintable()


def broken_jpegs() -> list[bytes]:
    data = encoded(scene(640, 480), "JPEG", quality=95)
    middle = len(data) // 2
    return [data[:middle] + b"\xff\xd9", data[:-2] + b"xxxx" + data[-2:]]


@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS, "GIF"])
def test_nothing_is_printed_about_damage(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(scene(), kind)
    middle = len(data) // 2
    for spoilt in [
        data[:middle],
        data[:middle] + b"\x55\xaa" + data[middle + 2 :],
        *broken_jpegs(),
    ]:
        with suppress(InputError):
            decode_image(spoilt, "picture", ENOUGH)
    assert capfd.readouterr() == ("", "")


def test_decoding_in_threads_stays_silent_and_gives_back_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        for _ in range(20):
            for data in broken_jpegs():
                with suppress(InputError):
                    decode_image(data, "picture", ENOUGH)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capfd.readouterr() == ("", "")

    cv2 = pytest.importorskip("cv2")
    cv2.imdecode(np.frombuffer(broken_jpegs()[0], np.uint8), cv2.IMREAD_COLOR)
    assert "Corrupt JPEG" in capfd.readouterr().err


ORIGINALS = [
    encoded(scene(24, 18), "JPEG"),
    encoded(scene(24, 18), "JPEG", progressive=True),
    encoded(scene(24, 18), "PNG"),
    encoded(scene(24, 18), "WEBP"),
    encoded(scene(24, 18), "GIF"),
    encoded(scene(24, 18), "TIFF", compression="tiff_lzw"),
    encoded(scene(24, 18), "BMP"),
]


@settings(max_examples=300, deadline=None)
@given(
    original=st.sampled_from(ORIGINALS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    kept=st.floats(0, 1),
)
def test_any_damage_gives_a_picture_or_one_line(
    original: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(original)
    for place, value in changes:
        data[int(place * len(data))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = decode_image(bytes(data[: int(len(data) * kept)]), "picture", ENOUGH)
        except InputError as error:
            assert str(error).isprintable()
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3


def test_a_progressive_jpeg_that_ends_after_any_scan_but_the_last_is_truncated() -> None:
    data = encoded(scene(), "JPEG", progressive=True)
    assert_close(decoded(data), scene(), 20)
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    assert len(scans) > 4
    for number, cut in enumerate(scans[1:], start=1):
        # The last scans refine colours and then luma: a name for each end that is blurred.
        with pytest.raises(InputError, match="its end is missing"):
            decode_image(data[:cut] + b"\xff\xd9", f"{number}.jpg")


def _scans(data: bytes) -> tuple[bytes, list[bytes]]:
    """A JPEG's headers, and its scans, each with the tables before it."""
    starts = [found.start() for found in re.finditer(b"\xff\xc4|\xff\xda", data)]
    pieces = [data[one:two] for one, two in zip(starts, [*starts[1:], len(data) - 2], strict=True)]
    scans = [b""]
    for piece in pieces:
        scans[-1] += piece
        if piece.startswith(b"\xff\xda"):
            scans.append(b"")
    return data[: starts[0]], scans[:-1]


def test_a_progressive_jpeg_without_the_scans_of_one_colour_is_truncated() -> None:
    headers, scans = _scans(encoded(scene(), "JPEG", progressive=True))
    components = [scan[scan.index(b"\xff\xda") + 5] for scan in scans]
    assert {1, 2, 3} <= set(components)
    for colour in (2, 3):
        kept = [scan for scan, one in zip(scans, components, strict=True) if one != colour]
        assert "its end is missing" in refused(headers + b"".join(kept) + b"\xff\xd9")
    # Luma's scans alone: what is left when the colours' come last.
    kept = [scan for scan, one in zip(scans, components, strict=True) if one == 1]
    assert "its end is missing" in refused(headers + b"".join(kept) + b"\xff\xd9")


def test_a_progressive_jpeg_that_never_refines_its_colours_is_read() -> None:
    headers, scans = _scans(encoded(scene(), "JPEG", progressive=True))
    starts = [scan.index(b"\xff\xda") for scan in scans]
    # Of a scan of one component: its identifier, and from which bit it refines.
    facts = [
        (scan[start + 5], scan[start + 9] >> 4) for scan, start in zip(scans, starts, strict=True)
    ]
    kept = [scan for scan, (one, bit) in zip(scans, facts, strict=True) if one == 1 or not bit]
    assert len(kept) == len(scans) - 2
    assert_close(decoded(headers + b"".join(kept) + b"\xff\xd9"), scene(), 30)


DC, LUMA = "0 1 2: 0-0, 0, 0;", "0: 1-63, 0, 0;"


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="libjpeg-turbo-progs")
@pytest.mark.parametrize(
    ("script", "whole"),
    [
        (f"{DC} {LUMA} 1: 1-9, 0, 0; 2: 1-9, 0, 0;", True),
        (f"{DC} {LUMA} 1: 1-63, 0, 2; 2: 1-63, 0, 2; 2: 1-63, 2, 1;", True),
        (f"0 1 2: 0-0, 0, 1; 0: 0-0, 1, 0; {LUMA} 1: 1-63, 0, 1; 2: 1-63, 0, 1;", True),
        (f"{DC} 0: 1-20, 0, 0; 1: 1-9, 0, 0; 2: 1-9, 0, 0;", True),
        (f"{DC} {LUMA}", False),
        (f"{DC} 0: 1-63, 0, 1; 1: 1-63, 0, 0; 2: 1-63, 0, 0;", False),
        (DC, False),
    ],
)
def test_what_a_scan_script_leaves_out_is_read_but_not_what_a_cut_leaves(
    script: str, whole: bool, tmp_path: Path
) -> None:
    (tmp_path / "scans.txt").write_text(script)
    command = ["jpegtran", "-scans", str(tmp_path / "scans.txt")]
    baseline = encoded(scene(), "JPEG", quality=95)
    data = subprocess.run(command, input=baseline, capture_output=True, check=True).stdout
    if whole:
        assert_close(decoded(data), scene(), 40)
    else:
        assert "its end is missing" in refused(data)


def test_a_jpeg_of_a_scan_for_each_component_needs_all_three() -> None:
    grey = encoded(scene().convert("L"), "JPEG")
    frame = grey.index(b"\xff\xc0")
    size = grey[frame + 4 : frame + 9]
    tables = grey[frame + 13 : grey.index(b"\xff\xda")]
    content = grey[grey.index(b"\xff\xda") + 7 : -2]
    colours = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    start = grey[:frame] + b"\xff\xc0\0\x11" + size + b"\3" + colours + tables
    scans = [b"\xff\xda\0\x08\1" + bytes([number, 0]) + content for number in (1, 2, 3)]
    assert decoded(start + b"".join(scans) + b"\xff\xd9").shape == (48, 64, 3)
    for count in (1, 2):
        assert "its end is missing" in refused(start + b"".join(scans[:count]) + b"\xff\xd9")
