"""Bodies that no client should send, from a seed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

PATHS = (
    "/v1/detect", "/v1/embed", "/v1/recognize", "/v1/compare", "/v1/people/ann/faces",
    "/v1/people/nobody/merge", "/v1/people/nobody",
)  # fmt: skip
TYPES = (
    "image/jpeg", "application/octet-stream", "application/json", "text/plain", "",
    "multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=",
    "application/x-www-form-urlencoded", "application/json; charset=utf-16", "a/b/c;;=\u00ff",
)  # fmt: skip


class Hostile(NamedTuple):
    """A request.

    Attributes:
        method: the HTTP method.
        path: what it asks.
        kind: the content type.
        body: the bytes.
    """

    method: str
    path: str
    kind: str
    body: bytes


def hostile_bodies(count: int, photo: bytes, seed: int = 0) -> Iterator[Hostile]:
    """Requests that cannot be met; each kind of body goes to each path sooner or later.

    Args:
        photo: a JPEG or PNG, which is damaged.
    """
    chance = random.Random(seed)
    for number in range(count):
        path = PATHS[number % len(PATHS)]
        method = "PATCH" if path == "/v1/people/nobody" else "POST"
        kind, body = _MAKERS[chance.randrange(len(_MAKERS))](chance, photo)
        yield Hostile(method, path, kind, body)


def _noise(chance: random.Random, photo: bytes) -> tuple[str, bytes]:
    return chance.choice(TYPES), chance.randbytes(chance.choice((0, 1, 10, 1000, 100_000)))


def _cut(chance: random.Random, photo: bytes) -> tuple[str, bytes]:
    # Its end, or its beginning, is missing.
    first = photo[: chance.randrange(len(photo) // 3)]
    return "image/jpeg", chance.choice((first, photo[chance.randrange(20, 60) :]))


def _changed_header(chance: random.Random, photo: bytes) -> tuple[str, bytes]:
    body = bytearray(photo[: len(photo) // 4])
    for _ in range(chance.choice((3, 30))):
        body[chance.randrange(min(len(body), 400))] = chance.randrange(256)
    return "application/octet-stream", bytes(body)


def _form(chance: random.Random, photo: bytes) -> tuple[str, bytes]:
    name = chance.choice(("image", "images", "a", "", "x" * 5000, "\u00ff\n", 'q";x="'))
    file = chance.choice(
        ("", "; filename=../../etc/passwd", '; filename="\x00.nef"', "; filename*=x")
    )
    head = f"--x\r\nContent-Disposition: form-data; name={name}{file}\r\n\r\n".encode()
    body = head + chance.choice((b"", chance.randbytes(200), photo[:500])) + b"\r\n--x--\r\n"
    cut = chance.choice((len(body), chance.randrange(len(body))))
    return "multipart/form-data; boundary=x", body[:cut] * chance.choice((1, 1, 300))


def _json(chance: random.Random, photo: bytes) -> tuple[str, bytes]:
    encoded = base64.b64encode(photo[:300]).decode()
    values = (
        None, 1, -1e308, "", "%%%", encoded, [], [[]], {}, {"url": "http://127.0.0.1/"}, {"url": 1},
        {"person": 5}, {"base64": [1]}, {"base64": "x", "name": []}, ["x"] * 100, "\ud800", True,
    )  # fmt: skip
    keys = ("image", "images", "a", "b", "meta", "name", "into", "\ud83d", "")
    fields = {chance.choice(keys): chance.choice(values) for _ in range(chance.randrange(4))}
    texts = (
        json.dumps(fields), json.dumps(fields)[:-1], "[" * 100_000, '{"image":' * 5000, "NaN", '"',
        "1" * 5000, '{"image": "' + "A" * 70_000 + '"}', "\ufeff{}",
    )  # fmt: skip
    return "application/json", chance.choice(texts).encode("utf-8", "surrogatepass")


_MAKERS = (_noise, _cut, _changed_header, _form, _json)
