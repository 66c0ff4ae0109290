"""Help of every command, and what a mistyped name is answered with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from facerec import Gallery
from facerec.cli import options
from facerec.cli.app import app
from facerec.cli.help import HELP, panel_of
from facerec.cli.options import Key
from facerec.profile.keys import read_keys
from facerec.profile.loading import known_keys
from facerec.weights.store import load_card
from tests.cli.test_terminal import at_terminal
from tests.conftest import Run, make_face
from tests.list_options import walk

KEYS = [one for one in vars(options).values() if isinstance(one, Key)]


COMMANDS = dict(walk(typer.main.get_command(app), ("facerec",)))
OPTIONS = [
    (path, parameter)
    for path, command in COMMANDS.items()
    for parameter in command.params
    if "completion" not in parameter.name
]
NAMES = [" ".join((*path, parameter.name)) for path, parameter in OPTIONS]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_an_example_of_itself(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert " ".join(path) in command.epilog or path == ("facerec", "cleanup", "run")


WITHOUT_PROFILE = {
    ("docs",), ("logs",), ("profile", "list"), ("profile", "schema"), ("profile", "show"),
    ("download", "show"), ("download", "verify"), ("download", "path"), ("download", "remove"),
    ("serve", "keys", "add"), ("serve", "keys", "list"), ("serve", "keys", "remove"),
}  # fmt: skip
"""Commands that no setting concerns, and the one whose argument is a profile."""


@pytest.mark.parametrize(
    "path", [path for path, it in COMMANDS.items() if not hasattr(it, "commands")], ids=" ".join
)
def test_every_command_that_does_work_takes_a_profile(path: tuple[str, ...]) -> None:
    takes = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    assert ({"--profile", "--set"} <= takes) is (path[1:] not in WITHOUT_PROFILE)


@pytest.mark.parametrize(("path", "parameter"), OPTIONS, ids=NAMES)
def test_every_option_has_help_and_a_panel(path: tuple[str, ...], parameter: Any) -> None:
    assert parameter.help
    assert panel_of(parameter) != HELP or parameter.name in ("debug", "version")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.names[0])
def test_an_option_of_a_key_has_the_schemas_words_and_names_the_key(key: Key) -> None:
    found = [one for _, one in OPTIONS if one.name == key.parameter and key.names[0] in
             ("/".join((*one.opts, *one.secondary_opts)), *one.opts)]  # fmt: skip
    assert found
    for parameter in found:
        assert parameter.help.startswith(read_keys()[key.key].documentation)
        assert f"[{key.key}]" in parameter.help


@pytest.mark.parametrize(("path", "parameter"), OPTIONS, ids=NAMES)
def test_a_parameter_of_a_key_is_one_of_the_declared(path: tuple[str, ...], parameter: Any) -> None:
    assert "__" not in parameter.name or parameter.name in {key.parameter for key in KEYS}


def test_the_keys_read_from_the_source_are_the_schemas() -> None:
    read = {key: facts.documentation for key, facts in read_keys().items()}
    assert read == {key: " ".join(told.split()) for key, told in known_keys().items() if "." in key}


@pytest.mark.parametrize("arguments", [(), ("gallery",), ("evaluate",), ("cleanup",)])
def test_a_group_alone_prints_its_help_to_stdout(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, err) == (2, "")
    assert out == run(*arguments, "--help")[1]


def test_cleanup_shows_the_options_of_its_default_command(run: Run) -> None:
    out = run("cleanup", "--help")[1]
    assert "--linkage" in out and "undo" in out


def test_summaries_are_whole_and_in_the_order_of_the_commands(run: Run) -> None:
    out = run("--help")[1]
    commands = out.partition("Commands:")[2].partition("Help:")[0]
    rows = re.findall(r"^  (\w+)  +[A-Z]", commands, re.MULTILINE)
    assert rows == COMMANDS[("facerec",)].list_commands(None)
    assert "..." not in commands


def test_a_terminal_gets_panels_of_its_width() -> None:
    code, seen = at_terminal("embed", "--help")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert code == 0
    lines = plain.splitlines()
    assert {len(line) for line in lines if line.startswith("╭")} == {100}
    titles = re.findall(r"╭─ (\w+) ─", plain)
    assert titles == ["Input", "Detection", "Output", "Profile", "Runtime", "Help", "Examples"]
    assert "[default: gallery.h5]" in re.sub(r"[\s│]+", " ", plain)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("recognise",), "recognize"),
        (("embd",), "embed"),
        (("gallery", "lst"), "list"),
        (("compare", "a", "b", "--galery", "x"), "--gallery"),
        (("export", "x", "--to", "onx"), "onnx"),
        (("bench", "detct"), "detect"),
        (("compare", "a", "b", "--metric", "cosin"), "cosine"),
        (("train", "--set", "train.loss=arcfac"), "arcface"),
        (("train", "--set", "train.los=arcface"), "train.loss"),
        (("train", "--profile", "defalt"), "default"),
        (("evaluate", "lfw", "--data", ".", "--augment", "flipp"), "flip"),
        (("download", "weights", "yunt"), "yunet"),
        (("compare", "README.md", "README.md", "--set", "model.name=dlib_resnt"), "dlib_resnet"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(
    run: Run, arguments: tuple[str, ...], meant: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.endswith(f"did you mean {meant}?\n")


@pytest.fixture
def one_person(tmp_path: Path) -> Path:
    gallery = Gallery(load_card("dlib_resnet"))
    gallery.add("obama", [make_face(*np.eye(gallery.card.embedding_size)[0])], "a.jpg")
    gallery.save(tmp_path / "g.h5")
    return tmp_path / "g.h5"


@pytest.mark.parametrize(
    "arguments",
    [
        ("gallery", "remove", "obma", "-g"),
        ("gallery", "show", "obma", "-g"),
        ("compare", "README.md", "obma", "-g"),
    ],
)
def test_a_mistyped_person_is_answered_before_anything_is_asked(
    run: Run, one_person: Path, arguments: tuple[str, ...]
) -> None:
    code, out, err = run(*arguments, str(one_person))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.endswith("did you mean obama?\n")


def test_force_says_what_it_forces() -> None:
    helps = {path: one.help for path, one in OPTIONS if one.name == "force"}
    assert len(helps) > 10
    for told in helps.values():
        assert re.match(r"(Replace|Remove|Write) ", told)
