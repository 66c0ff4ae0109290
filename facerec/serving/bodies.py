"""Photos in requests: raw bodies, multipart forms, base64 in JSON, and URLs where allowed.

A body is counted while it comes, and kept in memory: nothing that a request says names a file.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from facerec.errors import FacerecError, InputError
from facerec.files.parsing import parse_json
from facerec.files.text import readable
from facerec.serving.failures import RequestError, to_request_error
from facerec.serving.service import Upload

MAX_BODY = 64 << 20
"""Bytes of a request's body."""
MAX_PHOTOS = 64
"""Photos of a request."""
_FETCHES = 4
"""Photos of a list that are fetched at a time."""
_SECONDS = 60.0
"""Seconds in which a body has to come."""
_URLENCODED = "application/x-www-form-urlencoded"
_MOST_PARTS, _LONGEST_NAME = 256, 200
_MOST_VALUES = 50_000
"""Values of a JSON body with photos: parsed, each takes many times its bytes."""
_LARGE = 1 << 18
"""Bytes from which a body is parsed in a thread, so that other requests are not held up."""

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what is at a URL."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart form.

    Attributes:
        name: the field's.
        file: the file name that came with it; None: it is a text.
        data: its bytes.
    """

    name: str
    file: str | None
    data: bytes

    @property
    def text(self) -> str:
        """Its bytes as text."""
        return readable(self.data.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Content:
    """What a request's body holds.

    Attributes:
        photos: by field, in order.
        texts: other fields.
        several: whether a list of photos was sent, if only of one.
    """

    photos: dict[str, list[Upload]] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)
    several: bool = False

    @property
    def uploads(self) -> list[Upload]:
        """All photos."""
        return [upload for uploads in self.photos.values() for upload in uploads]


async def read_body(request: Request, most: int = MAX_BODY) -> bytes:
    """A request's body, counted while it comes.

    Raises:
        RequestError: it has too many bytes, is compressed, or comes too slowly.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(415, "compressed_body", "send the body without Content-Encoding")
    too_large = RequestError(413, "body_too_large", f"at most {most:,} bytes are read")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise too_large

    async def read() -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise too_large
        return bytes(body)

    try:
        return await asyncio.wait_for(read(), _SECONDS)
    except asyncio.TimeoutError:
        told = f"the body did not come within {_SECONDS:.0f} seconds"
        raise RequestError(408, "too_slow", told) from None


async def read_form(request: Request) -> list[Part]:
    """The parts of a multipart form.

    Raises:
        RequestError: it is none, damaged, or too large.
    """
    body = await read_body(request)
    kind = request.headers.get("content-type", "")
    if len(body) < _LARGE:
        return parse_form(kind, body)
    return await asyncio.to_thread(parse_form, kind, body)


def parse_form(content_type: str, body: bytes) -> list[Part]:
    """See `read_form`."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise RequestError(415, "no_form", "send multipart/form-data with its boundary")
    parts: list[Part] = []
    headers: dict[str, bytes] = {}
    name, value, data = bytearray(), bytearray(), bytearray()

    def begin() -> None:
        headers.clear()
        data.clear()
        if len(parts) >= _MOST_PARTS:
            raise RequestError(413, "too_many_parts", f"at most {_MOST_PARTS} parts are read")

    def end_header() -> None:
        headers[name.decode("latin-1").lower()] = bytes(value)
        name.clear()
        value.clear()

    def end() -> None:
        _, told = parse_options_header(headers.get("content-disposition", b""))
        file = told.get(b"filename")
        parts.append(
            Part(_told(told.get(b"name", b"")), None if file is None else _told(file), bytes(data))
        )

    def keep(buffer: bytearray) -> Callable[[bytes, int, int], None]:
        return lambda given, start, stop: buffer.extend(memoryview(given)[start:stop])

    finished: list[bool] = []
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_header_field": keep(name),
                "on_header_value": keep(value),
                "on_header_end": end_header,
                "on_part_data": keep(data),
                "on_part_end": end,
                "on_end": lambda: finished.append(True),
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(400, "damaged_form", f"the form is damaged: {error}") from error
    if not finished:
        raise RequestError(400, "damaged_form", "the form is damaged: its end is missing")
    return parts


async def read_content(
    request: Request, fetch: Fetch | None, *, photos: Sequence[str] = ("image", "images"),
    people: bool = False,
) -> Content:  # fmt: skip
    """The photos and other fields of a request, however they were sent.

    Args:
        fetch: gets photos by URL; None: these are refused.
        photos: fields that hold photos.
        people: a form's text in one of them is a person's name; else it is base64.

    Raises:
        RequestError: the body is too large or damaged, or holds too many photos.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoded = () if people else photos
    if kind == "multipart/form-data":
        content = await asyncio.to_thread(_of_form, await read_form(request), encoded)
    elif kind == "application/json" or kind.endswith("+json"):
        content = await _of_json(await read_body(request), _counted(fetch, request), photos)
    else:
        body = await read_body(request)
        # What curl's `-d` sends is called a form, whatever it is.
        untold = kind in ("", _URLENCODED)
        if untold and body.lstrip()[:1] == b"{":
            content = await _of_json(body, _counted(fetch, request), photos)
        elif untold and body.partition(b"=")[0] in [name.encode() for name in photos]:
            content = await asyncio.to_thread(_of_form, _of_query(body, encoded), encoded)
        else:
            content = Content({photos[0]: [Upload("image", body)]} if body else {})
    if len(content.uploads) > MAX_PHOTOS:
        raise RequestError(413, "too_many_photos", f"at most {MAX_PHOTOS} photos a request")
    return content


def _of_query(body: bytes, encoded: Sequence[str]) -> list[Part]:
    """The fields of an urlencoded form.

    Args:
        encoded: fields that hold base64, of which `+` is a digit.
    """
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_PARTS)
    except ValueError as error:
        raise RequestError(
            413, "too_many_parts", f"at most {_MOST_PARTS} parts are read"
        ) from error
    fields = ((readable(name.decode("utf-8", "replace")), value) for name, value in pairs)
    return [
        Part(name, None, value.replace(b" ", b"+") if name in encoded else value)
        for name, value in fields
    ]


def _of_form(parts: Sequence[Part], encoded: Sequence[str]) -> Content:
    """A form's photos and texts.

    Args:
        encoded: fields whose texts are photos in base64.
    """
    found: dict[str, list[Upload]] = {}
    texts: dict[str, Any] = {}
    for part in parts:
        if part.file is not None or part.name in encoded:
            data = part.data if part.file is not None else _bytes_of(part)
            upload = Upload(part.file or part.name, data)
            found.setdefault(part.name, []).append(upload)
        else:
            texts[part.name] = part.text
    several = "images" in found or any(len(uploads) > 1 for uploads in found.values())
    return Content(found, texts, several)


def _bytes_of(part: Part) -> bytes:
    """A photo that came without a file's name: its bytes, or base64, which alone is ASCII."""
    if not part.data.isascii():
        return part.data
    try:
        return decode_base64(part.text, part.name)
    except RequestError as error:
        told = f"{part.name}: send a file ({part.name}=@photo.jpg), or base64"
        raise RequestError(422, "no_base64", told) from error


async def _of_json(body: bytes, fetch: Fetch | None, photos: Sequence[str]) -> Content:
    if len(body) < _LARGE:
        fields = _json_object(body)
    else:
        fields = await asyncio.to_thread(_json_object, body)
    found: dict[str, list[Upload]] = {}
    texts: dict[str, Any] = {}
    size = 0

    def count(more: int) -> None:
        nonlocal size
        size += more
        if size > MAX_BODY:
            raise RequestError(413, "body_too_large", f"at most {MAX_BODY:,} bytes of photos")

    for name, value in fields.items():
        if name not in photos or (isinstance(value, dict) and "person" in value):
            texts[name] = value
        elif isinstance(value, list):
            found[name] = await _uploads(value, name, fetch, count)
        else:
            found[name] = [await _upload(value, name, fetch)]
            count(len(found[name][0].data))
    return Content(found, texts, any(isinstance(fields.get(name), list) for name in found))


async def _uploads(
    values: Sequence[Any], field: str, fetch: Fetch | None, count: Callable[[int], None]
) -> list[Upload]:
    """The photos of a list, some fetched at a time; one that cannot be had spoils no other.

    Args:
        count: told the bytes of each as it comes; raises RequestError at too many.
    """
    if len(values) > MAX_PHOTOS:
        raise RequestError(413, "too_many_photos", f"at most {MAX_PHOTOS} photos a request")
    turns = asyncio.Semaphore(_FETCHES)

    async def attempt(place: int, value: Any) -> Upload:
        numbered = f"{field}[{place}]"
        async with turns:
            count(0)  # The others may have brought too many already.
            try:
                upload = await _upload(value, numbered, fetch)
            except FacerecError as error:
                if to_request_error(error).status != 422:
                    raise
                return Upload(_name_of(value, numbered) or numbered, b"", error)
            count(len(upload.data))
            return upload

    tasks = [asyncio.create_task(attempt(*numbered)) for numbered in enumerate(values)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _counted(fetch: Fetch | None, request: Request) -> Fetch | None:
    """The same, with what it gets counted as if the request had brought it."""
    if fetch is None:
        return None

    async def counted(url: str) -> bytes:
        data = await fetch(url)
        request.scope["facerec.hold"](len(data))
        return data

    return counted


def _json_object(body: bytes) -> Mapping[str, Any]:
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise RequestError(413, "too_many_values", f"at most {_MOST_VALUES:,} values of JSON")
    try:
        fields = parse_json(body)
    except ValueError as error:
        raise RequestError(400, "damaged_json", f"the body is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RequestError(400, "damaged_json", "send a JSON object")
    return fields


async def _upload(value: Any, field: str, fetch: Fetch | None) -> Upload:
    """A photo of a JSON body: a base64 text, or an object with `base64` or `url`."""
    given = {"base64": value} if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise RequestError(422, "no_image", f"{field}: give base64, or an object with url")
    name = _name_of(given, field)
    if name is None:
        raise RequestError(422, "no_image", f"{field}: its name is no text")
    if isinstance(url := given.get("url"), str):
        if fetch is None:
            raise RequestError(
                403, "urls_refused", f"{field}: this server fetches no URLs (--allow-urls)"
            )
        try:
            return Upload(name, await fetch(url))
        except InputError as error:
            raise InputError(f"{field}: {error}") from error
    if not isinstance(encoded := given.get("base64"), str):
        raise RequestError(422, "no_image", f"{field}: give base64, or an object with url")
    if len(encoded) < _LARGE:
        return Upload(name, decode_base64(encoded, field))
    return Upload(name, await asyncio.to_thread(decode_base64, encoded, field))


def _name_of(value: Any, field: str) -> str | None:
    """What a photo of a JSON body is called; None: something that is no text."""
    name = value.get("name", field) if isinstance(value, dict) else field
    return _named(name) if isinstance(name, str) else None


def decode_base64(text: str, where: str) -> bytes:
    """The bytes of base64, also of a `data:` URL, of lines, or URL-safe.

    Raises:
        RequestError: it is none.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    compact = "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(422, "no_base64", f"{where}: no base64: {error}") from error


def _told(text: bytes) -> str:
    return _named(text.decode("utf-8", "replace"))


def _named(name: str) -> str:
    """A name from a request: valid Unicode, and not endless."""
    return readable(name)[:_LONGEST_NAME]
