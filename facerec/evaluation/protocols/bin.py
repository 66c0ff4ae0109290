"""insightface's `.bin` verification sets: a pickle of (JPEG bytes of all images, same flags).

The opcodes are interpreted here, without `pickle`: nothing is imported and nothing is called, so
a hostile file can at worst be refused. Python 2 and 3 wrote these files, with bytes as strings,
as `_codecs.encode` of Latin-1 text, or as numpy arrays of bytes.
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facerec.errors import MissingError, UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.files.text import counted
from facerec.imaging.archives import MemorySource
from facerec.registry import PROTOCOLS


@PROTOCOLS.register("bin", help="A .bin verification set of insightface.")
def read_bin(path: str | Path) -> tuple[PairProtocol, MemorySource]:
    """Pairs and images of a `.bin` set; folds are ten blocks in the order of the file.

    Raises:
        MissingError: the file cannot be read.
        UsageError: it is not such a set.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error
    try:
        content = interpret(data)
        images, flags = content
        images = [_as_bytes(image) for image in images]
        same = _as_flags(flags)
    except _MALFORMED as error:
        raise UsageError(f"{path}: not a verification set of insightface: {error}") from error
    if len(images) != 2 * len(same):
        raise UsageError(
            f"{path}: {counted(len(images), 'image')} for {counted(len(same), 'pair')}, not two "
            "a pair"
        )
    keys = [f"{number:06d}.jpg" for number in range(len(images))]
    pairs = [Pair(keys[2 * k], keys[2 * k + 1], flag) for k, flag in enumerate(same)]
    name = f"bin:{path.stem}"
    return (
        build_protocol(name, pairs, None, str(path)),
        MemorySource(str(path), dict(zip(keys, images, strict=True))),
    )


class _RefusedError(Exception):
    """The pickle holds something that a verification set does not need."""


# What interpreting a malformed pickle can raise: an empty stack, no memo, a missing field.
_MALFORMED = (
    _RefusedError, ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error,
)  # fmt: skip


class _Mark:
    """Marks the start of a tuple or of list items on the stack."""


@dataclass(frozen=True)
class _Global:
    """A name that the pickle would import."""

    name: str


@dataclass
class _Array:
    """A NumPy array or dtype, filled in place of `__setstate__`."""

    data: bytes | None = None
    kind: str = ""


_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
_NUMBERS = {"b1": "?", "u1": "B", "i1": "b", "i4": "<i", "i8": "<q"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_PYTHON2_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORE = {"PUT", "BINPUT", "LONG_BINPUT"}
_FETCH = {"GET", "BINGET", "LONG_BINGET"}


def interpret(data: bytes) -> Any:
    """The value of a pickle of lists, tuples, bytes, numbers and arrays of bytes.

    Raises:
        ValueError: the pickle is cut off or malformed.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _PYTHON2_STRINGS:
            stack.append(argument.encode("latin-1") if isinstance(argument, str) else argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _STORE:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _FETCH:
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_Mark())
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "LIST":
            stack.append(_pop_to_mark(stack))
        elif name == "APPEND":
            item = stack.pop()
            _list(stack).append(item)
        elif name == "APPENDS":
            items = _pop_to_mark(stack)
            _list(stack).extend(items)
        elif name == "TUPLE":
            stack.append(tuple(_pop_to_mark(stack)))
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "GLOBAL":
            stack.append(_Global(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            module, attribute = stack[-2:]
            stack[-2:] = [_Global(f"{module}.{attribute}")]
        elif name == "REDUCE":
            function, arguments = stack[-2:]
            stack[-2:] = [_apply(function, arguments)]
        elif name == "BUILD":
            state = stack.pop()
            _fill(stack[-1], state)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise _RefusedError(f"it uses the pickle instruction {name}")
    raise _RefusedError("it has no end")


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while not isinstance(item := stack.pop(), _Mark):
        items.append(item)
    items.reverse()
    return items


def _list(stack: list[Any]) -> list[Any]:
    if not isinstance(stack[-1], list):
        raise _RefusedError("items are added to what is no list")
    return stack[-1]


def _apply(function: Any, arguments: Any) -> Any:
    """The results of the few calls that these files contain, without calling anything."""
    name = function.name if isinstance(function, _Global) else repr(function)
    module, _, attribute = name.rpartition(".")
    if name == "_codecs.encode":
        return arguments[0].encode("latin-1")
    if name in ("builtins.bytes", "__builtin__.bytes") and not arguments:
        return b""
    if name == "numpy.dtype":
        return _Array(kind=_text(arguments[0]))
    if module in _ARRAY_MODULES and attribute == "_reconstruct":
        return _Array()
    if module in _NUMERIC_MODULES and attribute == "_frombuffer":
        return _Array(bytes(arguments[0]), arguments[1].kind)
    if module in _ARRAY_MODULES and attribute == "scalar":
        (number,) = _numbers(arguments[0].kind, arguments[1])
        return number
    raise _RefusedError(f"it would call {name}")


def _fill(target: Any, state: Any) -> None:
    if not isinstance(target, _Array):
        raise _RefusedError("it sets the state of an object")
    if target.kind:
        # A dtype's state is byte order and alignment, irrelevant for bytes and flags.
        return
    _, _, dtype, _, data = state
    target.kind, target.data = dtype.kind, data


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _numbers(kind: str, data: bytes) -> list[Any]:
    if kind not in _NUMBERS:
        raise _RefusedError(f"it holds numbers of type {kind}")
    return [number for (number,) in struct.iter_unpack(_NUMBERS[kind], data)]


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, _Array) and value.kind == "u1":
        value = value.data
    if not isinstance(value, (bytes, bytearray)):
        raise _RefusedError("an image is not made of bytes")
    return bytes(value)


def _as_flags(value: Any) -> list[bool]:
    if isinstance(value, _Array):
        value = _numbers(value.kind, value.data or b"")
    if not all(isinstance(flag, (bool, int)) and flag in (0, 1) for flag in value):
        raise _RefusedError("a label is neither true nor false")
    return [bool(flag) for flag in value]
