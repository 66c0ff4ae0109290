"""One enrolment by several processes: what each has embedded, in files beside the gallery.

The photos are cut into runs, always the same for the same photos, and each run's outcomes are one
file, written whole. A process that dies costs its runs that were not done; whoever starts next
takes all that are missing. The outcomes of all runs, in order, are what one process would give.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from facerec.card import ModelCard
from facerec.faces import Face
from facerec.files import replacing
from facerec.gallery.outcomes import Held, Outcome
from facerec.imaging.photos import Photo
from facerec.profile.loading import Profile

_RUN = 64
_ARRAYS = ("box", "landmarks", "embedding")


class Parts:
    """The runs of one enrolment.

    Args:
        folder: where they are kept; made when the first is written.
        photos: all of them, person and photo each.
        settings: all that their outcomes depend on beside the photos.
    """

    def __init__(self, folder: Path, photos: Sequence[tuple[str, Photo]], settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._runs = [photos[start : start + _RUN] for start in range(0, len(photos), _RUN)]

    @cached_property
    def _files(self) -> list[Path]:
        return [self._folder / f"{_digest(run, self._settings)}.npz" for run in self._runs]

    def missing(self, held: Held) -> list[int]:
        """The runs that are not done.

        Args:
            held: what is enrolled; a run that left out a photo as enrolled, which no longer is,
                is to be done again.
        """
        return [number for number in range(len(self._runs)) if not self._is_done(number, held)]

    def photos(self, runs: Iterable[int]) -> list[tuple[str, Photo]]:
        """The photos of some runs."""
        return [photo for number in runs for photo in self._runs[number]]

    def write(self, runs: Iterable[int], outcomes: Iterator[Outcome]) -> None:
        """Write the outcomes of the runs' photos, a file as soon as a run is through.

        Raises:
            UsageError: the folder cannot be written.
        """
        for number in runs:
            _write(self._files[number], list(islice(outcomes, len(self._runs[number]))))

    def outcomes(self) -> Iterator[Outcome]:
        """Those of all photos, in order."""
        return (outcome for file in self._files for outcome in _read(file))

    def remove(self) -> None:
        """Remove the folder, with what was left there by enrolments of other photos."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_done(self, number: int, held: Held) -> bool:
        try:
            outcomes = _read(self._files[number])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return False
        return all(
            outcome.looked or outcome.error or held(person, outcome.sha256)
            for (person, _), outcome in zip(self._runs[number], outcomes, strict=True)
        )


def describe_settings(card: ModelCard, profile: Profile, *, aligned: bool) -> str:
    """All that a photo's outcome depends on beside the photo."""
    return json.dumps(
        {
            "card": card.fingerprint(),
            "detector": profile.detector.model_dump(mode="json"),
            "runtime": profile.runtime.model_dump(
                mode="json", exclude={"device", "threads", "processes", "workers"}
            ),
            "faces": profile.gallery.faces,
            "aligned": aligned,
        }
    )


def _digest(run: Sequence[tuple[str, Photo]], settings: str) -> str:
    photos = [(person, str(photo), photo.version) for person, photo in run]
    return hashlib.sha256(json.dumps([settings, photos]).encode()).hexdigest()[:32]


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    faces = [face for outcome in outcomes for face in outcome.faces]
    facts = [[o.sha256, o.error, o.looked, len(o.faces)] for o in outcomes]
    arrays: dict[str, Any] = {
        name: np.array([getattr(face, name) for face in faces]) for name in _ARRAYS
    }
    text = np.frombuffer(json.dumps([facts, [face.score for face in faces]]).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, text=text, **arrays)


def _read(path: Path) -> list[Outcome]:
    with np.load(path, allow_pickle=False) as file:
        facts, scores = json.loads(file["text"].tobytes())
        boxes, landmarks, embeddings = (file[name] for name in _ARRAYS)
    faces = map(Face, boxes, scores, landmarks, embeddings)
    return [
        Outcome(sha256, error, looked, tuple(islice(faces, count)))
        for sha256, error, looked, count in facts
    ]
