"""The report of a cleanup of thousands of people, without the cleanup."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facerec.cleanup.findings import Finding, Kind
from facerec.cleanup.page import write_page
from facerec.cleanup.photos import Facts, Photos
from facerec.cleanup.survey import SURVEY, open_survey

PER_PERSON = 10


def write_large_report(report: Path, people: int) -> Path:
    """A page on people of ten images: of each one outlier with its neighbours and one
    near-duplicate, with thumbnails of 1.7 KB (those of LFW's faces have 0.7)."""
    dice = np.random.default_rng(0)
    count = people * PER_PERSON
    names = [f"person {number:05}" for number in range(people)]
    files = [f"{names[n // PER_PERSON]}/{n % PER_PERSON}.jpg" for n in range(count)]
    digests = [f"{n:x}" for n in range(count)]
    thumbnails = [_thumbnail(dice) for _ in range(64)]
    with open_survey(report / SURVEY, "") as cache:
        for n, digest in enumerate(digests):
            cache.put(digest, None, Facts(1).to_json(), thumbnails[n % len(thumbnails)])
    photos = Photos(
        np.array(files, object), np.array(files, object), np.arange(count) // PER_PERSON, names,
        np.array(digests, object), np.zeros((count, 2), np.float32), [Facts(1)] * count,
    )  # fmt: skip
    findings = []
    for number, name in enumerate(names):
        outlier, copy, *rest = files[number * PER_PERSON : (number + 1) * PER_PERSON]
        near = {"neighbours": [(file, 0.1) for file in rest[:3]]}
        sure = float(dice.uniform(0.5, 1))
        findings.append(Finding(Kind.OUTLIER, [outlier], name, sure, None, near))
        findings.append(Finding(Kind.NEAR_DUPLICATE, [copy], name, 0.6, None, {"of": rest[0]}))
    return write_page(report, photos, findings)


def _thumbnail(dice: np.random.Generator) -> bytes:
    colours = cv2.resize(dice.integers(0, 255, (16, 16, 3), np.uint8), (80, 80))
    rough = colours.astype(int) + dice.integers(-14, 14, colours.shape)
    picture = np.clip(rough, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 60])[1].tobytes())
