"""Mutations of files: bytes and text, all from one `random.Random`."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[bytes, Random], bytes]

# What a header's number is replaced by, in every width.
_NUMBERS = (0, 1, -1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40,
            0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # fmt: skip
# What a word of a text is replaced by.
_WORDS = (
    b"", b"0", b"-1", b"1e999", b"nan", b"-inf", b"null", b"true", b"[]", b"{}", b'""', b"~",
    b"99999999999999999999999", b"1" * 5000, b"x" * 5000, b"../../escape", b"/etc/passwd", b"\0",
    b"\xff\xfe", b"\xed\xa0\x80", "\u202e".encode(), b"[/x]", b"%s%n", b"*a", b"&a", b"!!int",
    b"\t",
    b"[" * 3000, b"{" * 3000, b"{a: " * 1500, b"- " * 1500, b"!!python/object/apply:os.system",
    b"'", b'"', b"#", b",", b":", b"\r", b"\x1b[2J",
)  # fmt: skip
_WORD = re.compile(rb"[^\s,:\[\]{}\"]+")
_MOST_BYTES = 1 << 22


def flip_bits(data: bytes, dice: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 2, 8, 64))):
        changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncate(data: bytes, dice: Random) -> bytes:
    return data[: dice.randrange(len(data))]


def set_block(data: bytes, dice: Random) -> bytes:
    """A block of zeros, ones, or random bytes."""
    start, end = _block(data, dice)
    fill = dice.choice(
        (b"\0" * (end - start), b"\xff" * (end - start), dice.randbytes(end - start))
    )
    return data[:start] + fill + data[end:]


def repeat_block(data: bytes, dice: Random) -> bytes:
    start, end = _block(data, dice)
    times = dice.choice((2, 2, 3, 100))
    return (data[:start] + data[start:end] * times + data[end:])[:_MOST_BYTES]


def remove_block(data: bytes, dice: Random) -> bytes:
    start, end = _block(data, dice)
    return data[:start] + data[end:]


def set_number(data: bytes, dice: Random) -> bytes:
    """A number of 1 to 8 bytes, of either order, becomes an extreme one; mostly near the start,
    where headers are."""
    width = dice.choice((1, 2, 4, 8))
    if len(data) < width:
        return data
    reach = len(data) - width + 1
    at = dice.randrange(min(reach, 128) if dice.random() < 0.6 else reach)
    number = dice.choice(_NUMBERS) & ((1 << 8 * width) - 1)
    return data[:at] + number.to_bytes(width, dice.choice(("little", "big"))) + data[at + width :]


def append_junk(data: bytes, dice: Random) -> bytes:
    return data + dice.randbytes(dice.choice((1, 7, 512, 70_000)))


BINARY: Sequence[Mutation] = (
    flip_bits, truncate, set_block, repeat_block, remove_block, set_number, set_number, set_number,
    append_junk,
)  # fmt: skip


def replace_word(data: bytes, dice: Random) -> bytes:
    words = list(_WORD.finditer(data))
    if not words:
        return dice.choice(_WORDS)
    word = dice.choice(words)
    return data[: word.start()] + dice.choice(_WORDS) + data[word.end() :]


def swap_words(data: bytes, dice: Random) -> bytes:
    """A word takes another's place: a value of the wrong type, a key that is not one."""
    words = list(_WORD.finditer(data))
    if not words:
        return data
    one, other = dice.choice(words), dice.choice(words)
    return data[: one.start()] + other[0] + data[one.end() :]


def change_lines(data: bytes, dice: Random) -> bytes:
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    kind = dice.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, dice.choice(lines))
    elif kind == 2:
        lines[at] = b"    " + lines[at]
    else:
        lines[at:] = [lines[at]] * dice.choice((2, 50))
    return b"\n".join(lines)


TEXT: Sequence[Mutation] = (replace_word, replace_word, replace_word, swap_words, swap_words,
                            change_lines, flip_bits, truncate)  # fmt: skip


def mutate(
    data: bytes, others: Sequence[bytes], mutations: Sequence[Mutation], dice: Random
) -> bytes:
    """One to four mutations, at times spliced with another file."""
    if others and dice.random() < 0.1:
        other = dice.choice(others)
        data = data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1) :]
    for _ in range(dice.choice((1, 1, 2, 4))):
        if data:
            data = dice.choice(mutations)(data, dice)
    return data


def _block(data: bytes, dice: Random) -> tuple[int, int]:
    start = dice.randrange(len(data))
    return start, min(start + dice.choice((1, 4, 16, 256, 4096)), len(data))


def png_checksums(data: bytes) -> bytes:
    """A PNG with the checksum of each chunk made right, so that damage reaches the decoder."""
    import zlib

    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        out += data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(out + data[at:])
