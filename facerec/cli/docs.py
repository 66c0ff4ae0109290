"""`facerec docs`: the guides, in the terminal."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Annotated

import typer

from facerec.cli.console import Results
from facerec.errors import UsageError, did_you_mean

app = typer.Typer(rich_markup_mode=None, add_completion=False)


def topics() -> dict[str, str]:
    """Each guide's topic and title."""
    pages = (page for page in files("facerec.docs").iterdir() if page.name.endswith(".md"))
    return {
        page.name.removesuffix(".md"): page.read_text("utf-8").partition("\n")[0].lstrip("# ")
        for page in sorted(pages, key=lambda page: page.name)
    }


def _complete_topic(incomplete: str) -> list[tuple[str, str]]:
    return [pair for pair in topics().items() if pair[0].startswith(incomplete)]


@app.command()
def docs(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="The guide to show; all are listed without.",
            autocompletion=_complete_topic,
        ),
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Print where the guide lies.")] = False,
) -> None:  # fmt: skip
    """Show a guide: formatted on a terminal, Markdown in a pipe.

    Without TOPIC the guides are listed.
    """
    known = topics()
    if topic is None:
        if path:
            sys.stdout.write(f"{files('facerec.docs')}\n")
            return
        results = Results("topic", "guide", as_json=None)
        for name, title in known.items():
            results.add({"topic": name, "title": title}, (name, title))
        results.close()
        return
    if topic not in known:
        nearest = did_you_mean(topic, known) or f"; there are {', '.join(known)}"
        raise UsageError(f"no guide is called {topic}{nearest}")
    page = files("facerec.docs").joinpath(f"{topic}.md")
    if path:
        sys.stdout.write(f"{page}\n")
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(page.read_text("utf-8")))
    else:
        sys.stdout.write(page.read_text("utf-8"))
