"""Foreign embedding models in ONNX format, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats, Image

CARD_KEY, INSIDE_KEY = "facerec.card", "facerec.normalised"
"""Metadata of files that `facerec export` writes: the card, and whether preprocessing is inside."""


class OnnxEmbedder:
    """An ONNX network that maps `(N, 3, H, W) float32` to `(N, D) float32`.

    Args:
        path: the network; its batch dimension may be fixed or free.
        card: preprocessing and metric.
        device: `cpu`, or a CUDA device where ONNX Runtime was built for it.
        threads: processor threads; 0: one per core.
        batch: most chips in one run of a network with a free batch dimension.

    Raises:
        MissingError: ONNX Runtime is not installed, cannot read the file, or the network takes
            or gives other shapes than the card says.
    """

    def __init__(
        self, path: Path, card: ModelCard, *, device: str, threads: int, batch: int
    ) -> None:
        self.card = card
        self._session = _open_session(path, device, threads)
        shape = self._session.get_inputs()[0].shape
        self._input = self._session.get_inputs()[0].name
        self._fixed = isinstance(shape[0], int)
        self._batch = shape[0] if self._fixed else batch
        wanted = (3, card.input_height, card.input_width)
        if len(shape) != 4 or any(
            isinstance(side, int) and side != want
            for side, want in zip(shape[1:], wanted, strict=True)
        ):
            raise MissingError(f"{path}: takes {shape}, but {card.name}'s card says (N, {wanted})")
        outputs = self._session.get_outputs()[0].shape
        if isinstance(outputs[-1], int) and outputs[-1] != card.embedding_size:
            raise MissingError(
                f"{path}: gives {outputs[-1]} values, but {card.name}'s card says "
                f"{card.embedding_size}"
            )
        self._inside = _metadata(self._session).get(INSIDE_KEY) == "true"
        self._mean: Floats = np.asarray(card.mean, np.float32).reshape(1, 3, 1, 1)
        self._scale: Floats = np.float32(1) / np.asarray(card.std, np.float32).reshape(1, 3, 1, 1)

    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`.

        Raises:
            ValueError: the chips are not of the card's input size.
        """
        size = (self.card.input_height, self.card.input_width, 3)
        if chips.shape[1:] != size:
            raise ValueError(f"chips of shape {chips.shape[1:]}, but {self.card.name} takes {size}")
        vectors = [
            self._forward(chips[start : start + self._batch])
            for start in range(0, len(chips), self._batch)
        ]
        return np.concatenate([np.empty((0, self.card.embedding_size), np.float32), *vectors])

    def _forward(self, chips: Image) -> Floats:
        if self.card.colour == "BGR" and not self._inside:
            chips = chips[..., ::-1]
        x = chips.transpose(0, 3, 1, 2).astype(np.float32)
        if not self._inside:
            x = (x - self._mean) * self._scale
        y = self._run(x)
        if self.card.flip:
            y = _unit(y) + _unit(self._run(np.ascontiguousarray(x[..., ::-1])))
        return _unit(y)

    def _run(self, x: Floats) -> Floats:
        count = len(x)
        if self._fixed and count < self._batch:
            x = np.concatenate([x, np.zeros((self._batch - count, *x.shape[1:]), np.float32)])
        y: Floats = self._session.run(None, {self._input: np.ascontiguousarray(x)})[0]
        return y.reshape(len(y), -1)[:count].astype(np.float32)


def embedded_card(path: Path) -> ModelCard:
    """The card that `facerec export` put into an ONNX file.

    Raises:
        MissingError: the file is absent, or ONNX Runtime is not installed or cannot read it.
        UsageError: there is none.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such model file")
    text = _metadata(_open_session(path, "cpu", 1)).get(CARD_KEY)
    if text is None:
        raise UsageError(
            f"{path}: this ONNX model carries no model card; give one with --card or model.card"
        )
    return ModelCard.from_json(text, str(path))


def _metadata(session: Any) -> dict[str, str]:
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return found


def onnx_sha256(path: Path) -> str:
    """Hex SHA-256 of a network and, where it exists, of its external weights `NAME.onnx.data`.

    Raises:
        MissingError: the file cannot be read.
    """
    digest = hashlib.sha256()
    for part in (path, path.with_name(f"{path.name}.data")):
        try:
            digest.update(part.read_bytes())
        except FileNotFoundError as error:
            if part == path:
                raise MissingError(f"{path}: no such model file") from error
        except OSError as error:
            raise MissingError(f"{part}: {error.strerror}") from error
    return digest.hexdigest()


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _open_session(path: Path, device: str, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"{path}: ONNX Runtime is not installed; pip install 'facerec[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Its own warnings would reach stderr; what fails is raised.
    options.log_severity_level = 4
    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    providers = [name for name in wanted if name in available] + ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise MissingError(f"{path}: ONNX Runtime cannot read it: {reason}") from error
