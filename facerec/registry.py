"""Registries: detectors, losses, backbones, protocols, gallery backends, export targets by name.

A thing registers itself with a decorator in its own file:

    @DETECTORS.register("yunet", help="YuNet: one-stage.", weights="yunet")
    class YuNet: ...

Names, help lines and other literal facts are read from the package's source without importing it,
so that a profile is checked and a shell completed without PyTorch. Another package registers
through an entry point of the group `facerec.detectors` (`facerec.losses`, …): its name is the
registered name, its value the module that registers it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from facerec.errors import MissingError, ProfileError, nearest_or_all

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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
                raise ProfileError(f"{key}: {self.name} has none")
            return None
        from pydantic import ValidationError

        for option in given:
            if option not in model.model_fields:
                known = nearest_or_all(option, list(model.model_fields))
                raise ProfileError(f"{key}: {self.name} has no option {option}{known}")
        try:
            return model(**given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (key, *first["loc"])))
            problem = first["msg"][0].lower() + first["msg"][1:]
            raise ProfileError(f"{where}: {problem}, not {first['input']!r}") from error


class _Shipped(NamedTuple):
    """What a decorator says in the source; keys of `computed` facts are no literals."""

    module: str
    facts: dict[str, Any]
    computed: set[str]


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
            facts: kept in the entry; `fact` reads literals without importing.
        """

        def add(target: Target) -> Target:
            self._entries[name] = Entry(name, help, cast(T, target), facts)
            return target

        return add

    def summaries(self, *, tests: bool = False) -> dict[str, str]:
        """Every name and its help line, shipped ones first; imports none of them.

        Args:
            tests: list those that start with `test_` too.
        """
        told: dict[str, str] = {name: it.facts["help"] for name, it in self._shipped.items()}
        told |= {name: entry.help for name, entry in self._entries.items()}
        for name, point in self._plugins.items():
            told.setdefault(name, f"from {point.value.partition(':')[0]}")
        return {name: it for name, it in told.items() if tests or not name.startswith("test_")}

    def names(self, *, tests: bool = False) -> list[str]:
        """Every name; see `summaries`."""
        return list(self.summaries(tests=tests))

    def fact(self, name: str, key: str) -> Any:
        """What a listed thing registered under the key; None where it registered no such fact.

        Literals of shipped things are read without importing them.

        Raises:
            MissingError: see `get`.
        """
        shipped = self._shipped.get(name)
        if shipped is not None and key not in shipped.computed:
            return shipped.facts.get(key)
        return self.get(name).facts.get(key)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._shipped or name in self._plugins

    def get(self, name: str) -> Entry[T]:
        """Import and return what is registered under the name.

        Raises:
            MissingError: nothing is, or its package does not import.
        """
        if name not in self._entries:
            if name in self._shipped:
                import_module(self._shipped[name].module)
            elif name in self._plugins:
                self._load(self._plugins[name])
        if name not in self._entries:
            raise MissingError(f"no {self.kind} is called {name}{self.hint(name)}")
        return self._entries[name]

    def hint(self, name: str) -> str:
        """The nearest name as a question, or all names: the end of an error message."""
        return nearest_or_all(name, self.names())

    def _load(self, point: EntryPoint) -> None:
        try:
            point.load()
        except (ImportError, AttributeError) as error:
            raise MissingError(f"{self.kind} {point.name}: {point.value}: {error}") from error

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=self.group)}

    @cached_property
    def _shipped(self) -> dict[str, _Shipped]:
        """From the decorators in the package's source."""
        found: dict[str, _Shipped] = {}
        root = Path(__file__).parent
        folder = root.joinpath(*self._package.split(".")[1:])
        for file in sorted(folder.rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if f"@{self._variable}.register(" not in text:
                continue
            module = ".".join(("facerec", *file.relative_to(root).with_suffix("").parts))
            for node in ast.parse(text).body:
                # stacked decorators, in the order they are written
                for decorator in getattr(node, "decorator_list", ()):
                    if _registers(decorator, self._variable):
                        name, facts, computed = _read(decorator)
                        module = module.removesuffix(".__init__")
                        found[name] = _Shipped(module, facts, computed)
        return found


def _registers(decorator: ast.expr, variable: str) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "register"
        and isinstance(function.value, ast.Name)
        and function.value.id == variable
    )


def _read(decorator: ast.expr) -> tuple[str, dict[str, Any], set[str]]:
    """The name, the facts that are literals, and the keys of those that are not."""
    assert isinstance(decorator, ast.Call)
    facts, computed = {}, set()
    for word in decorator.keywords:
        try:
            facts[str(word.arg)] = ast.literal_eval(word.value)
        except ValueError:
            computed.add(str(word.arg))
    return ast.literal_eval(decorator.args[0]), facts, computed


DETECTORS: Registry[Any] = Registry("detector", "DETECTORS", "facerec.detection")
LOSSES: Registry[Any] = Registry("loss", "LOSSES", "facerec.training.losses")
BACKBONES: Registry[Any] = Registry("network", "BACKBONES", "facerec.models")
PROTOCOLS: Registry[Any] = Registry("protocol", "PROTOCOLS", "facerec.evaluation")
GALLERIES: Registry[Any] = Registry("gallery backend", "GALLERIES", "facerec.gallery")
EXPORTS: Registry[Any] = Registry("export target", "EXPORTS", "facerec.models")
