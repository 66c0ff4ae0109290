"""README and the guides: their blocks run, their links, commands, options and keys exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import facerec
from facerec.cli import app as command_line
from facerec.profile.loading import known_keys
from tests.conftest import ROOT, Run, spawn
from tests.write_api_page import INNER, PAGE, fresh_page, markdown, members, signature

GUIDES = sorted((Path(facerec.__file__).parent / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDES]
RUNS = {
    "README.md": 2, "clean.md": 1, "contributing.md": 1, "enrol-and-recognise.md": 1,
    "evaluate.md": 1, "galleries.md": 1, "live-video.md": 1, "models.md": 1, "profiles.md": 1,
    "python.md": 4, "security.md": 1, "train.md": 1,
}  # fmt: skip
"""Blocks of each page that a test runs; no other page has one."""
ACTIVATE = ". .venv/bin/activate"
OUTSIDE_OF_FACEREC = {"--nproc-per-node", "--max-restarts", "--soak", "--faces", "--distractors",
                      "--seed", "--index", "--folds", "--rounds", "--no-deps"}  # fmt: skip
"""Options of torchrun, pip and the benchmarks."""
NO_KEYS = {
    "album.db",
    "gallery.h5",
    "model.safetensors",
    "train.rec",
    "train.idx",
    "detector.minface",
}
"""Files that look like a profile's keys, and the mistake that *profiles* shows."""


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        line: of its opening fence, from 1.
        kind: what follows the fence; `python` and `console run` blocks are run.
    """

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found, begun, lines = [], None, page.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if begun is None:
                begun = number
            else:
                text = "\n".join(lines[begun : number - 1])
                found.append(Block(page, begun, lines[begun - 1][3:], text))
                begun = None
    assert begun is None, f"{page.name}:{begun}: the block is not closed"
    return found


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """A page's lines outside of blocks, with their numbers."""
    inside = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, line


ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.kind == "python"]
SHELL = [block for block in ALL if block.kind == "console run"]


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` leaves."""
    folder = tmp_path_factory.mktemp("docs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert run_line("facerec demo --out demo --table") == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def beside_demo(demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(demo_folder / "demo", tmp_path / "demo")
    monkeypatch.chdir(tmp_path)


def run_line(line: str) -> int:
    """Run a line in the working folder: facerec in this process, all else in a shell."""
    program, *arguments = shlex.split(line, comments=True)
    if program != "facerec":
        return subprocess.run(line, shell=True).returncode
    try:
        code = command_line.app(arguments, standalone_mode=False, prog_name="facerec")
    except SystemExit as stop:
        code = stop.code
    return int(code or 0)


def run_shell(block: Block) -> None:
    """Run a block's `$ ` lines.

    Raises:
        AssertionError: it has none, or one fails; names the page and the line.
    """
    ran = 0
    text = block.text.replace("\\\n", "")
    for number, line in enumerate(text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            place = f"{block.page.name}:{number}: {line}"
            try:
                code = run_line(line[2:])
            except Exception as error:
                raise AssertionError(f"{place}: {error}") from error
            assert code == 0, f"{place}: exit code {code}"
            ran += 1
    assert ran, f"{block}: no line begins with $"


def run_python(block: Block) -> None:
    """Run a block; a traceback has the page's own lines."""
    code = "\n" * block.line + block.text
    exec(compile(code, str(block.page), "exec"), {"__name__": "docs"})


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_python_block_runs(block: Block, beside_demo: None) -> None:
    run_python(block)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_shell_block_runs(block: Block, beside_demo: None) -> None:
    run_shell(block)


def test_each_page_has_its_blocks_that_run() -> None:
    assert Counter(block.page.name for block in (*PYTHON, *SHELL)) == RUNS


def test_kinds_of_blocks_are_those_that_contributing_names() -> None:
    known = {"python", "console run", "console", "pycon", ""}
    assert [str(block) for block in ALL if block.kind not in known] == []


def test_a_broken_block_names_page_and_line(tmp_path: Path) -> None:
    page = tmp_path / "broken.md"
    page.write_text(
        "# Broken\n\n```console run\n$ facerec docs\n$ facerec docs nosuchtopic\n```\n"
        "\n```python\nx = 1\nraise ValueError\n```\n"
    )
    shell, python = blocks(page)
    with pytest.raises(AssertionError, match=r"^broken\.md:5: .*nosuchtopic"):
        run_shell(shell)
    with pytest.raises(ValueError) as caught:
        run_python(python)
    last = caught.traceback[-1]
    assert (Path(str(last.path)).name, last.lineno + 1) == ("broken.md", 10)


# Links


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    headings = (line.lstrip("#") for _, line in prose(page) if line.startswith("#"))
    kept = (re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def links(page: Path) -> Iterator[tuple[int, str]]:
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if "://" not in target:
                yield number, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    broken = []
    for number, target in links(page):
        path, _, anchor = target.partition("#")
        goal = page.parent / path if path else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(f"{page.name}:{number}: {target}")
    assert broken == []


def test_the_readme_leads_to_every_guide() -> None:
    named = {Path(target.partition("#")[0]).name for _, target in links(ROOT / "README.md")}
    assert {page.name for page in GUIDES} <= named


# Commands, options and keys


@cache
def commands() -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}

    def walk(path: tuple[str, ...], command: Any) -> None:
        found[path] = command
        if hasattr(command, "list_commands"):
            for name in command.list_commands(None):
                walk((*path, name), command.get_command(None, name))

    walk((), typer.main.get_command(command_line.app))
    return found


def options(path: tuple[str, ...] = ()) -> set[str]:
    """Options of a command and of those below it."""
    # `cleanup DIRTY` is a hidden command of the group `cleanup`.
    below = [command for at, command in commands().items() if at[: len(path)] == path]
    own = {name for one in below for param in one.params for name in _names(param)}
    return own | {"--debug", "--help", "-h"}


def _names(param: Any) -> tuple[str, ...]:
    return (*param.opts, *param.secondary_opts)


def lines_of_commands(page: Path) -> Iterator[tuple[int, str]]:
    """Every `facerec …` in a page's blocks and code spans, with its line."""
    for block in blocks(page):
        if block.kind.startswith("console"):
            joined = block.text.replace("\\\n", " \n")  # a continued line keeps its number
            pattern = r"(?:^\$ |^facerec: +|-m |\| )facerec ((?:[^\n|]| \n)+)"
            for match in re.finditer(pattern, joined, re.M):
                yield block.line + 1 + joined.count("\n", 0, match.start()), match[1]
    for number, line in prose(page):
        for span in re.findall(r"`([^`]+)`", line):
            if span.startswith("facerec "):
                yield number, span.removeprefix("facerec ")


def problems(text: str) -> list[str]:
    """What in a line of facerec's arguments the command line does not know."""
    words = re.split(r"\s+", text.replace(r"\|", "|").partition(" #")[0].strip())
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in commands():
        path = (*path, words.pop(0))
    group = hasattr(commands()[path], "list_commands")
    found = []
    if words and words[0] and group and words[0][0] not in "-…":
        choices = [name.strip("[],") for name in words[0].split("|")]
        free = choices[0] == choices[0].upper() or path == ("cleanup",)
        if not free:
            found += [name for name in choices if (*path, name) not in commands()]
    return found + [
        name
        for word in words
        if re.match(r"--?[a-z]", word)
        and (name := word.partition("=")[0].rstrip(",;)"))
        and name not in options(path) | OUTSIDE_OF_FACEREC
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_and_take_their_options(page: Path) -> None:
    wrong = [
        f"{page.name}:{number}: facerec {text}: {name}"
        for number, text in lines_of_commands(page)
        for name in problems(text)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_are_spoken_of_exist(page: Path) -> None:
    known = options() | OUTSIDE_OF_FACEREC | {"--version", "--install-completion"}
    wrong = [
        f"{page.name}:{number}: {name}"
        for number, line in prose(page)
        for span in re.findall(r"`([^`]+)`", line)
        for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
        if name not in known
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_profile_keys_that_are_spoken_of_exist(page: Path) -> None:
    sections = {key.partition(".")[0] for key in known_keys() if "." in key}
    key = re.compile(rf"(?:--set '?|`)((?:{'|'.join(sections)})\.[a-z]\w*)(?=[=:` ])")
    wrong = [
        f"{page.name}:{number}: {name}"
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1)
        for name in key.findall(line)
        if name not in {*known_keys(), *NO_KEYS}
    ]
    assert wrong == []


def test_what_does_not_exist_is_found() -> None:
    assert problems("embed people/ -o friends.h5 --face central") == ["--face"]
    assert problems("gallery list|shou -g friends.h5") == ["shou"]
    assert problems("recognise image") == ["recognise"]
    assert problems("cleanup dirty/ --auto # all") == []


def test_every_command_has_a_guide() -> None:
    text = "\n".join(page.read_text("utf-8") for page in GUIDES)
    missing = []
    for path, command in commands().items():
        if path and not getattr(command, "hidden", False):
            first, last = path[0], path[-1]
            word = rf"(?<![\w-]){re.escape(last)}(?![\w-])"
            named = re.search(rf"`[^`\n]*{word}[^`\n]*`|facerec {first} [^\n]*{word}", text)
            if not re.search(rf"facerec {first}\b", text) or (len(path) > 1 and not named):
                missing.append(" ".join(path))
    assert missing == []


# Architecture


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "facerec" / "docs" / "architecture.md").read_text("utf-8")
    rooms = {path.stem for path in (ROOT / "facerec").iterdir() if path.suffix in ("", ".py")}
    named = {word for span in re.findall(r"^\| `([^`]+)`", text, re.M) for word in span.split()}
    assert {room for room in rooms if room[0] != "_"} == {word.rstrip("/") for word in named}


def test_the_architecture_has_the_layers_that_import_linter_holds() -> None:
    text = (ROOT / "facerec" / "docs" / "architecture.md").read_text("utf-8")
    (drawn,) = re.findall(r"^cli > [^`]+", text, re.M)
    (held,) = re.findall(
        r"^layers = \[\n(.+?)\n\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert [set(re.findall(r"\w+", layer)) for layer in drawn.split(">")] == [
        set(re.findall(r"facerec\.(\w+)", layer)) for layer in held.splitlines()
    ]


# README


def test_the_readme_fits_two_screens_of_reading() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


def test_the_readme_says_how_to_call_facerec_after_make_demo() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "VENV ?= .venv\n" in (ROOT / "Makefile").read_text()
    assert re.search(r"\$ make demo.*\n(\$ make test.*\n)?\$ " + re.escape(ACTIVATE), text)


# The Python API's page


def test_the_api_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == fresh_page(), "python -m tests.write_api_page"


def test_every_public_member_has_a_docstring() -> None:
    for name in set(facerec.__all__) - {"__version__"}:
        thing = getattr(facerec, name)
        assert thing.__doc__
        for member in INNER.get(name, ()):
            assert hasattr(thing, member), f"{name}.{member}"
        if isinstance(thing, type):
            assert [at for at, one in members(thing).items() if not one.__doc__] == []


def test_docstrings_become_lists_and_examples() -> None:
    text = "One.\n\n>>> f(1)\n2\n\nArgs:\n    a: first,\n        and more.\n    b: second."
    assert markdown(text) == (
        "One.\n\n```pycon\n>>> f(1)\n2\n```\n\n*Args*\n\n- `a`: first, and more.\n- `b`: second."
    )


def test_signatures_are_as_written() -> None:
    def function(self: int, path: str | Path = "x", *, top: list[int] | None = None) -> str: ...

    assert signature(function) == (
        "(path: str | Path = 'x', *, top: list[int] | None = None) -> str"
    )


# facerec docs


def test_docs_lists_the_guides(run: Run) -> None:
    code, out, _ = run("docs")
    assert code == 0
    assert '"topic": "train"' in out
    assert len(out.splitlines()) == len(GUIDES)


def test_docs_prints_a_guide_and_its_place(run: Run) -> None:
    _, text, _ = run("docs", "train")
    _, path, _ = run("docs", "train", "--path")
    assert text == Path(path.strip()).read_text("utf-8")


def test_a_pipe_gets_utf_8_whatever_the_system_writes() -> None:
    done = spawn("docs", "galleries", text=False, env={**os.environ, "PYTHONIOENCODING": "cp1252"})
    assert "┏━━━".encode() in done.stdout


def test_an_unknown_topic_is_answered_with_the_nearest(run: Callable[..., Any]) -> None:
    assert run("docs", "trian") == (
        2, "", "facerec: no guide is called trian; did you mean train?\n",
    )  # fmt: skip
