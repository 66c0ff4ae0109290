"""The report: one page that needs nothing else, to look at findings and decide on them.

Thumbnails are in the page as text and become pictures when they come into view, so that
thousands of identities open at once.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from facerec.cleanup.findings import Finding
from facerec.cleanup.photos import Photos
from facerec.cleanup.store import Store
from facerec.files import replacing

# Enough to know a person by; all of a large folder would make the page too heavy to open.
_KEPT_SHOWN = 8
_DATA = "<!--data-->"


def write_page(report: Path, photos: Photos, findings: Sequence[Finding]) -> Path:
    """Write `index.html` beside the survey, atomically; returns its path."""
    template = files("facerec.cleanup").joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.split(_DATA)
    path = report / "index.html"
    with (
        replacing(path) as temporary,
        Store.reopen(report / "survey.sqlite") as store,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write(before)
        for block in _people(photos, findings, store):
            # In a script element only `</` could end it; JSON may escape the slash.
            text = json.dumps(block).replace("</", "<\\/")
            file.write(f'<script type="application/json" class="person">{text}</script>\n')
        file.write(after)
    return path


def _people(photos: Photos, findings: Sequence[Finding], store: Store) -> Iterator[dict[str, Any]]:
    """What the page shows of each person with findings: the surest first."""
    rows = {str(file): row for row, file in enumerate(photos.file)}
    about: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        about[finding.person].append(finding)
    number = {person: index for index, person in enumerate(photos.people)}

    def picture(file: str) -> dict[str, str]:
        data = store.thumbnail(str(photos.sha256[rows[file]]))
        return {"file": file, "data": base64.b64encode(data).decode()}

    def surest(person: str) -> tuple[float, str]:
        return -max(finding.confidence for finding in about[person]), person

    def weight(finding: Finding) -> tuple[bool, float]:
        return finding.kind.usually == "kept", -finding.confidence

    for person in sorted(about, key=surest):
        concerned = {file for finding in about[person] for file in finding.files}
        own = np.flatnonzero(photos.person == number[person])
        kept = [file for row in own if (file := str(photos.file[row])) not in concerned]
        yield {
            "person": person,
            "images": len(own),
            "kept": [picture(file) for file in kept[:_KEPT_SHOWN]],
            "findings": [
                {
                    **finding.to_record(),
                    "usually": finding.kind.usually,
                    "pictures": [picture(file) for file in finding.files],
                    "near": [
                        {**picture(file), "similarity": cosine}
                        for file, cosine in finding.evidence.get("neighbours", [])
                    ]
                    + [picture(file) for file in [finding.evidence.get("of")] if file],
                }
                for finding in sorted(about[person], key=weight)
            ],
        }
