"""The `facerec` command line: loads a command's module when it is called, renders errors."""

from __future__ import annotations

# First: the other imports take long enough for Ctrl-C.
from facerec.cli.interrupts import INTERRUPTED, end_at_once, raise_again, raise_outside_imports

end_at_once()

# ruff: noqa: E402
import atexit
import gc
import logging
import os
import re
import sys
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from facerec.cli.help import HELP, App, Group, Rows
from facerec.cli.streams import (
    discard_stdout,
    is_of_stdout,
    occupy_closed_streams,
    write_any_text,
)
from facerec.errors import FacerecError, UsageError, did_you_mean, nearest, without_credentials
from facerec.files.home import expand_value
from facerec.parallel.cores import thread_limit

COMMANDS = {
    "embed": "facerec.cli.embed",
    "recognize": "facerec.cli.recognize",
    "serve": "facerec.cli.serve",
    "compare": "facerec.cli.compare",
    "detect": "facerec.cli.detect",
    "align": "facerec.cli.align",
    "train": "facerec.cli.train",
    "logs": "facerec.cli.logs",
    "cleanup": "facerec.cli.cleanup",
    "evaluate": "facerec.cli.evaluate",
    "bench": "facerec.cli.bench",
    "import": "facerec.cli.import_",
    "export": "facerec.cli.export",
    "model": "facerec.cli.model",
    "gallery": "facerec.cli.gallery",
    "album": "facerec.cli.album.group",
    "download": "facerec.cli.download",
    "profile": "facerec.cli.profile",
    "docs": "facerec.cli.docs",
    "demo": "facerec.cli.demo",
}
"""Commands in the order of help, and the modules whose `app` they are."""

_PIPE_CLOSED = 141
# Click's base of all errors in a command line; Typer exports only this descendant of it.
_ClickException: type[Exception] = typer.BadParameter.mro()[2]


class _Commands(Group):
    """A group that imports a command's module when that command is asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(argument.endswith("-completion") for argument in args[:1]):
            from facerec.cli.completion_scripts import use_own_scripts

            use_own_scripts()
        # A shell expands `~` at the start of a word, not in `--out=~/x`.
        args = [expand_value(word) if word.startswith("--") else word for word in args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        _accept_debug(command)
        return command

    def summaries(self, ctx: Any) -> Rows:
        """Commands by their modules' first lines: importing the modules and building all options
        would be most of what `--help` costs."""
        return [(name, _summary(module)) for name, module in COMMANDS.items()]


def _summary(module: str) -> str:
    """What follows the command's name in the first line of its module's docstring."""
    source = Path(__file__).parent.joinpath(*module.split(".")[2:]).with_suffix(".py")
    with source.open(encoding="utf-8") as lines:
        summary = next(lines).partition(": ")[2].rstrip().removesuffix('"""')
    return summary[:1].upper() + summary[1:]


@cache
def _debug_option() -> Any:
    sample = App()

    @sample.command(examples=[])
    def command(
        debug: Annotated[
            bool,
            typer.Option(
                "--debug",
                expose_value=False,
                help="Show an error's traceback.",
                rich_help_panel=HELP,
            ),
        ] = False,
    ) -> None:
        """Never run: Typer builds options only from a command's signature."""

    return typer.main.get_command(sample).params[0]


def _accept_debug(command: Any) -> None:
    """Let every command take `--debug`; `_render` looks for it when there is something to show."""
    inner = getattr(command, "commands", None)
    if inner is None:
        command.params.append(_debug_option())
    else:
        for subcommand in inner.values():
            _accept_debug(subcommand)


app = App(
    cls=_Commands,
    add_completion=True,
    no_args_is_help=True,
    examples=[
        "facerec demo",
        "facerec embed people/ --out people.h5",
        "facerec recognize image party.jpg --gallery people.h5",
    ],
)


def _show_version(value: bool) -> None:
    if value:
        from facerec import __version__

        sys.stdout.write(f"facerec {__version__}\n")
        raise typer.Exit


@app.callback()
def facerec(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version.",
            rich_help_panel=HELP,
        ),
    ] = False,
) -> None:
    """Face recognition, whole: enrol people from folders of photos and recognise them.

    Results go to stdout (a table on a terminal, JSON lines in a pipe), the rest to stderr.
    Exit codes: 0 done, 1 the answer is no, 2 usage or profile error, 3 some inputs failed,
    4 something needed is missing, 130 interrupted.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    end_at_once()
    # Importing PyTorch allocates 280,000 objects. Collections during the import and at exit would
    # take half a second and free nothing.
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)
    try:
        raise_outside_imports()
        code = run()
    except KeyboardInterrupt:
        # Another one, while the first was told.
        code = INTERRUPTED
    finally:
        end_at_once()
    if code == INTERRUPTED:
        # Of code from a string, as a dataclass's, that Ctrl-C ended, `python -m` remembers so until
        # the next such code, and would end by the signal instead of with the exit code.
        exec("")
    sys.exit(code)


def run() -> int:
    """Run the command line; returns its exit code. Errors become one line on stderr."""
    occupy_closed_streams()
    write_any_text()
    logging.lastResort = _Warnings(logging.WARNING)
    if not sys.warnoptions:
        # Of packages, about their own use: nothing that a user can act on.
        warnings.simplefilter("ignore")
    if limit := thread_limit():
        # OpenMP and OpenBLAS, below PyTorch and NumPy, read it when they are loaded.
        os.environ.setdefault("OMP_NUM_THREADS", str(limit))
    if "_FACEREC_COMPLETE" in os.environ:
        from facerec.cli.completion_scripts import reply_with_options

        reply_with_options()
    try:
        _require_current_folder()
        code = app(standalone_mode=False, prog_name="facerec")
        sys.stdout.flush()
    except BrokenPipeError:
        return _leave_pipe()
    except SystemExit as ended:
        # Click and rich turn a closed pipe into exit code 1, which here means "the answer is no".
        if isinstance(ended.__context__, BrokenPipeError):
            return _leave_pipe()
        raise
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except FacerecError as error:
        return _render(error, str(error), error.exit_code)
    except MemoryError as error:
        return _render(error, "out of memory; try a smaller runtime.batch", 4)
    except ImportError as error:
        if _was_interrupted(error):
            return _render(error, "interrupted", INTERRUPTED)
        from facerec.cli.packages import explain_import

        return _render(error, explain_import(error), 4)
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001  (the last resort of a command line)
        # Errors of torch's checkpoints and of Rust's panics are no `Exception`.
        if isinstance(error, _ClickException):
            return _render(error, _usage(error), 2)
        if _was_interrupted(error):
            return _render(error, "interrupted", INTERRUPTED)
        if isinstance(error, OSError) and is_of_stdout(error):
            discard_stdout()
            return _render(error, f"standard output cannot be written: {error.strerror}", 2)
        # Of some errors the other lines are a traceback.
        told = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        return _render(error, f"internal error: {told}; --debug shows where", 4)
    if code == INTERRUPTED:
        _complain("interrupted")
    return code if isinstance(code, int) else 0


def _require_current_folder() -> None:
    """Refuse to run where libraries, which look around when they are loaded, end the process.

    Raises:
        UsageError: the current folder is gone.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the current folder is gone; change to one that is there") from error


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is what a library made of Ctrl-C, as NumPy does while it is imported."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class _Warnings(logging.Handler):
    """Says what modules log, as every other message is said."""

    def emit(self, record: logging.LogRecord) -> None:
        _complain(without_credentials(record.getMessage()))


def _leave_pipe() -> int:
    """Nobody reads stdout on, as after `| head -1`: be silent, also when Python flushes at exit."""
    discard_stdout()
    return _PIPE_CLOSED


def _usage(error: Any) -> str:
    """A usage error on one line, with the name that may have been meant."""
    # Click lists choices on lines of their own.
    message = " ".join(error.format_message().split()).rstrip(".")
    if possible := getattr(error, "possibilities", None):
        # Dashes are alike in all: click takes --model for --help.
        names = {option.lstrip("-"): option for option in possible}
        given = error.option_name.lstrip("-")
        near = nearest(given, names) or next((one for one in names if one.startswith(given)), None)
        message = error.message.rstrip(".")
        if near is not None:
            return f"{message}; did you mean {names[near]}?"
    told = re.search(r"'([^']*)' is not one of (.*)", message)
    if told:
        message += did_you_mean(told[1], re.findall(r"'(.*?)'", told[2]))
    context = getattr(error, "ctx", None)
    if context is None or message.endswith("?"):
        return message
    return f"{message}; see {context.command_path} --help"


def _render(error: BaseException, message: str, code: int) -> int:
    if "--debug" in sys.argv or os.environ.get("FACEREC_DEBUG"):
        import traceback

        told = "".join(traceback.format_exception(error))
        sys.stderr.write(without_credentials(told))
    _complain(without_credentials(message))
    return code


def _complain(message: str) -> None:
    from facerec.cli.console import say

    say(message)


raise_again()
