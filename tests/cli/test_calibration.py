"""Thresholds are written into what others write meanwhile, and nobody's work is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from facerec import Gallery
from facerec.card import Calibration, Cohort, Norms
from facerec.cli.evaluation import calibration
from facerec.cli.evaluation.calibration import write_calibration
from facerec.files.locking import locked
from facerec.gallery.addresses import changing
from facerec.weights.cards import read_card, write_card
from tests.conftest import make_card, make_face

MEASURED = Calibration(data="lfw", pairs=6000, thresholds={"1e-3": 0.4})
COHORT = Cohort(
    people=50,
    cosines=(0.4, 0.5),
    impostor={1: (0.5, 0.1)},
    genuine={1: (1.0, 0.9)},
    spread=(1.0, 1.0),
)


class Calibrating:
    """Writes thresholds in another thread, which waits for a lock.

    Args:
        target: a card or a gallery, of `make_card`'s model.
    """

    def __init__(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self._waits = threading.Event()
        monkeypatch.setattr(calibration, "say", self._say)
        self._thread = threading.Thread(
            target=write_calibration, args=(target, make_card(), MEASURED, None)
        )
        self._thread.start()
        assert self._waits.wait(30)

    def _say(self, line: str) -> None:
        self.said.append(line)
        self._waits.set()

    def end(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("large", [False, True], ids=["small", "with a journal"])
def test_faces_enrolled_meanwhile_and_the_thresholds_are_both_kept(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("facerec.gallery.files.backend._WHOLE", 0)
    path = tmp_path / "g.h5"
    with changing(path, create=make_card()) as store:
        store.add("Ada", [make_face(1, 0, 0, 0)], "1.jpg", "1")
        store.commit()
        calibrating = Calibrating(path, monkeypatch)
        store.add("Zoë", [make_face(0, 0, 1, 0)], "2.jpg", "2")
    calibrating.end()
    (line,) = calibrating.said
    assert line == f"{path}: another facerec is writing it; the thresholds wait for it"
    opened = Gallery.open(path)
    assert opened.counts() == {"Ada": 1, "Zoë": 1}
    assert opened.card.calibration == MEASURED


def test_faces_that_are_enrolled_after_a_calibration_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    with changing(path, create=make_card()) as store:
        store.add("Ada", [make_face(1, 0, 0, 0)], "1.jpg", "1")
    opened = Gallery.open(path)
    write_calibration(path, make_card(), MEASURED, None)
    opened.add("Zoë", [make_face(0, 0, 1, 0)], "2.jpg", "2")
    opened.commit()
    opened = Gallery.open(path)
    assert (opened.counts(), opened.card.calibration) == ({"Ada": 1, "Zoë": 1}, MEASURED)


def test_what_another_writes_into_a_card_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, norms = tmp_path / "card.yaml", Norms(loss="magface", usual=(1.0, 2.0))
    write_card(path, make_card())
    with locked(path):
        calibrating = Calibrating(path, monkeypatch)
        write_card(path, make_card().model_copy(update={"norms": norms}))
    calibrating.end()
    card = read_card(path, None)
    assert (card.calibration, card.norms) == (MEASURED, norms)


@pytest.mark.parametrize("kind", ["gallery", "old gallery", "card", "new card"])
def test_thresholds_of_pairs_that_name_nobody_leave_the_cohort_of_strangers(
    kind: str, tmp_path: Path
) -> None:
    known = make_card(calibration=MEASURED.model_copy(update={"cohort": COHORT}))
    path = tmp_path / ("g.h5" if "gallery" in kind else "card.json")
    if kind == "card":
        write_card(path, known)
    elif kind != "new card":
        Gallery(known if kind == "gallery" else make_card()).save(path)
    mine = Calibration(data="pairs", pairs=200, thresholds={"1e-2": 0.5})
    write_calibration(path, known, mine, None)
    card = Gallery.open(path).card if "gallery" in kind else read_card(path)
    assert card.calibration == mine.model_copy(update={"cohort": COHORT})
    other = COHORT.model_copy(update={"people": 60})
    write_calibration(path, known, mine.model_copy(update={"cohort": other}), None)
    card = Gallery.open(path).card if "gallery" in kind else read_card(path)
    assert card.calibration is not None
    assert card.calibration.cohort == other
