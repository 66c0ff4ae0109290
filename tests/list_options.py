"""List every command's options, as Typer reads them out of signatures: `python -m
tests.list_options`.

Python's versions give annotations in different ways; `.ci/pythons` compares the lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from facerec.cli.app import app


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command below one, with its path."""
    yield path, command
    if hasattr(command, "commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), (*path, name))


def main() -> None:
    """Print a line for each option and argument."""
    for path, command in walk(typer.main.get_command(app), ("facerec",)):
        for one in command.params:
            names = [*one.opts, *one.secondary_opts]
            print(*path, *names, one.required, getattr(one, "help", None), sep="\t")


if __name__ == "__main__":
    main()
