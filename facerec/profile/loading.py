"""Profiles: YAML files resolved with defaults, environment and flags, every value with its origin.

Precedence: shipped default < profile (and what it extends) < `FACEREC_…` < `--set` < a
command's own flag.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from facerec.errors import FacerecError, ProfileError, did_you_mean, require_choice
from facerec.files.home import expand_home
from facerec.files.parsing import compose_yaml, construct_yaml, parse_yaml
from facerec.files.text import read_text
from facerec.profile.detector_keys import keys_read
from facerec.profile.schema import (
    PATTERNS,
    UNKNOWN_NAME,
    AlbumSection,
    AlignmentSection,
    CleanupSection,
    DataSection,
    DetectorSection,
    DownloadSection,
    EvaluateSection,
    GallerySection,
    ModelSection,
    RecognizeSection,
    RuntimeSection,
    SecondLook,
    Section,
    ServeSection,
    TrainSection,
    VideoSection,
)


class Profile(Section):
    """The settings of every command, validated.

    `Profile.load` resolves a name with all its layers; `Profile()` is the shipped default.
    """

    description: str = ""
    """What the profile is for; shown by `facerec profile list`."""
    detector: DetectorSection = DetectorSection()
    alignment: AlignmentSection = AlignmentSection()
    model: ModelSection = ModelSection()
    runtime: RuntimeSection = RuntimeSection()
    gallery: GallerySection = GallerySection()
    recognize: RecognizeSection = RecognizeSection()
    album: AlbumSection = AlbumSection()
    video: VideoSection = VideoSection()
    serve: ServeSection = ServeSection()
    download: DownloadSection = DownloadSection()
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    cleanup: CleanupSection = CleanupSection()

    @classmethod
    def load(
        cls,
        name: str | Path = "default",
        *,
        settings: Iterable[str] = (),
        flags: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Profile:
        """The profile of that name or file, with the layers that override it.

        What is invalid in `Profile(...)` itself is a `ValidationError` of pydantic's.

        Args:
            name: a shipped profile's name or a YAML file.
            settings: `section.key=value` texts.
            flags: values by `section.key`, which override `settings`; None values are left out.
            environment: `FACEREC_SECTION_KEY` variables; default `os.environ`.

        Raises:
            ProfileError: a file, key or value is unknown or invalid; names file, line and key.
        """
        given = _Given(settings, flags, "settings:", "flags")
        return _resolve(name, given, environment).profile

    def looking_again(self, how: SecondLook) -> Profile:
        """This profile with `detector.second_look` set, where it is empty.

        Raises:
            UsageError: there is no such second look.
        """
        require_choice("second look", how, get_args(SecondLook))
        section = self.detector.model_copy(update={"second_look": self.detector.second_look or how})
        return self.model_copy(update={"detector": section})


@dataclass(frozen=True, slots=True)
class Resolved:
    """A profile and where each value came from (`"detector.min_face"` → `"crowd.yaml:3"`)."""

    profile: Profile
    origins: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class _Given:
    """What overrides a profile's file and the environment.

    Attributes:
        settings, flags: see `Profile.load`.
        setting, flag: what an error calls them, as the command line or as Python's parameters.
    """

    settings: Iterable[str]
    flags: Mapping[str, Any] | None
    setting: str
    flag: str


_Layer = dict[str, _Value]
_OF_SEVERAL_NETWORKS = {"model.weights", "model.norms", "model.fused_card"}
_ANCHORS = "x-"
"""Top-level keys that begin so hold what the file's aliases stand for."""
_RESERVED = {"FACEREC_HOME", "FACEREC_PROFILE", "FACEREC_DEBUG", "FACEREC_TEST_DATA"}


def resolve(
    name: str | Path = "default",
    *,
    settings: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Resolved:
    """Resolve a profile by name or path, with the layers that override it.

    Args:
        name: a shipped profile's name or a YAML file.
        settings: `section.key=value` strings, as given to `--set`.
        flags: `section.key` → value of a command's own flags; None values are left out.
        environment: `FACEREC_SECTION_KEY` variables; default `os.environ`.

    Raises:
        ProfileError: a file, key or value is unknown or invalid; names file, line and key.
    """
    return _resolve(name, _Given(settings, flags, "--set", "command line"), environment)


def _resolve(name: str | Path, given: _Given, environment: Mapping[str, str] | None) -> Resolved:
    variables = _read_environment(os.environ if environment is None else environment)
    upper: _Layer = {}
    for setting in _checked(given.settings):
        upper.update(_read_setting(setting, f"{given.setting} {setting}"))
    for key, value in (given.flags or {}).items():
        if value is not None:
            upper[key] = _Value(value, given.flag)
    lower = _overridden(_read_file(_find(name), ()), variables)
    return _validate(_overridden(lower, upper))


def shipped_profiles() -> dict[str, Path]:
    """Names and files of the profiles that come with facerec, sorted."""
    return {path.stem: path for path in sorted(_shipped_folder().glob("*.yaml"))}


@cache
def known_keys() -> dict[str, str]:
    """Every `section.key` (and top-level key) with its documentation."""
    keys: dict[str, str] = {}
    for name, field in Profile.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for key, inner in field.annotation.model_fields.items():
                keys[f"{name}.{key}"] = inner.description or ""
        else:
            keys[name] = field.description or ""
    return keys


def json_schema() -> dict[str, Any]:
    """JSON Schema of a profile file, for editors."""
    schema = Profile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "facerec profile"
    schema["patternProperties"] = {f"^{_ANCHORS}": {}}
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "A shipped profile, or a file beside this one, that this one builds on.",
    }
    return schema


def _shipped_folder() -> Path:
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _nearest(word: str, known: Iterable[str]) -> str:
    return did_you_mean(word, known, cutoff=0.5)


def _find(name: str | Path, beside: Path | None = None) -> Path:
    if not isinstance(name, str | Path):
        raise ProfileError(f"a profile is a name or a file, not a {type(name).__name__}")
    if (
        isinstance(name, Path)
        or name.endswith((".yaml", ".yml"))
        or not {"/", os.sep}.isdisjoint(name)
    ):
        given = expand_home(Path(name))
        path = given if beside is None else beside.parent / given
        if not path.is_file():
            raise ProfileError(f"{path}: no such profile file")
        return path
    shipped = shipped_profiles()
    if name not in shipped:
        hint = _nearest(name, shipped) or f"; there are {', '.join(shipped)}"
        raise ProfileError(f"no profile is called {name}{hint}")
    return shipped[name]


def _read_file(path: Path, chain: Sequence[Path]) -> _Layer:
    if path.resolve() in chain:
        raise ProfileError(f"{path}: extends itself, by way of {chain[-1]}")
    try:
        root = compose_yaml(read_text(path))
    except FacerecError as error:
        raise ProfileError(f"cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ProfileError(f"{path}{line}: {problem}") from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ProfileError(f"{path}:1: a profile is a mapping of sections")

    layer: _Layer = {}
    lower: _Layer = {}
    for key, node, origin in _items(root, path):
        if key.startswith(_ANCHORS):
            continue
        if key == "extends":
            parent = _find(str(_plain(node, origin)), beside=path)
            lower = _read_file(parent, (*chain, path.resolve()))
        elif isinstance(node, yaml.MappingNode):
            for inner, value, where in _items(node, path):
                _add(layer, f"{key}.{inner}", _plain(value, where), where)
        else:
            _add(layer, key, _plain(node, origin), origin)
    return _overridden(lower, layer)


def _overridden(lower: _Layer, upper: _Layer) -> _Layer:
    """The lower layer's values and, before them, the upper's. What the lower says of several
    networks together holds for its own alone, so it goes where the upper names others; a card for
    each is such, too. So does what it says of its own detector, where the upper names another."""
    if "model.name" in upper:
        lower = {
            key: entry
            for key, entry in lower.items()
            if key not in _OF_SEVERAL_NETWORKS
            and not (key == "model.card" and isinstance(entry.value, list))
        }
    of_another = _of_another_detector(lower, upper)
    return {**{key: it for key, it in lower.items() if key not in of_another}, **upper}


def _of_another_detector(lower: _Layer, upper: _Layer) -> set[str]:
    """Keys that hold for the lower layer's detector alone, where the upper names another."""
    name = "detector.name"
    if name not in upper:
        return set()
    old, new = (
        str(layer[name].value if name in layer else DetectorSection().name)
        for layer in (lower, upper)
    )
    if old == new:
        return set()
    gone = keys_read(old) - keys_read(new)
    if name in lower:
        gone |= {"weights", "options"}
    return {f"detector.{key}" for key in gone}


def _items(node: yaml.MappingNode, path: Path) -> Iterable[tuple[str, yaml.Node, str]]:
    """Keys, values and their origins; before its own keys those that `<<` merges."""
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = str(key_node.value)
        if key in seen:
            raise ProfileError(f"{_place(key_node, path)}: {key} is given twice")
        seen.add(key)
    merged = copy(node)
    merged.value = list(node.value)
    try:
        yaml.constructor.SafeConstructor().flatten_mapping(merged)
    except yaml.constructor.ConstructorError as error:
        raise ProfileError(f"{_place(node, path)}: <<: {error.problem}") from error
    for key_node, value_node in merged.value:
        yield str(key_node.value), value_node, _place(key_node, path)


def _place(node: yaml.Node, path: Path) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _plain(node: yaml.Node, origin: str) -> Any:
    try:
        return construct_yaml(node)
    except yaml.YAMLError as error:
        raise ProfileError(f"{origin}: {getattr(error, 'problem', error)}") from error


def _add(layer: _Layer, key: str, value: Any, origin: str) -> None:
    known = known_keys()
    if key not in known:
        if value is None and any(name.startswith(f"{key}.") for name in known):
            return
        raise ProfileError(f"{origin}: unknown key {key}{_nearest(key, known)}")
    layer[key] = _Value(value, origin)


def _read_environment(environment: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    names = {f"FACEREC_{key.replace('.', '_').upper()}": key for key in known_keys()}
    for variable in sorted(environment):
        if not variable.startswith("FACEREC_") or variable in _RESERVED:
            continue
        if variable not in names:
            raise ProfileError(
                f"environment: unknown setting {variable}{_nearest(variable, names)}"
            )
        if not environment[variable].strip():
            continue  # Compose files pass on variables that are not set as empty ones.
        _add(layer, names[variable], _scalar(environment[variable], variable), variable)
    return layer


def _checked(settings: Iterable[str]) -> list[str]:
    """The settings as a list, each a text; a single text is none, or each letter would count.

    Raises:
        ProfileError: they are something else.
    """
    single = isinstance(settings, str | bytes | Mapping)
    if single or not isinstance(settings, Iterable):
        raise ProfileError(
            f"settings: a list is wanted, not a {type(settings).__name__}; "
            'give ["section.key=value"], or a mapping as flags'
        )
    checked = list(settings)
    for setting in checked:
        if not isinstance(setting, str):
            raise ProfileError(f'settings: {setting!r}: give texts, "section.key=value"')
    return checked


def _read_setting(setting: str, origin: str) -> _Layer:
    key, separator, value = setting.partition("=")
    if not separator:
        raise ProfileError(f"{origin}: give section.key=value")
    layer: _Layer = {}
    _add(layer, key.strip(), _scalar(value, origin), origin)
    return layer


def _scalar(text: str, origin: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"{origin}: not a YAML value") from error


def _validate(merged: _Layer) -> Resolved:
    tree: dict[str, Any] = {}
    for key, entry in merged.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = entry.value
    try:
        profile = Profile.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            # Keys that do not go together; each alone is valid.
            raise ProfileError(str(first["ctx"]["error"])) from error
        key = ".".join(str(part) for part in first["loc"][:2])
        origin = merged[key].origin if key in merged else "profile"
        problem = first["msg"][0].lower() + first["msg"][1:].replace("valid tuple", "list")
        if first["type"] == "string_pattern_mismatch":
            problem = f"input should be {PATTERNS[first['ctx']['pattern']]}"
        if first["type"] != UNKNOWN_NAME:
            choices = re.findall(r"'(.*?)'", str(first.get("ctx", {}).get("expected", "")))
            problem += f", not {first['input']!r}{did_you_mean(str(first['input']), choices)}"
        raise ProfileError(f"{origin}: {key}: {problem}") from error
    return Resolved(
        profile, {key: merged[key].origin if key in merged else "default" for key in known_keys()}
    )
