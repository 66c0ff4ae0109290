"""Reading other projects' weight files without executing pickles, and recognising their layout."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from facerec.errors import MissingError, UsageError
from facerec.files.parsing import MALFORMED, brief
from facerec.weights.dlib import read_dlib_resnet
from facerec.weights.layouts import Imported, State
from facerec.weights.layouts.mxnet import import_mobilefacenet, read_params
from facerec.weights.layouts.torch_layouts import TORCH_LAYOUTS

if TYPE_CHECKING:
    from torch import Tensor

# Keys under which checkpoints hold the weights: Lightning, Xiaoccer, arcface_torch, many scripts.
_INSIDE = (
    "state_dict", "net_state_dict", "model_state_dict", "state_dict_backbone", "model", "backbone",
    "ema",
)  # fmt: skip
# Prefixes of wrappers: DataParallel, torch.compile, Lightning modules.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.", "net.")
_MOST_KEYS = 10
"""Named in an error."""
_PYTORCH = (b"PK", b"\x80")
"""How its files begin: a zip, or, before PyTorch 1.6, a pickle."""
_HDF5 = b"\x89HDF"
_DLIB_CARD = "dlib_resnet"
UNREADABLE: tuple[type[Exception], ...] = (SafetensorError, *MALFORMED)
"""What reading a safetensors file raises."""


def layout_names() -> list[str]:
    """What `--as` takes."""
    return [*dict.fromkeys(layout.name for layout in TORCH_LAYOUTS), "mxnet", "dlib"]


def read_foreign(path: str | Path, layout: str | None) -> tuple[str, Imported]:
    """A file's weights and layout.

    Args:
        layout: one of `layout_names`; None: recognised by suffix and parameter names.

    Raises:
        MissingError: the file cannot be read, or holds objects that could run code.
        UsageError: its layout is not known, is that of several projects, or is not the one given.
    """
    if layout is not None and layout not in layout_names():
        raise UsageError(f"--as {layout}: no such layout; there are {', '.join(layout_names())}")
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    if layout == "dlib" or (layout is None and path.suffix == ".dat"):
        return "dlib", Imported(_DLIB_CARD, read_dlib_resnet(path))
    try:
        if layout == "mxnet" or (layout is None and path.suffix == ".params"):
            return "mxnet", import_mobilefacenet(read_params(path))
        saved = _read_tensors(path)
        state = _unwrapped(saved)
        fitting = [it for it in TORCH_LAYOUTS if layout in (None, it.name) and it.fits(state)]
        for known in fitting:
            if layout or known.marked is None or known.marked(saved):
                return known.name, known.read(state)
    except MALFORMED as error:
        raise UsageError(f"{path}: {brief(error)}") from error
    if fitting:
        kinds = " or ".join(f"--as {it.name} ({it.project}; {it.colour})" for it in fitting)
        raise UsageError(f"{path}: whose it is cannot be told by its names; give {kinds}")
    names = ", ".join(sorted(state)[:3])
    wanted = f"is not laid out as {layout}" if layout else "has no layout that is known"
    raise UsageError(f"{path}: {wanted} ({len(state)} tensors: {names}, …)")


def describe_assumption(layout: str) -> str | None:
    """What recognising a layout by the names of the weights took for granted, for a person.

    Args:
        layout: as `read_foreign` recognised it.

    Returns:
        None: no other project's networks have those names.
    """
    known = next((it for it in TORCH_LAYOUTS if it.name == layout and it.marked is None), None)
    if known is None:
        return None
    for other in TORCH_LAYOUTS:
        if other is not known and other.fits is known.fits:
            return (
                f"taken as {known.colour}, in which {known.project} is trained; for "
                f"{other.project}, trained in {other.colour}, give --as {other.name}"
            )
    return None


def _read_tensors(path: Path) -> State:
    tensors = (
        _load_safetensors(path) if path.suffix == ".safetensors" else _load_named_tensors(path)
    )
    return {
        name: value.detach().float().contiguous().numpy()
        if value.is_floating_point()
        else value.numpy()
        for name, value in tensors.items()
    }


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except UNREADABLE as error:
        raise MissingError(f"{path}: not a readable safetensors file: {brief(error)}") from error


def _load_named_tensors(path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    _require_pickle(path)
    loaded = _load_pickled(path)
    for key in _INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    values = loaded.values() if isinstance(loaded, Mapping) else (loaded,)
    if any(value is _Inert or isinstance(value, _Inert) for value in values):
        raise MissingError(_could_run_code(path))
    if not isinstance(loaded, Mapping):
        raise MissingError(f"{path}: holds a {type(loaded).__name__}, not named weights")
    named = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not named:
        keys = ", ".join([*map(str, loaded)][:_MOST_KEYS])
        raise MissingError(f"{path}: holds no named weights; its keys: {keys or 'none'}")
    return named


def _require_pickle(path: Path) -> None:
    """Refuse what PyTorch did not write, which its reader takes for objects that could run code.

    Raises:
        MissingError: the file is another kind's, or cannot be read.
        UsageError: it is an ONNX model.
    """
    if path.suffix == ".onnx":
        raise UsageError(
            f"{path}: an ONNX model needs no import; use it as --model {path} with --card FILE"
        )
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error
    if start == _HDF5:
        raise MissingError(f"{path}: is HDF5, as Keras's weights and galleries, no PyTorch file")
    if not start.startswith(_PYTORCH):
        raise MissingError(f"{path}: not a readable PyTorch file")


class _Inert:
    """Stands for every class and function of a file that PyTorch does not know as harmless.

    PyTorch's unpickler calls what a file names with what it likes, as a function (REDUCE), to make
    an object (NEWOBJ) and to give that its state (BUILD): all of it is dropped.
    """

    __slots__ = ()

    def __new__(cls, *_: object) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


_loading = threading.Lock()
"""PyTorch keeps what it takes for harmless for the whole process."""


def _load_pickled(path: Path) -> Any:
    """What a PyTorch file holds, with `_Inert` in the place of other objects than weights, such as
    the callbacks and arguments beside them in a training script's checkpoint.

    Raises:
        MissingError: the file cannot be read.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refusal = MissingError(_could_run_code(path))
        # PyTorch before 2.6 cannot tell what a file names.
        if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
            raise refusal from error
    except MALFORMED as error:
        raise MissingError(f"{path}: not a readable PyTorch file") from error
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with _loading, torch.serialization.safe_globals([(_Inert, name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MALFORMED as error:
        raise refusal from error


def _could_run_code(path: Path) -> str:
    return f"{path}: holds Python objects, which could run code; save its state_dict() alone"


def _unwrapped(state: State) -> State:
    """Without wrappers' prefixes, and without modules beside the network."""
    for _ in range(3):
        for wrapper in _WRAPPERS:
            inside = {name: value for name, value in state.items() if name.startswith(wrapper)}
            # A classifier beside the network has its own prefix and is dropped.
            if inside and len(inside) * 2 > len(state):
                state = {name.removeprefix(wrapper): value for name, value in inside.items()}
    return state
