"""Write the page on the Python API from the docstrings: `python -m tests.write_api_page`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

import facerec

PAGE = Path(facerec.__file__).parent / "docs" / "python.md"
BEGIN, END = "<!-- generated -->", "<!-- end -->"
NAMES = sorted(set(facerec.__all__) - {"__version__"}, key=str.lower)
INNER = {
    "Engine": {
        "__init__", "described", "embed_found", "faces_of", "in_whole_batches", "passes",
        "reduction",
    },
    "Gallery": {
        "append", "apply", "base", "base_vectors", "batches", "blocks", "entries", "index",
        "numbers", "of_base", "revision", "sizes", "templates_of",
    },
}  # fmt: skip
"""Members that commands and backends share; the page does not promise them."""

_SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes):$")


class _AsWritten:
    """An annotation whose representation is its source, without quotes."""

    def __init__(self, annotation: object) -> None:
        self._text = annotation if isinstance(annotation, str) else repr(annotation)

    def __repr__(self) -> str:
        return self._text


def render() -> str:
    """Signature and docstring of every public name, and of the public members of classes."""
    return "\n\n".join(part for name in NAMES for part in _describe(name))


def members(cls: type) -> dict[str, object]:
    """Public methods and properties that facerec defines, without the inner ones, by name."""
    found = {
        name: value
        for base in reversed(cls.__mro__)
        if base.__module__.startswith("facerec.")
        for name, value in vars(base).items()
        if not name.startswith("_")
        and isinstance(value, property | classmethod | staticmethod | type(render))
    }
    return {name: found[name] for name in sorted(set(found) - INNER.get(cls.__name__, set()))}


def _describe(name: str) -> Iterator[str]:
    thing = getattr(facerec, name)
    if not inspect.isclass(thing):
        yield f"## `{name}{signature(thing)}`"
        yield markdown(docstring(thing))
        return
    inner = issubclass(thing, BaseModel) or "__init__" in INNER.get(name, set())
    own = "__init__" in vars(thing) and not inner
    yield f"## `{name}{signature(thing.__init__, returns=False)}`" if own else f"## `{name}`"
    yield markdown(docstring(thing))
    if issubclass(thing, BaseModel):
        yield _fields(thing)
    for member, value in members(thing).items():
        if not docstring(value):
            continue
        if isinstance(value, property):
            kind = inspect.get_annotations(value.fget)["return"]  # type: ignore[arg-type]
            yield f"### `{name}.{member}: {kind}`"
        else:
            yield f"### `{name}.{member}{signature(getattr(thing, member))}`"
        yield markdown(docstring(value))


def _fields(model: type[BaseModel]) -> str:
    written = {
        name: re.sub(r"Annotated\[(\w+),.*\]", r"\1", str(kind))
        for name, kind in inspect.get_annotations(model).items()
    }
    rows = [(name, written[name].replace("|", r"\|")) for name in model.model_fields]
    return "\n".join(
        ("| field | type |", "|---|---|", *(f"| `{name}` | `{kind}` |" for name, kind in rows))
    )


def signature(thing: object, *, returns: bool = True) -> str:
    """A signature without `self` and quotes, defaults as in Python."""
    found = inspect.signature(thing)  # type: ignore[arg-type]
    parameters = [
        one if one.annotation is one.empty else one.replace(annotation=_AsWritten(one.annotation))
        for one in found.parameters.values()
        if one.name != "self"
    ]
    kind = found.return_annotation
    kind = _AsWritten(kind) if returns and kind is not found.empty else found.empty
    return str(found.replace(parameters=parameters, return_annotation=kind))


def docstring(thing: object) -> str:
    """A docstring; of `See `CLASS.METHOD`.` that method's."""
    text = inspect.getdoc(thing) or ""
    refers = re.fullmatch(r"See `(\w+)\.(\w+)`\.", text)
    if refers is None:
        return text
    modules = [module for at, module in list(sys.modules.items()) if at.startswith("facerec")]
    (owner,) = {vars(module)[refers[1]] for module in modules if refers[1] in vars(module)}
    return docstring(getattr(owner, refers[2]))


def markdown(text: str) -> str:
    """A docstring as Markdown: its sections as lists, one item a line, its examples as code."""
    lines: list[str] = []
    in_section = in_example = False
    for line in text.splitlines():
        if in_example and not line:
            lines.append("```")
            in_example = False
        if line.startswith(">>> ") and not in_example:
            lines.append("```pycon")
            in_example = True
        section = _SECTION.match(line)
        if section:
            lines += [f"*{section[1]}*", ""]
            in_section = True
        elif in_section and line.startswith("        "):
            lines[-1] += f" {line.strip()}"
        elif in_section and line.startswith("    "):
            lines.append(f"- {_code_name(line.strip())}")
        else:
            lines.append(line)
    return "\n".join((*lines, "```") if in_example else lines)


def _code_name(item: str) -> str:
    return re.sub(r"^(\w+):", r"`\1`:", item)


def fresh_page() -> str:
    """The page with what is generated written anew."""
    text = PAGE.read_text("utf-8")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(fresh_page(), "utf-8")
