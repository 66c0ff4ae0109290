"""Embeddings that were made before, by the hash of the image file.

One SQLite file for each way of making a vector: model card, arithmetic, detector settings,
aligned or not, version of facerec. SQLite keeps a killed run's whole batches, and lets two runs
share a file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from types import TracebackType

import numpy as np

from facerec import __version__
from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files import sha256_of
from facerec.profile.schema import DetectorSection

_BATCH = 256
_BUSY_SECONDS = 60


def cache_path(
    folder: Path, card: ModelCard, arithmetic: str, detector: DetectorSection, *, aligned: bool
) -> Path:
    """The cache file for vectors made this way.

    Args:
        folder: facerec's cache folder.
        arithmetic: see `facerec.models.Embedder`; figures of two are compared, so that vectors
            of one must not stand in for the other's.
        aligned: the images are taken as aligned faces, so that the detector does not matter.
    """
    fields: dict[str, object] = {
        "facerec": __version__,
        "card": card.fingerprint(),
        "arithmetic": arithmetic,
    }
    if not aligned:
        fields["detector"] = detector.model_dump(mode="json", exclude={"weights"})
        if detector.weights is not None and detector.weights.is_file():
            fields["weights"] = sha256_of(detector.weights)
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return folder / "embeddings" / f"{card.name}-{digest[:16]}.sqlite".replace("/", "_")


class EmbeddingCache:
    """Vectors by file hash; an image without a face is remembered as such.

    Used as a context manager, it writes every 256 vectors and at the end, also of a run that
    fails or is interrupted.

    Raises:
        MissingError: the file is damaged or its folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[str, bytes | None] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (sha256 TEXT PRIMARY KEY, vector BLOB)"
            )
            rows = self._database.execute("SELECT sha256 FROM vectors")
            self._known = {digest for (digest,) in rows}
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._flush()
        self._database.close()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._known

    def get(self, sha256: str) -> Floats | None:
        """The `(D,) float32` vector of a known image, or None where no face was found."""
        if sha256 in self._pending:
            data = self._pending[sha256]
        else:
            try:
                (data,) = self._database.execute(
                    "SELECT vector FROM vectors WHERE sha256 = ?", (sha256,)
                ).fetchone()
            except sqlite3.Error as error:
                raise self._unusable(error) from error
        return None if data is None else np.frombuffer(data, "<f4")

    def put(self, sha256: str, vector: Floats | None) -> None:
        """Remember an image's `(D,) float32` vector, or None for no face."""
        self._known.add(sha256)
        self._pending[sha256] = None if vector is None else vector.astype("<f4").tobytes()
        if len(self._pending) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)", self._pending.items()
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._pending.clear()

    def _unusable(self, error: Exception) -> MissingError:
        return MissingError(
            f"{self._path}: the cache of embeddings cannot be used ({error}); delete it, or "
            "give --no-cache"
        )
