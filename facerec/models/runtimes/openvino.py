"""Embedding models run by OpenVINO: `NAME.xml` with its weights in `NAME.bin`, or ONNX."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from facerec.card import Augment, ModelCard
from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.parsing import brief
from facerec.models.precision import choose_precision
from facerec.models.runtimes.checks import CHECK_KEY
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY, ForeignEmbedder, carried_card
from facerec.models.runtimes.onnx import embeds_preprocessing
from facerec.parallel.cores import takes_all_cores, thread_limit
from facerec.parallel.forking import renew_in_children
from facerec.parallel.openvino import keep_for_ever, open_core
from facerec.profile.schema import RuntimePrecision


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
        parts = [path] if path.suffix == ".onnx" else [path, path.with_suffix(".bin")]
        if not all(part.is_file() for part in parts):
            raise MissingError(f"{path}: no such model file, or its .bin is not beside it")
        self._settings, self._compiling = settings, threading.Lock()
        try:
            model = _read_model(path)
            self._compiled = self._compile(model)
            self.takes, self.gives = _shape(model.input()), _shape(model.output(0))
            self.card_text = _told(model, CARD_KEY)
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

    def run(self, x: Floats) -> Floats:
        try:
            with self._compiling:
                if self._compiled is None:
                    self._compiled = self._compile(_read_model(self._path))
            y: Floats = self._compiled(x)[0]
        except Exception as error:
            raise MissingError(f"{self._path}: OpenVINO cannot run it: {brief(error)}") from error
        return y


def load_openvino(
    path: Path, card: ModelCard | None = None, *, threads: int, batch: int,
    precision: RuntimePrecision = "fp32", augment: Augment | None = None,
) -> ForeignEmbedder:  # fmt: skip
    """An embedder of a file that OpenVINO reads.

    Args:
        card: None: the one embedded by `facerec export --to openvino`.
        precision: see `OpenVinoNetwork`.
        augment: what is averaged; None: as the card says.

    Raises:
        MissingError: OpenVINO is not installed or cannot read it, or it carries no card.
    """
    network = OpenVinoNetwork(path, threads=threads, precision=precision)
    card = card or carried_card(network.card_text, path)
    return ForeignEmbedder(path, network, card.with_augment(augment), batch=batch)


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


def _read_model(path: Path) -> Any:
    """As `openvino.Core.read_model`, by the reader of that format: others would complain on stderr
    of a file that none of them can read."""
    from openvino.frontend import FrontEndManager

    reader = FrontEndManager().load_by_framework("onnx" if path.suffix == ".onnx" else "ir")
    return reader.convert(reader.load(str(path)))


def _shape(port: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in port.partial_shape]


def _told(model: Any, key: str) -> str:
    return str(model.get_rt_info(key).astype(str)) if model.has_rt_info(key) else ""
