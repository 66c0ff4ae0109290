"""The HTML page: self-contained, without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from facerec.errors import UsageError
from facerec.evaluation.report.hardest import HardPair
from facerec.files.writing import replacing

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
       color: #1d2328; background: #fff }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.note { color: #5a646d } table { border-collapse: collapse } .wide { overflow-x: auto }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #dde2e6; text-align: right }
th:first-child, td:first-child { text-align: left }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { font-size: .85rem; color: #5a646d; overflow-wrap: anywhere }
svg { max-width: 100%; height: auto }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem }
.pair { display: flex; gap: 4px } .pair img, .pair .none { width: 8.5rem; height: 8.5rem;
        object-fit: contain; background: #eef1f3 }
pre { background: #f5f7f8; padding: .8rem; overflow-x: auto; font-size: .82rem }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Attributes:
        title: its heading.
        columns: column headings.
        rows: cells, as text.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows, in this order.

    Attributes:
        title: the set and the models.
        note: a line below the title.
        tables: figures.
        charts: SVG by caption.
        hardest: wrongly decided pairs of each model.
        pictures: data URI by image.
        run: how it was run, shown as JSON.
    """

    title: str
    note: str
    tables: Sequence[Table]
    charts: Mapping[str, str]
    hardest: Mapping[str, Sequence[HardPair]]
    pictures: Mapping[str, str]
    run: Mapping[str, Any]


def write_page(folder: Path, page: Page, *, force: bool) -> Path:
    """Write `index.html` into a folder, atomically; returns its path.

    Raises:
        UsageError: it exists and may not be replaced, or the folder cannot be written.
    """
    path = folder / "index.html"
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force replaces it")
    with replacing(path) as temporary:
        temporary.write_text(render(page), encoding="utf-8", errors="replace")
    return path


def render(page: Page) -> str:
    """The page's HTML."""
    charts = "".join(
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, svg in page.charts.items()
    )
    sections = [
        *(_table(table) for table in page.tables),
        f'<h2>Curves</h2><div class="charts">{charts}</div>' if charts else "",
        *(_hardest(model, pairs, page.pictures) for model, pairs in page.hardest.items()),
        f"<h2>How it was run</h2><pre>{escape(json.dumps(page.run, indent=2, default=str))}</pre>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(page.title)}</h1><p class="note">{escape(page.note)}</p>'
        f"{''.join(sections)}</body></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return (
        f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _hardest(model: str, pairs: Sequence[HardPair], pictures: Mapping[str, str]) -> str:
    parts = []
    for same, heading in ((False, "different people, accepted"), (True, "one person, rejected")):
        chosen = [pair for pair in pairs if pair.same == same]
        if chosen:
            figures = "".join(_pair(pair, pictures) for pair in chosen)
            parts.append(f"<h3>{heading}</h3><div class='pairs'>{figures}</div>")
    body = "".join(parts) or "<p>No pair was decided wrongly.</p>"
    return f"<h2>Hardest errors of {escape(model)}</h2>{body}"


def _pair(pair: HardPair, pictures: Mapping[str, str]) -> str:
    shown = "".join(_picture(key, pictures.get(key, "")) for key in (pair.first, pair.second))
    caption = f"{pair.similarity:.3f}: {pair.first} and {pair.second}"
    return (
        f"<figure><div class='pair'>{shown}</div>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _picture(key: str, uri: str) -> str:
    if not uri:
        return "<span class='none'></span>"
    return f'<img src="{uri}" alt="{escape(key, quote=True)}">'
