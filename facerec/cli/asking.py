"""Asking the user yes or no."""

from __future__ import annotations

import typer

from facerec.errors import UsageError


def confirmed(question: str) -> bool:
    """What the user answers, on stderr and stdin.

    Raises:
        UsageError: stdin is at its end, so nobody answers; names `--force`.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise
        typer.echo(err=True)
        raise UsageError("nobody answers, and nothing was changed; --force does not ask") from error
