"""Help of commands: options in panels, examples; panels are drawn by rich on a terminal alone."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from facerec.errors import did_you_mean

INPUT = "Input"
MODEL = "Model"
DETECTION = "Detection"
RECOGNITION = "Recognition"
CLUSTERING = "Clustering"
MEASUREMENT = "Measurement"
OUTPUT = "Output"
SECURITY = "Security"
PROFILE = "Profile"
RUNTIME = "Runtime"
HELP = "Help"
_PANELS = (
    INPUT, MODEL, DETECTION, RECOGNITION, CLUSTERING, MEASUREMENT, OUTPUT, SECURITY, PROFILE,
    RUNTIME, HELP,
)  # fmt: skip
# Click's default would cut lines at 80 columns.
_WIDEST = 1000

_TYPES = {"str": "TEXT", "int": "INT", "int range": "INT", "float": "NUMBER",
          "float range": "NUMBER", "path": "PATH"}  # fmt: skip

Rows = list[tuple[str, str]]


class App(typer.Typer):
    """A command with its subcommands, or a single command; `examples` end its help."""

    def __init__(
        self, *, examples: Sequence[str] = (), cls: type[TyperGroup] | None = None, **settings: Any
    ) -> None:
        super().__init__(
            cls=cls or Group,
            epilog="\n".join(examples),
            context_settings=_context_settings(),
            rich_markup_mode=None,
            add_completion=settings.pop("add_completion", False),
            pretty_exceptions_enable=False,
            **settings,
        )

    def command(  # type: ignore[override]
        self, name: str | None = None, *, examples: Sequence[str], help: str | None = None
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Add a command.

        Args:
            name: else the function's.
            examples: command lines, one or two.
            help: else the function's docstring.
        """
        return super().command(
            name,
            cls=Command,
            help=help,
            epilog="\n".join(examples),
            context_settings=_context_settings(),
        )


def _context_settings() -> dict[str, Any]:
    return {"help_option_names": ["--help", "-h"], "max_content_width": _WIDEST}


class Command(TyperCommand):
    """A command whose help has panels and examples."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *_arguments(self)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _format_help(self, ctx, formatter, parameter_panels(self, ctx))


class Group(TyperGroup):
    """A group whose help has panels and examples, and that knows what a mistyped name meant."""

    def summaries(self, ctx: Any) -> Rows:
        """Names and first paragraphs of its commands."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        return [(name, first_paragraph(command.help)) for name, command in commands if command]

    def panels(self, ctx: Any) -> dict[str, Rows]:
        """Panels of its help."""
        return {"Commands": self.summaries(ctx), **parameter_panels(self, ctx)}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _format_help(self, ctx, formatter, self.panels(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{name}'{did_you_mean(name, known)}")
        return super().resolve_command(ctx, args)


def _arguments(command: Any) -> list[str]:
    """Positional arguments as a usage line shows them."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    names = [(one.metavar or one.name.upper(), one.required) for one in arguments]
    return [name if required or name[0] == "[" else f"[{name}]" for name, required in names]


def first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def panel_of(parameter: Any) -> str:
    """The panel that a parameter is listed in."""
    return str(getattr(parameter, "rich_help_panel", None) or HELP)


def parameter_panels(command: Any, ctx: Any) -> dict[str, Rows]:
    """Names and help of a command's parameters by panel, in the order of panels."""
    panels: dict[str, Rows] = {panel: [] for panel in _PANELS}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            name = _names(parameter, record[0])
            told = record[1].replace("  [", " [")
            panels.setdefault(panel_of(parameter), []).append((name, told))
    return {panel: rows for panel, rows in panels.items() if rows}


def _names(parameter: Any, recorded: str) -> str:
    """An option's names, short ones first and long ones below each other, then its metavar."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]")
    names = sorted((*parameter.opts, *parameter.secondary_opts), key=len)
    if parameter.secondary_opts:
        return "    " + " / ".join((*parameter.opts, *parameter.secondary_opts))
    value = " ".join(word for word in recorded.replace(",", " ").split() if word not in names)
    value = value.removeprefix("<").removesuffix(">")
    indent = "" if len(names[0]) == 2 else "    "
    return f"{indent}{', '.join(names)} {_TYPES.get(value, value)}".rstrip()


def _format_help(command: Any, ctx: Any, formatter: Any, panels: Mapping[str, Rows]) -> None:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    examples = (command.epilog or "").splitlines()
    if sys.stdout.isatty():
        usage = " ".join((ctx.command_path, *command.collect_usage_pieces(ctx)))
        formatter.write(_draw(usage, text, panels, examples))
        return
    command.format_usage(ctx, formatter)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(text)
    for panel, rows in panels.items():
        with formatter.section(panel):
            formatter.write_dl(rows)
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"  {example}\n")


def _draw(usage: str, text: str, panels: Mapping[str, Rows], examples: Sequence[str]) -> str:
    """Help as a terminal shows it."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    def prose(line: str, style: str = "") -> Text:
        told = Text(line, style=style)
        told.highlight_regex(r"`[^`]+`", "bold")
        told.highlight_regex(r"\[[^\]]+\]", "dim")
        return told

    console = Console(highlight=False)
    longest = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
    first = min(longest, console.width // 3)
    with console.capture() as captured:
        console.print(Padding(Text.assemble(("Usage: ", "yellow"), (usage, "bold")), (1, 1)))
        console.print(Padding(prose(text), (0, 1, 1, 1)))
        for panel, rows in panels.items():
            table = Table.grid(padding=(0, 2, 0, 0), expand=True)
            table.add_column(width=first, overflow="fold")
            table.add_column(ratio=1, overflow="fold")
            for name, told in rows:
                table.add_row(Text(_fit(name, first), style="bold cyan"), prose(told))
            console.print(
                Panel(table, title=panel, title_align="left", border_style="dim", padding=(0, 1))
            )
        if examples:
            lines = Text("\n").join(Text(example) for example in examples)
            console.print(Panel(lines, title="Examples", title_align="left", border_style="dim"))
    return captured.get().rstrip("\n") + "\n"


def _fit(name: str, width: int) -> str:
    """An option's name and value, broken before the value and between its choices."""
    if len(name) <= width:
        return name
    names, _, value = name.rpartition(" ")
    lines, indent = [names], " " * 6
    for choice in re.findall(r"[^|]+\|?", value):
        if len(lines) == 1 or len(lines[-1] + choice) > width:
            lines.append(indent)
        lines[-1] += choice
    return "\n".join(lines)
