"""Embedding models in ONNX format, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY, ForeignEmbedder


class OnnxNetwork:
    """See `facerec.models.runtimes.foreign.Network`.

    Args:
        path: the network.
        device: `cpu`, or a CUDA device where ONNX Runtime was built for it.
        threads: CPU threads; 0: one per core.

    Raises:
        MissingError: ONNX Runtime is not installed or cannot read the file.
    """

    def __init__(self, path: Path, *, device: str, threads: int) -> None:
        self._session = _open_session(path, device, threads)
        self._input = self._session.get_inputs()[0].name
        self.takes = _shape(self._session.get_inputs()[0])
        self.gives = _shape(self._session.get_outputs()[0])
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inside: bool = self.metadata.get(INSIDE_KEY) == "true"
        self.arithmetic = "onnxruntime"

    def run(self, x: Floats) -> Floats:
        y: Floats = self._session.run(None, {self._input: x})[0]
        return y


def load_onnx(
    path: Path, card: ModelCard, *, device: str, threads: int, batch: int
) -> ForeignEmbedder:
    """An embedder of an ONNX file; see `OnnxNetwork` and `ForeignEmbedder`."""
    network = OnnxNetwork(path, device=device, threads=threads)
    return ForeignEmbedder(path, network, card, batch=batch)


def embedded_card(path: Path) -> ModelCard:
    """The card that `facerec export` embedded in an ONNX file.

    Raises:
        MissingError: the file is absent, or ONNX Runtime is not installed or cannot read it.
        UsageError: there is none.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such model file")
    text = OnnxNetwork(path, device="cpu", threads=1).metadata.get(CARD_KEY)
    if text is None:
        raise UsageError(
            f"{path}: this ONNX model carries no model card; give one with --card or model.card"
        )
    return ModelCard.from_json(text, str(path))


def embeds_preprocessing(path: Path) -> bool:
    """Whether an ONNX file has preprocessing in its graph (`facerec export --normalise`).

    Raises:
        MissingError: ONNX Runtime is not installed or cannot read it.
    """
    return OnnxNetwork(path, device="cpu", threads=1).inside


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


def _shape(port: Any) -> list[int | None]:
    return [side if isinstance(side, int) else None for side in port.shape]


def _open_session(path: Path, device: str, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"{path}: ONNX Runtime is not installed; pip install 'facerec[onnx]'"
        ) from error
    # Events for Windows' tracing; elsewhere `facerec/__init__.py` disables telemetry.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Warnings would go to stderr; failures are raised.
    options.log_severity_level = 4
    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    providers = [name for name in wanted if name in available] + ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise MissingError(f"{path}: ONNX Runtime cannot read it: {reason}") from error
