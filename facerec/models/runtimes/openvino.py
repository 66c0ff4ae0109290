"""Embedding models run by OpenVINO: `NAME.xml` with its weights in `NAME.bin`, or ONNX."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.hashing import sha256_of
from facerec.files.parsing import brief
from facerec.models.precision import choose_precision
from facerec.models.runtimes.checks import CHECK_KEY
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY, ForeignEmbedder, Port, parse_card
from facerec.models.runtimes.onnx import embeds_preprocessing
from facerec.parallel.cores import takes_all_cores, thread_limit
from facerec.parallel.forking import renew_in_children
from facerec.parallel.openvino import keep_for_ever, open_core
from facerec.profile.schema import RuntimePrecision

_TYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "f64": np.dtype(np.float64),
    "u8": np.dtype(np.uint8),
}
"""Those that an embedder takes or gives."""


class OpenVinoNetwork:
    """See `facerec.models.runtimes.foreign.Network`.

    Args:
        path: the `.xml` or `.onnx`.
        threads: CPU threads; 0: one per core, or as many as a quota lets run.
        precision: `bf16`, `fp32`, or `int8` for quantised weights, whose other layers run in bf16
            where the CPU multiplies it.

    Raises:
        MissingError: OpenVINO is not installed or cannot read the files.
    """

    def __init__(self, path: Path, *, threads: int, precision: RuntimePrecision = "fp32") -> None:
        import_openvino(path)
        self._path = path
        # By default OpenVINO computes in bf16 where the CPU can.
        best = choose_precision("auto" if precision == "int8" else precision, "openvino", "cpu")
        hint = "bf16" if best == "bf16" else "f32"
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if threads := threads or thread_limit():
            settings["INFERENCE_NUM_THREADS"] = str(threads)
            settings["ENABLE_CPU_PINNING"] = "YES" if takes_all_cores(threads) else "NO"
        _require_parts(path)
        self._settings, self._compiling = settings, threading.Lock()
        try:
            model = _read_model(path)
            self._compiled = self._compile(model)
            self.takes, self.gives = _port(model.input()), [_port(port) for port in model.outputs]
            self.check = _told(model, CHECK_KEY)
        except Exception as error:
            raise MissingError(f"{path}: OpenVINO cannot read it") from error
        # OpenVINO does not read an ONNX file's metadata.
        self.inside = (
            embeds_preprocessing(path)
            if path.suffix == ".onnx"
            else _told(model, INSIDE_KEY) == "true"
        )
        self.arithmetic = f"openvino {precision}"
        renew_in_children(self)

    def renew(self) -> None:
        """See `facerec.parallel.forking`."""
        keep_for_ever(self._compiled)
        self._compiled, self._compiling = None, threading.Lock()

    def _compile(self, model: Any) -> Any:
        return open_core().compile_model(model, "CPU", self._settings)

    def run(self, x: NDArray[Any], output: int) -> Floats:
        try:
            with self._compiling:
                if self._compiled is None:
                    self._compiled = self._compile(_read_model(self._path))
            y: Floats = self._compiled(x)[output]
        except Exception as error:
            raise MissingError(f"{self._path}: OpenVINO cannot run it: {brief(error)}") from error
        return y


def load_openvino(
    path: Path, card: ModelCard, *, threads: int, batch: int, precision: RuntimePrecision = "fp32"
) -> ForeignEmbedder:
    """An embedder of a file that OpenVINO reads; see `OpenVinoNetwork` and `ForeignEmbedder`."""
    network = OpenVinoNetwork(path, threads=threads, precision=precision)
    return ForeignEmbedder(path, network, card, batch=batch)


def openvino_card(path: Path) -> ModelCard | None:
    """The card that `facerec export --to openvino` embedded; None: there is none.

    Raises:
        MissingError: a file is absent, or OpenVINO is not installed or cannot read it.
    """
    import_openvino(path)
    _require_parts(path)
    try:
        text = _told(_read_model(path), CARD_KEY)
    except Exception as error:
        raise MissingError(f"{path}: OpenVINO cannot read it") from error
    return parse_card(text, path)


def openvino_sha256(path: Path) -> str:
    """Hex SHA-256 of `NAME.xml` and of its weights in `NAME.bin`."""
    return sha256_of(*_parts(path))


def import_openvino(where: Path | str) -> Any:
    """The package.

    Args:
        where: begins the error.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingError(
            f"{where}: OpenVINO is not installed; pip install 'facerec[openvino]'"
        ) from error
    return openvino


def _parts(path: Path) -> list[Path]:
    return [path] if path.suffix == ".onnx" else [path, path.with_suffix(".bin")]


def _require_parts(path: Path) -> None:
    if not all(part.is_file() for part in _parts(path)):
        raise MissingError(f"{path}: no such model file, or its .bin is not beside it")


def _read_model(path: Path) -> Any:
    """As `openvino.Core.read_model`, by the reader of that format: others would complain on stderr
    of a file that none of them can read."""
    from openvino.frontend import FrontEndManager

    reader = FrontEndManager().load_by_framework("onnx" if path.suffix == ".onnx" else "ir")
    return reader.convert(reader.load(str(path)))


def _port(port: Any) -> Port:
    sides = () if port.partial_shape.rank.is_dynamic else port.partial_shape
    shape = [side.get_length() if side.is_static else None for side in sides]
    name = port.element_type.get_type_name()
    return Port(shape, _TYPES.get(name), name)


def _told(model: Any, key: str) -> str:
    return str(model.get_rt_info(key).astype(str)) if model.has_rt_info(key) else ""
