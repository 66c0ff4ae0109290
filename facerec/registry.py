"""Registries: detectors, losses, backbones, protocols, gallery backends, export targets by name.

A thing registers itself with a decorator in its own file:

    @DETECTORS.register("yunet", help="YuNet: one-stage, 8 ms a photo; weights are downloaded.")
    class YuNet: ...

Names and help lines are read from the package's source without importing it, so that a profile is
checked and a shell completed without PyTorch. Another package registers through an entry point of
the group `facerec.detectors` (`facerec.losses`, …): its name is the registered name, its value the
module that registers it.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from facerec.errors import MissingError, ProfileError

T = TypeVar("T")
Target = TypeVar("Target")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A registered thing.

    Attributes:
        name: what profiles and options call it.
        help: one line.
        target: the class or factory.
        facts: what else it registered with, such as its options model or weights record.
    """

    name: str
    help: str
    target: T
    facts: Mapping[str, Any] = field(default_factory=dict)

    def options(self, given: Mapping[str, Any], key: str) -> Any:
        """The profile's values for it, as its options model (fact `options`, a pydantic model).

        Args:
            given: the profile's values.
            key: the profile's key, for messages.

        Returns:
            The model; None where it has none.

        Raises:
            ProfileError: a value does not fit, or there is no such option.
        """
        model = self.facts.get("options")
        if model is None:
            if given:
                raise ProfileError(f"{key}: {self.name} takes no options, not {min(given)}")
            return None
        from pydantic import ValidationError

        try:
            return model(**given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (key, *first["loc"])))
            raise ProfileError(f"{where}: {first['msg']}") from error


class Registry(Generic[T]):
    """Things of one kind by name.

    Args:
        kind: what messages call one, such as `detector`.
        variable: the name of this registry in this module; decorators are found by it.
        package: where the shipped ones are, such as `facerec.detection`.
    """

    def __init__(self, kind: str, variable: str, package: str) -> None:
        self.kind = kind
        self.group = f"facerec.{variable.lower()}"
        self._variable = variable
        self._package = package
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, help: str, **facts: Any) -> Callable[[Target], Target]:
        """Register the decorated class or factory.

        Args:
            name: a literal; names that start with `test_` are not listed.
            help: a literal, one line.
            facts: kept in the entry.
        """

        def add(target: Target) -> Target:
            self._entries[name] = Entry(name, help, cast(T, target), facts)
            return target

        return add

    def summaries(self) -> dict[str, str]:
        """Every listed name and its help line, shipped ones first; imports none of them."""
        told = {name: help_ for name, (_, help_) in self._shipped.items()}
        told |= {name: entry.help for name, entry in self._entries.items()}
        for name, point in self._plugins.items():
            told.setdefault(name, f"from {point.value.partition(':')[0]}")
        return {name: line for name, line in told.items() if not name.startswith("test_")}

    def names(self) -> list[str]:
        """Every listed name."""
        return list(self.summaries())

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._shipped or name in self._plugins

    def get(self, name: str) -> Entry[T]:
        """Import and return what is registered under the name.

        Raises:
            MissingError: nothing is, or its package does not import.
        """
        if name not in self._entries:
            if name in self._shipped:
                import_module(self._shipped[name][0])
            elif name in self._plugins:
                self._load(self._plugins[name])
        if name not in self._entries:
            raise MissingError(f"no {self.kind} is called {name}{self.hint(name)}")
        return self._entries[name]

    def hint(self, name: str) -> str:
        """The nearest name as a question, or all names: the end of an error message."""
        near = difflib.get_close_matches(name, self.names(), 1)
        return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self.names())}"

    def _load(self, point: EntryPoint) -> None:
        try:
            point.load()
        except (ImportError, AttributeError) as error:
            raise MissingError(f"{self.kind} {point.name}: {point.value}: {error}") from error

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    @cached_property
    def _shipped(self) -> dict[str, tuple[str, str]]:
        """Name → module and help line, from the decorators in the package's source."""
        found: dict[str, tuple[str, str]] = {}
        root = Path(__file__).parent
        folder = root.joinpath(*self._package.split(".")[1:])
        for file in sorted(folder.rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if f"@{self._variable}.register(" not in text:
                continue
            module = ".".join(("facerec", *file.relative_to(root).with_suffix("").parts))
            for node in ast.parse(text).body:
                for decorator in getattr(node, "decorator_list", ()):
                    if _registers(decorator, self._variable):
                        name, help_ = _literals(decorator)
                        found[name] = (module.removesuffix(".__init__"), help_)
        return found


def _registers(decorator: ast.expr, variable: str) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "register"
        and isinstance(function.value, ast.Name)
        and function.value.id == variable
    )


def _literals(decorator: ast.expr) -> tuple[str, str]:
    assert isinstance(decorator, ast.Call)
    help_ = next(word.value for word in decorator.keywords if word.arg == "help")
    return ast.literal_eval(decorator.args[0]), ast.literal_eval(help_)


DETECTORS: Registry[Any] = Registry("detector", "DETECTORS", "facerec.detection")
LOSSES: Registry[Any] = Registry("loss", "LOSSES", "facerec.training.losses")
BACKBONES: Registry[Any] = Registry("backbone", "BACKBONES", "facerec.models")
PROTOCOLS: Registry[Any] = Registry("protocol", "PROTOCOLS", "facerec.evaluation")
GALLERIES: Registry[Any] = Registry("gallery backend", "GALLERIES", "facerec.gallery")
EXPORTS: Registry[Any] = Registry("export target", "EXPORTS", "facerec.models")
