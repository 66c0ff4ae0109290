"""HTTP download of one file: resumes, retries, mirrors, SHA-256 on the fly.

The partial file survives a killed process; `.part.json` beside it holds its address and the
validator (RFC 9110, 8.8) that a resumption must match.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerec.errors import MissingError, UsageError
from facerec.files.hashing import sha256_of
from facerec.files.parsing import parse_json
from facerec.files.writing import replacing
from facerec.weights.catalog import RemoteFile
from facerec.weights.drive import confirmation_address, describe_page
from facerec.weights.formats import is_of_format

if TYPE_CHECKING:
    from requests import Response, Session

ATTEMPTS = 5
TIMEOUT = (10.0, 30.0)
"""Connect and read timeouts, in seconds."""
_BLOCK = 1 << 15
_LONGEST_PAUSE = 60.0
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_PAGE_BYTES = 1 << 20
_HEAD_BYTES = 4096
_NOT_OF_TEXTS = bytes(set(range(32)) - set(b"\t\n\f\r"))

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the total, None if unknown."""


class _TransientError(Exception):
    """A transient failure; `pause` is the server's Retry-After, in seconds."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _MirrorError(Exception):
    """A permanent failure of this mirror."""


def transfer(
    file: RemoteFile,
    partial: Path,
    report: Progress,
    *,
    attempts: int = ATTEMPTS,
    pause: Callable[[float], None] = time.sleep,
    timeout: tuple[float, float] = TIMEOUT,
) -> str:
    """Bring a file's bytes to `partial`; returns their hex SHA-256.

    Args:
        attempts: how often each mirror is tried.

    Raises:
        MissingError: no mirror gave the file; says of each why not.
        UsageError: the place cannot be written.
    """
    import requests

    reasons = []
    with requests.Session() as session:
        # Compressed, neither the length nor a range would be the file's own.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "facerec"})
        for url in file.urls:
            try:
                return _from_mirror(session, url, file, partial, report, attempts, pause, timeout)
            except _MirrorError as error:
                reasons.append(f"{url}: {error}")
            except OSError as error:
                raise UsageError(f"{partial}: cannot be written: {error.strerror}") from error
    raise MissingError(f"{file.name} could not be downloaded: {'; '.join(reasons)}")


def _from_mirror(
    session: Session,
    url: str,
    file: RemoteFile,
    partial: Path,
    report: Progress,
    attempts: int,
    pause: Callable[[float], None],
    timeout: tuple[float, float],
) -> str:
    reason = ""
    for attempt in range(attempts):
        try:
            return _attempt(session, url, file, partial, report, timeout)
        except _TransientError as error:
            reason = str(error)
            wait = error.pause if error.pause is not None else 2.0**attempt / 2
            if attempt + 1 < attempts:
                pause(min(wait, _LONGEST_PAUSE))
    raise _MirrorError(f"{reason} ({attempts} attempts)")


def _attempt(
    session: Session,
    url: str,
    file: RemoteFile,
    partial: Path,
    report: Progress,
    timeout: tuple[float, float],
) -> str:
    import requests
    import urllib3

    held, validator = _resumable(url, file, partial)
    headers = {}
    if held:
        headers["Range"] = f"bytes={held}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with _get(session, url, headers, timeout) as response:
            if response.status_code == 416:
                discard(partial)
                raise _TransientError("has no such range")
            _check_status(response)
            if response.status_code == 206 and not _continues(response, held):
                discard(partial)
                raise _TransientError("answered with another range than asked for")
            if response.status_code == 200:
                held = 0
            total = _total(response, held, file)
            _note_origin(partial, url, response)
            digest = _append(response, partial, held, total, report)
            gzipped = _is_gzipped(response)
    except requests.TooManyRedirects as error:
        raise _MirrorError("redirects without end") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise _MirrorError(f"no usable address: {error}") from error
    except requests.Timeout as error:
        raise _TransientError("silent for too long") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TransientError(f"connection broken: {_brief(error)}") from error
    size = partial.stat().st_size
    if total is not None and size < total:
        raise _TransientError(f"cut off at {size} of {total} bytes")
    if gzipped and not _is_expected(partial, digest, file):
        digest = _decode(partial)
    if _is_expected(partial, digest, file):
        return digest
    stand_in, told = _stand_in(partial), _unexpected(partial, digest, file)
    discard(partial)
    if stand_in is not None:
        raise _MirrorError(stand_in)
    if held:
        # The resumed part may be damaged: retry from the first byte.
        raise _TransientError(told)
    raise _MirrorError(told)


def _is_expected(partial: Path, digest: str, file: RemoteFile) -> bool:
    """Whether it has the file's hash; where none is known, as far as its content shows, which then
    must not be pinned if it is another."""
    if file.sha256 is not None:
        return digest == file.sha256
    size = partial.stat().st_size
    return (
        file.size in (None, size)
        and _stand_in(partial) is None
        and is_of_format(partial, file.format)
    )


def _unexpected(partial: Path, digest: str, file: RemoteFile) -> str:
    if file.sha256 is not None:
        return f"other content: sha256 is {digest[:12]}…, not {file.sha256[:12]}…"
    size = partial.stat().st_size
    if file.size not in (None, size):
        return f"sends {size} bytes, the catalogue says {file.size}"
    return f"sends something else than a whole {file.format} file"


def _stand_in(partial: Path) -> str | None:
    """What some servers send with 200 and no honest type in the place of a file; None for a file,
    as far as its first bytes tell."""
    with partial.open("rb") as arrived:
        head = arrived.read(_HEAD_BYTES)
    if not head:
        return "sends nothing"
    if head.startswith(b"version https://git-lfs.github.com/"):
        return "sends a Git LFS pointer, not the file"
    text = head.decode("utf-8", "replace")
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return describe_page(text)
    if len(head.translate(None, _NOT_OF_TEXTS)) == len(head):
        return f"a text came in place of the file: {' '.join(text.split())[:80]}"
    return None


def _decode(partial: Path) -> str:
    """Replace gzipped bytes by what they hold; the SHA-256 of what is there then.

    A server that compresses whatever is asked for says so with the same `Content-Encoding` as one
    whose file is a .gz.
    """
    try:
        with (
            replacing(partial) as temporary,
            gzip.open(partial) as packed,
            temporary.open("wb") as out,
        ):
            for block in iter(lambda: _read_gzip(packed), b""):
                out.write(block)
    except _TransientError:
        discard(partial)
        raise
    return sha256_of(partial)


def _read_gzip(packed: gzip.GzipFile) -> bytes:
    try:
        return packed.read(_BLOCK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _TransientError(f"sends damaged gzip data: {error}") from error


def _is_gzipped(response: Response) -> bool:
    return response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip")


def _get(
    session: Session, url: str, headers: dict[str, str], timeout: tuple[float, float]
) -> Response:
    """The response with the file; a confirmation page is confirmed once."""
    response = session.get(url, headers=headers, stream=True, timeout=timeout)
    if not _is_page(response):
        return response
    with response:
        page = _read_page(response)
        address = confirmation_address(page, response.url)
        if address is None:
            _check_status(response)
            raise _MirrorError(describe_page(page))
    response = session.get(address, headers=headers, stream=True, timeout=timeout)
    if _is_page(response):
        with response:
            raise _MirrorError(describe_page(_read_page(response)))
    return response


def _read_page(response: Response) -> str:
    page: bytes = next(response.iter_content(_PAGE_BYTES), b"")
    return page.decode("utf-8", "replace")


def _is_page(response: Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def _check_status(response: Response) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    reason = f"HTTP {status} {response.reason}".strip()
    if status in _TRANSIENT:
        asked = response.headers.get("Retry-After", "")
        raise _TransientError(reason, float(asked) if asked.isdigit() else None)
    raise _MirrorError(reason)


def _continues(response: Response, held: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {held}-")


def _total(response: Response, held: int, file: RemoteFile) -> int | None:
    length = response.headers.get("Content-Length", "")
    total = held + int(length) if length.isdigit() else None
    if _is_gzipped(response):
        # The catalogue's may be the size of what the bytes hold.
        return total
    if file.size is not None and total is not None and total != file.size:
        raise _MirrorError(f"offers {total} bytes, the catalogue says {file.size}")
    return file.size if total is None else total


def _append(
    response: Response, partial: Path, held: int, total: int | None, report: Progress
) -> str:
    digest = hashlib.sha256()
    with partial.open("r+b" if held else "wb") as out:
        for block in iter(lambda: out.read(_BLOCK) if held else b"", b""):
            digest.update(block)
        here = held
        report(here, total)
        for block in _blocks(response):
            out.write(block)
            digest.update(block)
            here += len(block)
            if total is not None and here > total:
                raise _MirrorError(f"sends more than the {total} bytes it announced")
            report(here, total)
    return digest.hexdigest()


def _blocks(response: Response) -> Iterator[bytes]:
    """The body as it is sent, of which length, range and hash are: Apache sends a .tar.gz with a
    `Content-Encoding` that `iter_content` would decode."""
    blocks: Iterator[bytes] = response.raw.stream(_BLOCK, decode_content=False)
    return blocks


def _resumable(url: str, file: RemoteFile, partial: Path) -> tuple[int, str | None]:
    """Bytes to resume from, and their validator."""
    held = partial.stat().st_size if partial.is_file() else 0
    if not held or (file.size is not None and held >= file.size):
        discard(partial)
        return 0, None
    origin: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        origin = parse_json(_origin(partial).read_text(encoding="utf-8"))
    validator = origin.get("validator") if origin.get("url") == _fingerprint(url) else None
    if validator is None and file.sha256 is None:
        # Without hash or validator, the two parts may be of different files.
        discard(partial)
        return 0, None
    return held, validator


def _note_origin(partial: Path, url: str, response: Response) -> None:
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else None
    validator = strong or response.headers.get("Last-Modified")
    note = json.dumps({"url": _fingerprint(url), "validator": validator})
    _origin(partial).write_text(note, encoding="utf-8")


def _fingerprint(url: str) -> str:
    """Tells URLs apart; unlike them it holds no password."""
    return hashlib.sha256(url.encode()).hexdigest()


def _origin(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def discard(partial: Path) -> None:
    """Remove a partial file and its note."""
    partial.unlink(missing_ok=True)
    _origin(partial).unlink(missing_ok=True)


def _brief(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    return str(cause).splitlines()[0][:120] if str(cause) else type(cause).__name__
