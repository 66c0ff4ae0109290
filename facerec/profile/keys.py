"""What the schema says of each profile key, read from its source without importing pydantic.

Help and completion of the command line take documentation, defaults and choices from here.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent.parent
_SOURCES = (_PACKAGE / "card.py", _PACKAGE / "profile" / "schema.py")


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A key of the schema.

    Attributes:
        documentation: the docstring under it, on one line.
        default: the value where no profile sets it; None where it is empty or no literal.
        choices: of a Literal or a boolean, as they are typed; else empty.
    """

    documentation: str
    default: Any
    choices: tuple[str, ...]


@cache
def read_keys() -> dict[str, KeyFacts]:
    """Every `section.key` of the schema, in its order."""
    aliases: dict[str, ast.expr] = {}
    keys: dict[str, KeyFacts] = {}
    for source in _SOURCES:
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                aliases[node.targets[0].id] = node.value
            elif isinstance(node, ast.ClassDef) and node.name.endswith("Section"):
                keys |= _read_section(node, aliases)
    return keys


def _read_section(section: ast.ClassDef, aliases: dict[str, ast.expr]) -> dict[str, KeyFacts]:
    name = section.name.removesuffix("Section").lower()
    keys = {}
    for node, below in zip(section.body, section.body[1:], strict=False):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        documentation = " ".join(_literal(getattr(below, "value", None), "").split())
        default, choices = _literal(node.value, None), _choices(node.annotation, aliases)
        keys[f"{name}.{node.target.id}"] = KeyFacts(documentation, default, choices)
    return keys


def _literal(node: ast.expr | None, otherwise: Any) -> Any:
    try:
        return otherwise if node is None else ast.literal_eval(node)
    except ValueError:
        return otherwise


def _choices(annotation: ast.expr, aliases: dict[str, ast.expr]) -> tuple[str, ...]:
    if isinstance(annotation, ast.Name):
        if annotation.id == "bool":
            return ("true", "false")
        return _choices(aliases[annotation.id], aliases) if annotation.id in aliases else ()
    if isinstance(annotation, ast.BinOp):
        return _choices(annotation.left, aliases)
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.value, ast.Name):
        return ()
    inner = annotation.slice
    if annotation.value.id == "Annotated" and isinstance(inner, ast.Tuple):
        return _choices(inner.elts[0], aliases)
    if annotation.value.id != "Literal":
        return ()
    values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    return tuple(str(ast.literal_eval(value)) for value in values)
