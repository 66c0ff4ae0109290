"""Connections to Milvus Lite, embedded in this process, or to a Milvus server."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facerec.errors import FacerecError, MissingError, UsageError

LITE, SERVER = "milvus+lite", "milvus"
_SECONDS = 10.0
_COLLECTION = "facerec"
_SERVER_ADDRESS = re.compile(r"milvus://([^/@:]+|\[[^/@]+\])(:\d+)?/([A-Za-z_]\w*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A parsed address.

    Attributes:
        uri: as `MilvusClient` takes it.
        collection: the gallery's entries; its other collections have this prefix.
        path: Milvus Lite's folder; None on a server.
    """

    uri: str
    collection: str
    path: Path | None


def parse_address(address: str) -> Place:
    """`milvus+lite://path.db` or `milvus://host:19530/collection`.

    Raises:
        UsageError: it is neither.
    """
    if address.startswith(f"{LITE}://"):
        path = Path(address.removeprefix(f"{LITE}://"))
        if path.suffix != ".db":
            raise UsageError(f"{address}: Milvus Lite's folders end in .db: {LITE}://people.db")
        return Place(str(path), _COLLECTION, path)
    found = _SERVER_ADDRESS.fullmatch(address)
    if not found:
        raise UsageError(f"{address}: no address of a gallery; {SERVER}://HOST:19530/COLLECTION is")
    host, port, collection = found.groups()
    return Place(f"http://{host}{port or ':19530'}", collection, None)


def connect(address: str) -> Any:
    """A `MilvusClient`.

    Raises:
        MissingError: a package is not installed, or no server answers.
        UsageError: another process has the Milvus Lite folder open.
    """
    place = parse_address(address)
    # gRPC prints to stderr what is no error, such as reconnecting.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from pymilvus import MilvusClient

        if place.path is not None:
            import milvus_lite  # noqa: F401  (without it pymilvus fails later, at length)
    except ImportError as error:
        raise MissingError(
            f"{address}: {error.name} is not installed; pip install 'facerec[milvus]'"
        ) from error
    # Both log the errors that they raise, with tracebacks.
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if place.path is not None:
        place.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return MilvusClient(place.uri, timeout=_SECONDS)
    except Exception as error:
        if place.path is not None:
            raise UsageError(
                f"{address}: cannot be opened; Milvus Lite serves one process at a time, and "
                "another facerec may have it open"
            ) from error
        raise MissingError(f"{address}: no Milvus answers there ({_brief(error)})") from error


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Milvus's errors in one line.

    Raises:
        MissingError: Milvus has failed.
    """
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except FacerecError:
        raise
    except (MilvusException, RpcError) as error:
        raise MissingError(f"{address}: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return text.splitlines()[0][:200]
