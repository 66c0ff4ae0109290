"""The HTML report: review findings and decide on them, without a server or the network.

`index.html` holds the findings. Thumbnails are in one script per person, loaded when the person
scrolls into view, so that thousands of people open at once; from a disk a page can load scripts and
images only.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from facerec.cleanup.findings import Finding
from facerec.cleanup.groups import rows_by_group
from facerec.cleanup.photos import Photos
from facerec.cleanup.survey import SURVEY, open_survey
from facerec.engine.cache import EmbeddingCache
from facerec.files.writing import replacing

# A sample: all images of a large folder would make the page too large.
_KEPT_SHOWN = 8
_FILES_SHOWN = 60
_DATA = "<!--data-->"


def write_page(
    report: Path,
    photos: Photos,
    findings: Sequence[Finding],
    advance: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write `index.html` and `pictures/` beside the survey; returns the page's path.

    The page is written last and atomically.

    Args:
        advance: progress callback, with the number of people written, of those with findings.
    """
    template = files("facerec.cleanup").joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.split(_DATA)
    path, pictures = report / "index.html", report / "pictures"
    pictures.mkdir(exist_ok=True)
    with (
        replacing(path) as temporary,
        open_survey(report / SURVEY) as cache,
        temporary.open("w", encoding="ascii") as file,
    ):
        file.write(before)
        for number, (person, shown) in enumerate(_people(photos, findings, cache)):
            # `</script` and `<!--` would change where the element ends; JSON may escape the `<`.
            text = json.dumps(person).replace("<", "\\u003c")
            file.write(f'<script type="application/json" class="person">{text}</script>\n')
            script = f"pictures({number}, {json.dumps(shown)});\n"
            with replacing(pictures / f"{number}.js") as written:
                written.write_text(script, encoding="ascii")
            advance(1)
        file.write(after)
    return path


def _people(
    photos: Photos, findings: Sequence[Finding], cache: EmbeddingCache
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Each person with findings, the surest first, and the thumbnails of the images shown."""
    rows = {str(file): row for row, file in enumerate(photos.file)}
    about: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        about[finding.person].append(finding)
    members = rows_by_group(photos.person, len(photos.people))
    number = {person: index for index, person in enumerate(photos.people)}

    def surest(person: str) -> tuple[float, str]:
        return -max(finding.confidence for finding in about[person]), person

    def weight(finding: Finding) -> tuple[bool, float]:
        return finding.kind.usually == "kept", -finding.confidence

    for person in sorted(about, key=surest):
        concerned = {file for finding in about[person] for file in finding.files}
        own = members[number[person]]
        kept = [file for row in own if (file := str(photos.file[row])) not in concerned]
        named = kept[:_KEPT_SHOWN]
        ordered = sorted(about[person], key=weight)
        yield (
            {
                "person": person,
                "images": len(own),
                "kept": named,
                "findings": [_shown(finding) for finding in ordered],
            },
            {
                file: base64.b64encode(cache.thumbnail(str(photos.sha256[rows[file]]))).decode()
                for file in dict.fromkeys((*named, *_named(ordered)))
            },
        )


def _shown(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "kind": finding.kind.value,
        "confidence": round(finding.confidence, 4),
        "suggestion": finding.suggestion,
        "target": finding.target or finding.whose,
        "usually": finding.kind.usually,
        "files": finding.files[:_FILES_SHOWN],
        "more": max(0, len(finding.files) - _FILES_SHOWN),
        "near": _evidence(finding),
        "like": finding.evidence.get("image") or finding.evidence.get("person"),
    }


def _named(findings: Sequence[Finding]) -> Iterator[str]:
    for finding in findings:
        yield from finding.files[:_FILES_SHOWN]
        yield from (file for file, _ in _evidence(finding))


def _evidence(finding: Finding) -> list[tuple[str, float | None]]:
    """Images that are a finding's evidence, with their cosines where known."""
    near = [*finding.evidence.get("neighbours", [])]
    original = finding.evidence.get("of")
    return [*near, (original, finding.evidence.get("similarity"))] if original else near
