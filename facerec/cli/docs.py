"""`facerec docs`: the guides, in the terminal."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Annotated

from facerec.cli.completing import completer
from facerec.cli.console import Results
from facerec.cli.help import OUTPUT, App
from facerec.cli.options import argument, option
from facerec.errors import UsageError, nearest_or_all

app = App()


def topics() -> dict[str, str]:
    """Each guide's topic and title."""
    pages = (page for page in files("facerec.docs").iterdir() if page.name.endswith(".md"))
    return {
        page.name.removesuffix(".md"): page.read_text("utf-8").partition("\n")[0].lstrip("# ")
        for page in sorted(pages, key=lambda page: page.name)
    }


@app.command(examples=["facerec docs", "facerec docs train"])
def docs(
    topic: Annotated[
        str | None,
        argument(
            "[TOPIC]",
            help="The guide to show; without it the guides are listed.",
            autocompletion=completer(lambda ctx: topics()),
        ),
    ] = None,
    path: Annotated[
        bool, option("--path", panel=OUTPUT, help="Print where the guide is on disk.")
    ] = False,
) -> None:
    """Show a guide: formatted on a terminal, Markdown in a pipe."""
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
        raise UsageError(f"no guide is called {topic}{nearest_or_all(topic, known)}")
    page = files("facerec.docs").joinpath(f"{topic}.md")
    if path:
        sys.stdout.write(f"{page}\n")
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(page.read_text("utf-8")))
    else:
        # Windows' code pages lack the characters of tables.
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        sys.stdout.write(page.read_text("utf-8"))
