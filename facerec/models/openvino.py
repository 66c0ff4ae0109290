"""Embedding models in OpenVINO's format: `NAME.xml` with its weights in `NAME.bin`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.models.foreign import CARD_KEY, INSIDE_KEY, ForeignEmbedder, carried_card


class OpenVinoNetwork:
    """See `facerec.models.foreign.Network`.

    Args:
        path: the `.xml`.
        threads: processor threads; 0: one per core.

    Raises:
        MissingError: OpenVINO is not installed or cannot read the files.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        openvino = import_openvino(path)
        # Left to itself it computes in bfloat16 where the processor can.
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        if not (path.is_file() and path.with_suffix(".bin").is_file()):
            raise MissingError(f"{path}: no such model file, or its .bin is not beside it")
        core = openvino.Core()
        try:
            model = core.read_model(path)
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise MissingError(f"{path}: OpenVINO cannot read it") from error
        self.takes = _shape(model.input(0))
        self.gives = _shape(model.output(0))
        self.card_text = _told(model, CARD_KEY)
        self.inside = _told(model, INSIDE_KEY) == "true"

    def run(self, x: Floats) -> Floats:
        y: Floats = self._compiled(x)[0]
        return y


def load_openvino(
    path: Path, *, threads: int, batch: int, flip: bool | None = None
) -> ForeignEmbedder:
    """An embedder of a file that `facerec export --to openvino` wrote.

    Args:
        flip: mirror averaging; None: as the card says.

    Raises:
        MissingError: OpenVINO is not installed or cannot read it, or it carries no card.
    """
    network = OpenVinoNetwork(path, threads=threads)
    card = carried_card(network.card_text, path, flip)
    return ForeignEmbedder(path, network, card, batch=batch)


def import_openvino(path: Path) -> Any:
    """The package.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingError(
            f"{path}: OpenVINO is not installed; pip install 'facerec[openvino]'"
        ) from error
    return openvino


def _shape(port: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in port.partial_shape]


def _told(model: Any, key: str) -> str:
    return str(model.get_rt_info(key).astype(str)) if model.has_rt_info(key) else ""
