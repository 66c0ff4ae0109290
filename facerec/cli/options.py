"""Options of several commands: those that set a profile key are declared here, once each."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import typer

from facerec.cli.completing import choices, complete_profile, complete_setting, values_of
from facerec.cli.help import (
    CLUSTERING,
    DETECTION,
    INPUT,
    MODEL,
    OUTPUT,
    PROFILE,
    RECOGNITION,
    RUNTIME,
)
from facerec.errors import UsageError
from facerec.profile.keys import read_keys

if TYPE_CHECKING:
    from facerec.profile.loading import Profile

# Importing facerec.profile.loading builds its models, which help and completion need not wait for.

_Function = TypeVar("_Function", bound=Callable[..., None])


def argument(metavar: str | None = None, *, help: str, panel: str = INPUT, **settings: Any) -> Any:
    """A positional argument; `settings` as Typer's."""
    return typer.Argument(metavar=metavar, help=help, rich_help_panel=panel, **settings)


def option(*names: str, panel: str, help: str, default: str | None = None, **settings: Any) -> Any:
    """An option; `settings` as Typer's.

    Args:
        panel: where help lists it.
        default: what help names, where the value itself says nothing.
    """
    if default is not None:
        help, settings["show_default"] = f"{help} [default: {default}]", False
    return typer.Option(*names, rich_help_panel=panel, help=help, **settings)


def parse_pairs(pairs: list[str] | None, option: str) -> dict[str, str] | None:
    """`KEY=VALUE` texts as a dictionary; None where there are none.

    Raises:
        UsageError: one has no key or no `=`.
    """
    parsed = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {pair}: give KEY=VALUE, such as team=red")
        parsed[key] = value
    return parsed or None


def parse_cameras(cameras: list[str] | None) -> dict[str, str] | None:
    """`NAME=SOURCE` texts as a dictionary; None where there are none.

    Raises:
        UsageError: one is not of that form, or two have one name.
    """
    parsed: dict[str, str] = {}
    for text in cameras or ():
        name, equals, source = text.partition("=")
        # A source may hold `=` itself, and a name no `:` or `/`: what is a URL alone has no name.
        if not equals or not source or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"--camera {text}: give NAME=SOURCE, such as front=rtsp://camera/1")
        if name in parsed:
            raise UsageError(f"--camera {name}: is given twice")
        parsed[name] = source
    return parsed or None


@dataclass(frozen=True, slots=True)
class Key:
    """An option that sets a profile key.

    Documentation, choices and default are the schema's.

    Attributes:
        key: `section.key`.
        names: the option's, as Typer takes them.
        panel: where help lists it.
        type: of the value; a list makes the option repeatable.
        metavar: what help calls the value; else its choices, else its type.
        note: what the option does beyond setting the key.
        min: smallest value.
        parse: makes the profile's value of the given one.
    """

    key: str
    names: tuple[str, ...]
    panel: str
    type: Any = str
    metavar: str | None = None
    note: str = ""
    min: float | None = None
    parse: Callable[[Any], Any] | None = None

    @property
    def parameter(self) -> str:
        """The name of the parameter that Typer passes it as."""
        return self.key.replace(".", "__")

    def to_parameter(self) -> inspect.Parameter:
        """The parameter that Typer makes the option of."""
        facts = read_keys()[self.key]
        # Typer shows a switch by its names, and a path by none.
        metavar = self.metavar or "|".join(() if self.type is bool else choices(self.key)) or None
        told = " ".join(filter(None, (facts.documentation, self.note, f"[{self.key}]")))
        default = facts.default
        if isinstance(default, bool):
            default = self.names[0].split("/")[not default].lstrip("-")
        declared = option(
            *self.names,
            panel=self.panel,
            help=told,
            default=str(default) if default not in (None, "", {}) else None,
            metavar=metavar,
            min=self.min,
            autocompletion=None if self.type in (bool, int, float) else values_of(self.key),
        )
        return to_keyword(self.parameter, Annotated[self.type | None, declared], None)


GALLERY = Key("gallery.path", ("--gallery", "-g"), RECOGNITION, metavar="ADDRESS")
ALBUM = Key("album.path", ("--album", "-a"), INPUT, Path, metavar="FILE")
OUT = Key("gallery.path", ("--out", "-o"), OUTPUT, metavar="ADDRESS")
FACES = Key("gallery.faces", ("--faces",), DETECTION)
MIN_QUALITY = Key("gallery.min_quality", ("--min-quality",), DETECTION, float)
DETECTOR = Key("detector.name", ("--detector",), DETECTION)
MIN_FACE = Key("detector.min_face", ("--min-face",), DETECTION, float)
SECOND_LOOK = Key("detector.second_look", ("--second-look",), DETECTION)
CROP = Key("alignment.crop", ("--crop",), OUTPUT)
TEMPLATE = Key("alignment.template", ("--template",), OUTPUT)
CHIP_TEMPLATE = Key("alignment.template", ("--template",), DETECTION, note="With --aligned.")
SIZE = Key("alignment.size", ("--size",), OUTPUT, int, min=16)
MARGIN = Key("alignment.margin", ("--margin",), OUTPUT, float)
MARGIN_PIXELS = Key("alignment.margin_pixels", ("--margin-pixels",), OUTPUT, float)
MODELS = Key(
    "model.name", ("--model", "-m"), MODEL, list[str], metavar="NAME|FILE",
    note="Repeat it to compare several on the same images.",
)  # fmt: skip
CARDS = Key(
    "model.card", ("--card",), MODEL, list[Path], metavar="FILE",
    note="In the order of the models, or of those that carry none.",
)  # fmt: skip
CARD = Key("model.card", ("--card",), MODEL, Path, metavar="FILE")
AUGMENT = Key("model.augment", ("--augment",), MODEL)
THRESHOLD = Key("recognize.threshold", ("--threshold",), RECOGNITION, float, min=0)
FAR = Key("recognize.far", ("--far",), RECOGNITION, float)
MAX_FALSE_NAMES = Key(
    "recognize.max_false_names", ("--max-false-names",), RECOGNITION, float, metavar="RATE"
)
METRIC = Key("recognize.metric", ("--metric",), RECOGNITION)
MATCH = Key("recognize.match", ("--match",), RECOGNITION)
UNIQUE = Key("recognize.unique", ("--unique/--repeats",), RECOGNITION, bool)
TOP = Key("recognize.candidates", ("--top",), RECOGNITION, int, min=1)
UNKNOWN = Key("recognize.unknown", ("--unknown",), OUTPUT)
WHERE = Key(
    "recognize.where", ("--where",), RECOGNITION, list[str], metavar="KEY=VALUE",
    note="Repeatable.", parse=lambda pairs: parse_pairs(pairs, "--where"),
)  # fmt: skip
PERSON_LEVEL = Key(
    "data.person_level", ("--person-level",), INPUT, metavar="auto|top|parent|file|N"
)
FONT_SIZE = Key("video.font_size", ("--font-size",), OUTPUT, int, min=6)
CAMERAS = Key(
    "serve.cameras", ("--camera",), INPUT, list[str], metavar="NAME=SOURCE", note="Repeatable.",
    parse=lambda cameras: parse_cameras(cameras),
)  # fmt: skip
WEBHOOK = Key("serve.webhook", ("--webhook",), OUTPUT, metavar="URL")
WEBHOOK_SECRET = Key("serve.webhook_secret", ("--webhook-secret",), OUTPUT, Path, metavar="FILE")
MQTT = Key("serve.mqtt", ("--mqtt",), OUTPUT, metavar="URL")
IMMICH_UPSTREAM = Key("serve.immich_upstream", ("--immich-upstream",), OUTPUT, metavar="URL")
SHOW_DISTANCE = Key("video.show_distance", ("--show-distance/--names-only",), OUTPUT, bool)
DOWNLOAD_OUT = Key("download.out", ("--out", "-o"), OUTPUT, Path, metavar="DIR")
SETS_FOLDER = Key("download.out", ("--data",), INPUT, Path, metavar="DIR")
OFFLINE = Key("download.offline", ("--offline/--online",), RUNTIME, bool)
TRAINING_DATA = Key(
    "data.train", ("--data",), INPUT, list[str], metavar="PATH", note="Repeatable.",
    parse=lambda places: places[0] if len(places) == 1 else places,
)  # fmt: skip
CLEAN = Key("cleanup.clean", ("--clean",), OUTPUT, Path, metavar="DIR")
DIRT = Key("cleanup.dirt", ("--dirt",), OUTPUT, Path, metavar="DIR")
REPORT = Key("cleanup.report", ("--report",), OUTPUT, Path, metavar="DIR")
AFFINITY = Key("cleanup.metric", ("--affinity",), CLUSTERING)
LINKAGE = Key("cleanup.linkage", ("--linkage",), CLUSTERING)
DISTANCE_THRESHOLD = Key(
    "cleanup.threshold", ("--distance-threshold",), CLUSTERING, float,
    note="With --unlabelled the default is the card's distance at cleanup.group_far.",
)  # fmt: skip
EXACT_LIMIT = Key("cleanup.exact_limit", ("--exact-limit",), CLUSTERING, int)
WORKERS = Key("runtime.workers", ("--workers",), RUNTIME, int, min=1)
BATCH = Key("runtime.batch", ("--batch",), RUNTIME, int, min=1)

ProfileName = Annotated[
    str,
    option(
        "--profile",
        "-p",
        panel=PROFILE,
        help="A shipped profile, or a YAML file.",
        metavar="NAME|FILE",
        envvar="FACEREC_PROFILE",
        autocompletion=complete_profile,
    ),
]
Settings = Annotated[
    list[str] | None,
    option(
        "--set",
        panel=PROFILE,
        help="Override one value of the profile; repeatable.",
        metavar="SECTION.KEY=VALUE",
        autocompletion=complete_setting,
    ),
]
Json = Annotated[
    bool | None,
    option(
        "--json/--table",
        panel=OUTPUT,
        help="JSON lines or a table.",
        default="a table on a terminal, JSON lines in a pipe",
    ),
]
NullSeparated = Annotated[
    bool,
    option("--null", "-0", panel=INPUT, help="Paths on stdin end in NUL, as from find -print0."),
]
Aligned = Annotated[
    bool,
    option("--aligned", panel=DETECTION, help="The images are aligned faces: detect nothing."),
]


def force_option(help: str) -> Any:
    """`--force`; each command says what it replaces there."""
    return option("--force", panel=OUTPUT, help=help)


@dataclass(frozen=True)
class ProfileOptions:
    """The profile that a command line asks for.

    Attributes:
        name: a shipped profile or a file.
        settings: `section.key=value`, of `--set`.
        flags: values of the command's own options by key; only those that were given.
    """

    name: str
    settings: Sequence[str]
    flags: Mapping[str, Any]

    def given(self, option: Key) -> Any:
        """What that option was given on the command line; None: nothing."""
        return self.flags.get(option.key)

    def load(self, overrides: Mapping[str, Any] | None = None) -> Profile:
        """Resolve the profile.

        Args:
            overrides: `section.key` → value in the place of the command's own options.

        Raises:
            ProfileError: a file, key or value is unknown or invalid.
        """
        from facerec.profile.loading import resolve

        flags = {**self.flags, **(overrides or {})}
        return resolve(self.name, settings=self.settings, flags=flags).profile


def profile_options(*options: Key) -> Callable[[_Function], _Function]:
    """Decorator: gives a command `--profile`, `--set` and options that set profile keys.

    The command has a keyword-only parameter `profile: ProfileOptions`.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def command(*, profile: str, settings: list[str] | None = None, **arguments: Any) -> None:
            flags = {}
            for option in options:
                value = arguments.pop(option.parameter)
                if value is not None:
                    flags[option.key] = option.parse(value) if option.parse else value
            function(**arguments, profile=ProfileOptions(profile, settings or (), flags))

        added = [
            *(option.to_parameter() for option in options),
            to_keyword("profile", ProfileName, "default"),
            to_keyword("settings", Settings, None),
        ]
        return replace_parameter(command, function, "profile", added)

    return decorate


def replace_parameter(
    command: Callable[..., None],
    function: _Function,
    name: str,
    parameters: Sequence[inspect.Parameter],
) -> _Function:
    """Let Typer read `command`'s options from `function`'s signature with one parameter replaced.

    Args:
        name: the parameter that `command` makes of the others.
        parameters: what stands in its place.
    """
    # Python 3.10's `get_type_hints` hides what is annotated of a default of None in an Optional.
    hints = inspect.get_annotations(function, eval_str=True)
    kept = [
        to_keyword(one.name, hints[one.name], one.default)
        for one in inspect.signature(function).parameters.values()
        if one.name != name
    ]
    signature = inspect.Signature([*kept, *parameters])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    del command.__wrapped__  # type: ignore[attr-defined]
    return command  # type: ignore[return-value]


def to_keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A keyword-only parameter."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def standard_input() -> BinaryIO | None:
    """Stdin as bytes, for lists of paths; None where it is closed."""
    return sys.stdin.buffer if sys.stdin else None
