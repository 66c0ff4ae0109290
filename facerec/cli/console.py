"""What commands print: results to stdout; messages, warnings and progress bars to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facerec.errors import InputError, without_user
from facerec.files.text import counted, readable, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID
    from rich.text import Text


_NARROWEST_CELL = 16
"""Columns a path keeps when it is shortened, and prose when it is wrapped."""

_LONGEST_LINE = 1500
"""Characters of a message; names in hostile files have no end."""

_live: list[Progress] = []
"""The progress on the terminal, above which lines are printed; empty without one."""


class Results:
    """A command's result: JSON lines as they come, or one table at the end.

    A table that is wider than the terminal loses its `least` columns, then shortens long cells,
    and at last shows its rows below each other.

    Args:
        columns: the table's headings.
        as_json: print JSON lines; None: when stdout is not a terminal.
        least: the columns that a narrow terminal does without, the least important first.
        whole: the columns whose cells are not shortened, as they are typed again.
    """

    def __init__(
        self,
        *columns: str,
        as_json: bool | None,
        least: Sequence[str] = (),
        whole: Sequence[str] = (),
    ) -> None:
        self.as_json = wants_json(as_json)
        self._columns = columns
        self._least = least
        self._whole = whole
        self._rows: list[Sequence[str]] = []

    def add(self, record: Mapping[str, Any], *rows: Sequence[str]) -> None:
        """One result, as the JSON object and as the table rows that say the same."""
        if self.as_json:
            print_json(record)
        else:
            self._rows.extend([printable(cell) for cell in row] for row in rows)

    def close(self, title: str | None = None) -> None:
        """Print the table, if there is one."""
        if self.as_json or not self._rows:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console()
        heading = None if title is None else Text(shorten(printable(title), console.width))
        dropped: list[str] = []
        widths = self._fit(dropped, console.width)
        while widths is None and len(dropped) < len(self._least):
            dropped.append(self._least[len(dropped)])
            widths = self._fit(dropped, console.width)
        if widths is None:
            _print_stacked(console, heading, self._columns, self._rows)
            return
        table = Table(title=heading)
        kept = [place for place, name in enumerate(self._columns) if name not in dropped]
        for place, width in zip(kept, widths, strict=True):
            table.add_column(self._columns[place], overflow="fold", max_width=width)
        for row in self._rows:
            cells = [row[place] for place in kept]
            if len(kept) > 2:  # two columns are a key and its value, or a name and its path
                cells = [_fitted(cell, width) for cell, width in zip(cells, widths, strict=True)]
            table.add_row(*map(Text, cells))
        if dropped:
            table.caption = f"without {', '.join(dropped)}: --json, or a wider terminal, has them"
        console.print(table)

    def _fit(self, dropped: Sequence[str], room: int) -> list[int] | None:
        """Widths of the other columns with which the table has room, or None."""
        columns = [
            [name, *(row[place] for row in self._rows)]
            for place, name in enumerate(self._columns)
            if name not in dropped
        ]
        widest = [max(map(_width, cells)) for cells in columns]
        least = [
            max(map(_width if cells[0] in self._whole else _least_width, cells))
            for cells in columns
        ]
        room -= 3 * len(columns) + 1
        if sum(least) > room:
            return None
        widths = widest
        while sum(widths) > room:
            flexible = [place for place in range(len(widths)) if widths[place] > least[place]]
            widths[max(flexible, key=widths.__getitem__)] -= 1
        return widths


def _print_stacked(
    console: Console, title: Text | None, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Each row as a block of lines, a heading and its cell each."""
    from rich.table import Table
    from rich.text import Text

    if title is not None:
        console.print(title, style="italic")
    first = max(map(_width, columns))
    for number, row in enumerate(rows):
        if number:
            console.print()
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column(width=min(first, console.width // 3), overflow="fold", style="bold")
        block.add_column(overflow="fold")
        for name, cell in zip(columns, row, strict=True):
            if cell:
                block.add_row(Text(name), Text(cell))
        console.print(block)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _least_width(text: str) -> int:
    """Columns that a cell needs: a long one of words can be wrapped, a long path shortened."""
    width = _width(text)
    if width <= _NARROWEST_CELL:
        return width
    words = text.split()
    if len(words) == 1:
        return _NARROWEST_CELL
    return max(_NARROWEST_CELL, *(_least_width(word) for word in words))


def _fitted(text: str, width: int) -> str:
    """A cell whose words are no longer than its column."""
    if _width(text) <= width:
        return text
    return " ".join(shorten(word, width) for word in text.split(" "))


def shorten(text: str, width: int) -> str:
    """Text of at most so many columns: of a longer one the middle is left out."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    # A path's end says more than its beginning.
    front = max((width - 1) // 3, 0)
    back = text
    while cell_len(back) > width - 1 - front:
        back = back[1:]
    return f"{set_cell_size(text, front)}…{back}"


def wants_json(as_json: bool | None) -> bool:
    """What `--json` or `--table` says; without either, whether stdout is no terminal."""
    return not sys.stdout.isatty() if as_json is None else as_json


def print_json(record: Mapping[str, Any]) -> None:
    """One JSON line to stdout, at once."""
    print_line(without_user(to_json(record)))


def print_line(line: str) -> None:
    """One line to stdout, at once; where a progress bar is on the same terminal, above it."""
    if _live and sys.stdout.isatty():
        _print_above(line)
        return
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_path(path: str, *, null: bool = False) -> None:
    """A path to stdout, for other programs: in a pipe its very bytes, whatever they are.

    Args:
        null: end it in NUL, not in a new line, which a path may hold.
    """
    if sys.stdout.isatty() and not null:
        print_line(printable(path))
        return
    sys.stdout.flush()
    data = path.encode("utf-8", "surrogateescape")
    sys.stdout.buffer.write(data + (b"\0" if null else b"\n"))
    sys.stdout.buffer.flush()


def say(message: str) -> None:
    """One line to stderr, above a progress bar; of an endless one the middle is left out."""
    line = f"facerec: {printable(message)}"
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]}…{line[-_LONGEST_LINE // 2 :]}"
    if _live:
        _print_above(line)
    else:
        sys.stderr.write(f"{line}\n")


def _print_above(line: str) -> None:
    _live[-1].console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say_saved(count: int, what: str, folder: str | Path) -> None:
    """The last line of a command that fills a folder: `saved 12 images in out/`."""
    if count:
        say(f"saved {counted(count, what)} in {str(folder).rstrip(os.sep)}{os.sep}")


def printable(text: str) -> str:
    """Text without control characters and undecodable bytes, which could garble a terminal, and
    without the passwords of URLs."""
    return "".join(
        c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in readable(without_user(text))
    )


def can_draw() -> bool:
    """Whether stderr is a terminal on which lines can be drawn over, as in an editor's shell none
    can: rich would leave an empty line for each drawing."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """A progress bar on stderr while the block runs, where stderr is a terminal that can draw one;
    below another, which stands still meanwhile.

    Args:
        total: steps; None where they cannot be counted before.
    """
    if not can_draw():
        yield Advance(None)
        return
    # Two of rich's would draw over each other.
    with nullcontext(_live[-1]) if _live else live_progress(_step_columns()) as bar:
        room = max(bar.console.width // 2 - 10, 12)
        described = shorten(printable(description), room)
        task = bar.add_task(described, total=total)
        try:
            yield Advance(bar, task)
        finally:
            bar.remove_task(task)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """A spinner and the seconds so far on stderr while the block runs, where that is a terminal.

    For steps that cannot be counted, such as loading models.
    """
    if _live or not can_draw():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    # A terminal of ASCII has no dots of braille.
    spinner = SpinnerColumn("dots" if "utf" in sys.stderr.encoding.lower() else "line")
    columns = (spinner, TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with live_progress(columns, bare=True) as bar:
        bar.add_task(shorten(printable(description), bar.console.width - 12), total=None)
        yield


@contextmanager
def live_progress(columns: Sequence[ProgressColumn], *, bare: bool = False) -> Iterator[Progress]:
    """Progress on stderr, which is a terminal, in the style of all commands; gone at the end.

    Args:
        columns: what follows the description and the bar.
        bare: nothing but `columns`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not bare:
        bar_width = min(40, console.width // 5)
        described = TextColumn("{task.description}", markup=False)
        columns = (described, BarColumn(bar_width=bar_width), *columns)
    # Stdout is left alone: it may be a pipe or a file. `print_line` prints above the bar.
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=False)
    _live.append(bar)
    try:
        with bar:
            yield bar
    finally:
        _live.remove(bar)


def _step_columns() -> tuple[ProgressColumn, ...]:
    """Steps done of all, steps a second and the time left.

    Rates are means since the start: results of one batch come together, which rich's estimate
    takes for thousands a second.
    """
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Steps(ProgressColumn):
        def render(self, task: Task) -> Text:
            elapsed = task.elapsed or 0.0
            parts = [f"{task.completed:.0f}" + (f"/{task.total:.0f}" if task.total else "")]
            if task.completed and elapsed:
                parts.append(f"{task.completed / elapsed:.1f}/s")
            if task.completed and task.total:
                left = elapsed * (task.total - task.completed) / task.completed
                parts.append(f"{_clock(left)} left")
            else:
                parts.append(_clock(elapsed))
            return Text("  ".join(parts))

    return (Steps(),)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Advance:
    """Moves a progress bar, if there is one."""

    def __init__(self, bar: Progress | None, task: TaskID | None = None) -> None:
        self._bar = bar
        self._task = task

    def __call__(self, steps: int = 1) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, steps)

    def say(self, message: str) -> None:
        """One line to stderr, above the bar."""
        say(message)


def has_display() -> bool:
    """Whether a window can be shown; without a display OpenCV's toolkit ends the process."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


def exit_with_failures(failures: int) -> None:
    """End with exit code 3 if some inputs failed."""
    if failures:
        raise typer.Exit(InputError.exit_code)
