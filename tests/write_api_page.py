"""Write the page on the Python API from the docstrings: `python -m tests.write_api_page`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import facerec

PAGE = Path(facerec.__file__).parent / "docs" / "python.md"
BEGIN, END = "<!-- generated -->", "<!-- end -->"


def render() -> str:
    """Signature and docstring of every public name, and of the public methods of classes."""
    parts = []
    for name in sorted(set(facerec.__all__) - {"__version__"}, key=str.lower):
        thing = getattr(facerec, name)
        parts.append(f"## `{name}`\n\n{_docstring(thing)}")
        if inspect.isclass(thing):
            parts += [
                f"### `{name}.{method}{_signature(getattr(thing, method))}`\n\n{text}"
                for method in _methods(thing)
                if (text := _docstring(getattr(thing, method)))
            ]
        else:
            parts[-1] = f"## `{name}{_signature(thing)}`\n\n{_docstring(thing)}"
    return "\n\n".join(parts)


def _methods(cls: type) -> list[str]:
    found = {
        name
        for base in cls.__mro__
        if base.__module__.startswith("facerec.")
        for name, value in vars(base).items()
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, classmethod))
    }
    return sorted(found)


def _signature(thing: object) -> str:
    signature = str(inspect.signature(thing))  # type: ignore[arg-type]
    return re.sub(r"'", "", signature).replace("(self, ", "(").replace("(self)", "()")


def _docstring(thing: object) -> str:
    text = inspect.getdoc(thing) or ""
    return (
        re.sub(r"^(Args|Returns|Raises|Yields|Attributes):$", r"*\1*\n", text, flags=re.M)
        .replace("\n    ", "\n- ")
        .replace("- >>>", "    >>>")
    )


def fresh_page() -> str:
    text = PAGE.read_text("utf-8")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(fresh_page(), "utf-8")
