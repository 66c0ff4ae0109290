"""What commands print: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facerec.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from facerec.faces import Image


class Results:
    """A command's result: JSON lines as they come, or one table at the end.

    Args:
        columns: the table's headings.
        as_json: print JSON lines; None: when stdout is not a terminal.
    """

    def __init__(self, *columns: str, as_json: bool | None) -> None:
        self.as_json = wants_json(as_json)
        self._columns = columns
        self._rows: list[Sequence[str]] = []

    def add(self, record: Mapping[str, Any], *rows: Sequence[str]) -> None:
        """One result, as the JSON object and as the table rows that say the same."""
        if self.as_json:
            print_json(record)
        else:
            self._rows.extend(rows)

    def close(self, title: str | None = None) -> None:
        """Print the table, if there is one."""
        if self.as_json or not self._rows:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title)
        for column in self._columns:
            table.add_column(column, overflow="fold")
        for row in self._rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        Console().print(table)


def wants_json(as_json: bool | None) -> bool:
    """What `--json` or `--table` says; without either, whether stdout is no terminal."""
    return not sys.stdout.isatty() if as_json is None else as_json


def print_json(record: Mapping[str, Any]) -> None:
    """One JSON line to stdout, at once."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    """One line to stderr."""
    sys.stderr.write(f"facerec: {printable(message)}\n")


def printable(text: str) -> str:
    """Text without control characters and undecodable bytes, which could garble a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """A progress bar on stderr while the block runs, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield Advance(None, 0)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Advance(bar, bar.add_task(description, total=total, rate=""))


class Advance:
    """Moves a progress bar."""

    def __init__(self, bar: Progress | None, task: int) -> None:
        self._bar = bar
        self._task = task

    def __call__(self, steps: int = 1) -> None:
        if self._bar is None:
            return
        from rich.progress import TaskID

        self._bar.advance(TaskID(self._task), steps)
        speed = self._bar.tasks[self._task].speed
        if speed:
            self._bar.update(TaskID(self._task), rate=f"{speed:.1f}/s")

    def say(self, message: str) -> None:
        """One line to stderr, above the bar."""
        if self._bar is None:
            say(message)
        else:
            self._bar.console.print(
                f"facerec: {printable(message)}", markup=False, highlight=False, soft_wrap=True
            )


def save_picture(path: Path, picture: Image, *, force: bool) -> None:
    """Write a picture, unless that would replace a file unasked.

    Raises:
        UsageError: the file exists, or cannot be written.
    """
    from facerec.imaging.draw import write_image

    refuse_to_replace(path, force=force)
    write_image(path, picture)


def refuse_to_replace(path: Path, *, force: bool) -> None:
    """Stop before a file is replaced unasked.

    Raises:
        UsageError: the file exists, and `force` is not set.
    """
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force replaces it")


def has_display() -> bool:
    """Whether a window can be shown; without a display OpenCV's toolkit ends the process."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


def exit_with_failures(failures: int) -> None:
    """End with exit code 3 if some inputs failed."""
    if failures:
        raise typer.Exit(InputError.exit_code)
