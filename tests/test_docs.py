"""README and the guides: their blocks run, their links and options exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import facerec
from facerec.cli import app as command_line
from tests.write_api_page import PAGE, fresh_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((Path(facerec.__file__).parent / "docs").glob("*.md"))]


class Block(NamedTuple):
    page: Path
    line: int
    kind: str
    text: str


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
    assert begun is None, f"{page}: a block is not closed"
    return found


ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.kind == "python"]
SHELL = [block for block in ALL if block.kind == "console run"]


def name(block: Block) -> str:
    return f"{block.page.name}:{block.line}"


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
    program, *arguments = shlex.split(line, comments=True)
    assert program == "facerec"
    try:
        code = command_line.app(arguments, standalone_mode=False, prog_name="facerec")
    except SystemExit as stop:
        code = stop.code
    return int(code or 0)


@pytest.mark.parametrize("block", PYTHON, ids=name)
def test_a_python_block_runs(block: Block, beside_demo: None) -> None:
    exec(compile(block.text, name(block), "exec"), {"__name__": "docs"})


@pytest.mark.parametrize("block", SHELL, ids=name)
def test_a_shell_block_runs(block: Block, beside_demo: None) -> None:
    commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    assert commands
    for command in commands:
        assert run_line(command) == 0, f"{name(block)}: {command}"


def test_there_are_blocks_that_run() -> None:
    assert len(PYTHON) >= 3
    assert len(SHELL) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def commands() -> dict[tuple[str, ...], Any]:
    import typer

    found: dict[tuple[str, ...], Any] = {}

    def walk(path: tuple[str, ...], command: Any) -> None:
        found[path] = command
        if hasattr(command, "list_commands"):
            for sub in command.list_commands(None):
                walk((*path, sub), command.get_command(None, sub))

    walk((), typer.main.get_command(command_line.app))
    return found


def test_commands_and_options_exist() -> None:
    known = commands()
    checked = 0
    for block in ALL:
        for line in re.findall(r"(?:^\$ |-m |\| )facerec ((?:[^\n\\|]|\\\n)+)", block.text, re.M):
            words = shlex.split(line.replace("\\\n", " "), comments=True)
            path: tuple[str, ...] = ()
            while words and (*path, words[0]) in known:
                path = (*path, words.pop(0))
            assert path, f"{name(block)}: facerec {line}"
            # `cleanup DIRTY` is a hidden command of the group `cleanup`.
            below = [command for at, command in known.items() if at[: len(path)] == path]
            params = [param for command in below for param in command.params]
            options = {text for p in params for text in (*p.opts, *p.secondary_opts)}
            options |= {"--debug", "--help", "-h"}
            for word in words:
                if re.match(r"--?[a-z]", word):
                    assert word.partition("=")[0] in options, f"{name(block)}: {word}"
                    checked += 1
    assert checked > 40


def test_the_readme_fits_two_screens_of_reading() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


def test_the_api_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == fresh_page(), "python -m tests.write_api_page"


def test_docs_lists_the_guides(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("docs")
    assert code == 0
    assert '"topic": "train"' in out


def test_docs_prints_a_guide_and_its_place(run: Callable[..., tuple[int, str, str]]) -> None:
    _, text, _ = run("docs", "train")
    _, path, _ = run("docs", "train", "--path")
    assert text == Path(path.strip()).read_text("utf-8")


def test_an_unknown_topic_is_answered_with_the_nearest(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    assert run("docs", "trian") == (
        2, "", "facerec: no guide is called trian; did you mean train?\n",
    )  # fmt: skip
