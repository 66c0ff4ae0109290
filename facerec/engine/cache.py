"""Embedding cache: vectors by the SHA-256 of their image file, in SQLite.

SQLite keeps the whole batches of a killed run, and lets processes share a file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from facerec import __version__
from facerec.card import ModelCard
from facerec.detection.creation import weights_of
from facerec.errors import FacerecError, MissingError
from facerec.faces import Floats
from facerec.files.hashing import sha256_of
from facerec.profile.schema import DetectorSection

_LAYOUT = 2
"""Version of the tables; 1 had vectors alone."""
_BATCH = 64
_BUSY_SECONDS = 60
# An error whose message quotes damaged text is a UnicodeError itself.
_DAMAGED = (sqlite3.Error, UnicodeError)


def cache_path(
    folder: Path, card: ModelCard, arithmetic: str, detector: DetectorSection, *,
    aligned: bool, template: str = "auto",
) -> Path:  # fmt: skip
    """The cache file for vectors made this way: by model card, arithmetic, detector and version.

    Args:
        folder: facerec's cache folder.
        arithmetic: see `facerec.models.Embedder`; evaluation compares the figures of two, so
            vectors of one must not stand in for the other's.
        aligned: the images are aligned faces, so the detector does not matter.
        template: that aligned images lie on; see `alignment.template` of the profile.
    """
    fields: dict[str, object] = {
        "layout": _LAYOUT,
        "facerec": __version__,
        "card": card.fingerprint(),
        "arithmetic": arithmetic,
    }
    if card.norms is not None:  # of which quality is made
        fields["norms"] = card.norms.model_dump(mode="json")
    if aligned and template != "auto":
        fields["template"] = template
    if not aligned:
        fields["detector"] = detector.model_dump(mode="json", exclude={"weights"})
        weights = weights_of(detector)
        if weights is not None and weights.is_file():
            fields["weights"] = sha256_of(weights)
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return folder / "embeddings" / f"{card.name}-{digest[:16]}.sqlite".replace("/", "_")


class EmbeddingCache:
    """Vectors by file hash, each with facts and a thumbnail if it was given them.

    An image without a face is remembered as such. As a context manager the cache is written every
    64 images and at the end, also of a run that fails or is interrupted.

    Args:
        path: the file; made where there is none.
        origin: how the vectors are made. Vectors of another origin are deleted; None keeps them.
        remedy: what to do about an unusable file, beside deleting it.
        error: what to raise about one.

    Raises:
        FacerecError: of class `error`: the file is damaged or cannot be written.
    """

    def __init__(
        self, path: Path, origin: str | None, *, remedy: str,
        error: type[FacerecError] = MissingError,
    ) -> None:  # fmt: skip
        self._path = path
        self._remedy = remedy
        self._error = error
        self._pending: dict[str, tuple[bytes | None, str, bytes]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
            with self._database:
                self._prepare(origin)
            rows = self._database.execute("SELECT sha256 FROM images")
            self._known = {digest for (digest,) in rows}
        except (*_DAMAGED, OSError) as error_:
            raise self._unusable(error_) from error_

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending."""
        try:
            self._flush()
        finally:
            self._database.close()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._known

    def without_facts(self) -> set[str]:
        """Hashes of the images that were kept without facts."""
        rows = self._database.execute("SELECT sha256 FROM images WHERE facts = ''")
        return {digest for (digest,) in rows}

    def get(self, sha256: str) -> tuple[Floats | None, str]:
        """The `(D,) float32` vector of a known image, None without a face, and its facts."""
        if sha256 in self._pending:
            data, facts, _ = self._pending[sha256]
        else:
            data, facts = self._select("vector, facts", sha256)
        return None if data is None else np.frombuffer(data, "<f4"), facts

    def thumbnail(self, sha256: str) -> bytes:
        """The thumbnail of an image; empty for one without, or an unknown image."""
        if sha256 in self._pending:
            return self._pending[sha256][2]
        if sha256 not in self._known:
            return b""
        (data,) = self._select("thumbnail", sha256)
        return bytes(data)

    def put(
        self, sha256: str, vector: Floats | None, facts: str = "", thumbnail: bytes = b""
    ) -> None:
        """Remember an image.

        Args:
            vector: `(D,) float32`, or None for no face.
            facts: JSON.
            thumbnail: a small encoded image.
        """
        data = None if vector is None else vector.astype("<f4").tobytes()
        self._known.add(sha256)
        self._pending[sha256] = data, facts, thumbnail
        if len(self._pending) >= _BATCH:
            self._flush()

    def _prepare(self, origin: str | None) -> None:
        # Immediate: of two processes that open a file of another origin, one must wait.
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("CREATE TABLE IF NOT EXISTS origin (text TEXT)")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS images"
            " (sha256 TEXT PRIMARY KEY, vector BLOB, facts TEXT, thumbnail BLOB)"
        )
        stored = self._database.execute("SELECT text FROM origin").fetchone()
        if origin is not None and stored != (origin,):
            self._database.execute("DELETE FROM images")
            self._database.execute("DELETE FROM origin")
            self._database.execute("INSERT INTO origin VALUES (?)", (origin,))

    def _select(self, columns: str, sha256: str) -> tuple[Any, ...]:
        try:
            row: tuple[Any, ...] | None = self._database.execute(
                f"SELECT {columns} FROM images WHERE sha256 = ?", (sha256,)
            ).fetchone()
        except _DAMAGED as error:
            raise self._unusable(error) from error
        if row is None:
            raise self._unusable(LookupError("another run with another origin emptied it"))
        return row

    def _flush(self) -> None:
        rows = [(digest, *values) for digest, values in self._pending.items()]
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", rows
                )
        except _DAMAGED as error:
            raise self._unusable(error) from error
        self._pending.clear()

    def _unusable(self, error: Exception) -> FacerecError:
        return self._error(
            f"{self._path}: the cache of embeddings cannot be used ({error}); delete it, or "
            f"{self._remedy}"
        )
