"""Embedding models in ONNX format, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.parsing import brief
from facerec.models.runtimes.checks import CHECK_KEY
from facerec.models.runtimes.external import weight_files
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY, ForeignEmbedder, Port, parse_card
from facerec.parallel.cores import thread_limit

_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
}
"""Those that an embedder takes or gives."""
_CPU = "CPUExecutionProvider"
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
_COREML = {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}
"""In fp32: the Neural Engine, which it would use too, and the older format compute in fp16."""
_BLOCK = 1 << 20


class OnnxNetwork:
    """See `facerec.models.runtimes.foreign.Network`.

    Args:
        path: the network.
        device: `cpu`, a CUDA device, or `mps` for CoreML, where ONNX Runtime was built for it.
        threads: CPU threads; 0: one per core, or as many as a quota lets run.

    Raises:
        MissingError: ONNX Runtime is not installed or cannot read the file, or has no CoreML.
    """

    def __init__(self, path: Path, *, device: str, threads: int) -> None:
        self._path = path
        self._session = _open_session(path, device, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or not outputs:
            raise MissingError(
                f"{path}: takes {len(inputs)} inputs and gives {len(outputs)} outputs; an embedder "
                "takes one image and gives one vector"
            )
        self._input, self._outputs = inputs[0].name, [output.name for output in outputs]
        self.takes, self.gives = _port(inputs[0]), [_port(output) for output in outputs]
        self.inside: bool = self.metadata.get(INSIDE_KEY) == "true"
        self.check: str = self.metadata.get(CHECK_KEY, "")
        self.arithmetic = "onnxruntime coreml" if device == "mps" else "onnxruntime"

    @property
    def metadata(self) -> dict[str, str]:
        """The file's own metadata.

        Raises:
            MissingError: they are no text.
        """
        try:
            texts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise MissingError(f"{self._path}: its metadata are damaged") from error
        return texts

    def run(self, x: NDArray[Any], output: int) -> Floats:
        try:
            y: Floats = self._session.run([self._outputs[output]], {self._input: x})[0]
        except Exception as error:
            raise MissingError(
                f"{self._path}: ONNX Runtime cannot run it: {brief(error)}"
            ) from error
        return y


def offers(device: str) -> bool:
    """Whether ONNX Runtime is installed and was built for a torch device."""
    try:
        import onnxruntime
    except ImportError:
        return False
    wanted = _PROVIDERS.get(device.partition(":")[0], _CPU)
    return wanted in onnxruntime.get_available_providers()


def load_onnx(
    path: Path, card: ModelCard, *, device: str, threads: int, batch: int
) -> ForeignEmbedder:
    """An embedder of an ONNX file; see `OnnxNetwork` and `ForeignEmbedder`."""
    network = OnnxNetwork(path, device=device, threads=threads)
    return ForeignEmbedder(path, network, card, batch=batch)


def onnx_card(path: Path) -> ModelCard | None:
    """The card that `facerec export` embedded in an ONNX file; None: there is none.

    Raises:
        MissingError: the file is absent, or ONNX Runtime is not installed or cannot read it.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such model file")
    metadata = OnnxNetwork(path, device="cpu", threads=1).metadata
    return parse_card(metadata.get(CARD_KEY, ""), path)


def embeds_preprocessing(path: Path) -> bool:
    """Whether an ONNX file has preprocessing in its graph (`facerec export --normalise`).

    Raises:
        MissingError: ONNX Runtime is not installed or cannot read it.
    """
    return OnnxNetwork(path, device="cpu", threads=1).inside


def onnx_sha256(path: Path) -> str:
    """Hex SHA-256 of a network and of its external weights.

    `NAME.onnx.data` counts wherever it exists, and goes first: what is known by such a hash stays.

    Raises:
        MissingError: a file cannot be read, or lies outside the network's folder.
    """
    usual = path.with_name(f"{path.name}.data")
    others = [part for part in weight_files(path) if part != usual]
    digest = hashlib.sha256()
    for part in (path, *([usual] if usual.exists() else []), *others):
        try:
            with part.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except FileNotFoundError as error:
            raise MissingError(f"{part}: no such file; {path.name} has weights in it") from error
        except OSError as error:
            raise MissingError(f"{part}: {error.strerror}") from error
    return digest.hexdigest()


def _port(port: Any) -> Port:
    shape = [side if isinstance(side, int) else None for side in port.shape]
    return Port(shape, _TYPES.get(port.type), port.type)


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
    options.intra_op_num_threads = threads or thread_limit()
    # Warnings would go to stderr; failures are raised.
    options.log_severity_level = 4
    if device == "mps" and not offers(device):
        raise MissingError(f"{path}: this ONNX Runtime was built without CoreML; try device cpu")
    providers: list[Any] = [_CPU]
    if offers(device) and device != "cpu":
        name = _PROVIDERS[device.partition(":")[0]]
        providers.insert(0, (name, _COREML) if device == "mps" else name)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise MissingError(f"{path}: ONNX Runtime cannot read it: {brief(error)}") from error
