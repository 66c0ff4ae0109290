"""Snapshots on the way: what is written, compared and measured, without a training run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from facerec.profile.loading import Profile
from facerec.profile.schema import TrainSection
from facerec.training.callbacks import Callbacks, RunLog
from facerec.training.data.opening import open_training_data
from facerec.training.evaluation import Evaluator, run_evaluation
from facerec.training.network import create_backbone
from facerec.training.run_folder import MODEL

SMALL = (
    "train.backbone=test_ir", "train.input=32", "train.embedding_size=16", "data.synthetic=true",
    "data.synthetic_people=30", "data.synthetic_images=4",
)  # fmt: skip


def snapshot(
    folder: Path, *settings: str, said: list[str] | None = None
) -> tuple[Evaluator, nn.Module]:
    """An evaluator of a run that writes into the folder, and an untrained network."""
    profile = Profile.load(settings=[*SMALL, *settings])
    network, card = create_backbone(profile.train, "small")
    data = open_training_data(profile.data, card, 0, print)
    callbacks = Callbacks(on_message=print if said is None else said.append)
    evaluator = Evaluator(profile, card, data, folder, "cpu", RunLog(None, print), callbacks)
    return evaluator, network.eval()


@pytest.mark.parametrize(("share", "kind"), [(0, "training"), (0.4, "validation")])
def test_the_usual_norms_are_of_validation_images_where_there_are_any(
    share: float, kind: str, tmp_path: Path
) -> None:
    evaluator, network = snapshot(tmp_path, "train.loss=magface", f"data.validation={share}")
    norms = evaluator.write(1, network).norms
    assert norms is not None
    assert norms.data == f"{kind} images of small"
    assert norms.usual is not None
    assert 0 < norms.usual[0] < norms.usual[1]


@pytest.mark.parametrize("loss", ["magface", "adaface", "arcface"])
def test_a_card_has_norms_where_the_loss_ties_them_to_quality(loss: str) -> None:
    _, card = create_backbone(TrainSection(backbone="test_ir", input=32, loss=loss), "small")
    assert (None if card.norms is None else card.norms.loss) == (
        None if loss == "arcface" else loss
    )


def test_trained_on_with_another_loss_the_norm_means_nothing(tmp_path: Path) -> None:
    evaluator, network = snapshot(tmp_path, "train.loss=magface")
    assert evaluator.write(1, network).norms is not None
    section = TrainSection(initial=str(tmp_path / MODEL), loss="arcface")
    assert create_backbone(section, "next")[1].norms is None


def test_more_images_than_are_compared_still_make_genuine_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.training.evaluation._MAX_VALIDATED", 20)
    evaluator, network = snapshot(tmp_path, "data.validation=0.5")
    evaluator.evaluate(1, network)
    assert evaluator.best is not None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["data.validation=0.25"], True),
        (["data.validation=0.5"], False),
        (["data.validation=0.25", "train.evaluate=[all]"], False),
    ],
)
def test_held_out_images_that_make_no_pairs_are_told(
    settings: list[str], told: bool, tmp_path: Path
) -> None:
    said: list[str] = []
    snapshot(tmp_path, *settings, said=said)
    assert any("one image of each person" in line for line in said) == told


def test_an_evaluation_is_named_by_its_first_word_as_a_shell_splits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("facerec.training.evaluation.find_sets", lambda *_: ([], ["lfw: absent"]))
    snapshot(tmp_path, "train.evaluate=['\"all\" --flip']", said=told)
    assert told == ["the run will not be evaluated on all its sets: lfw: absent"]


def test_an_evaluation_reads_a_leading_tilde_as_a_shell_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERPROFILE", "/home/ann")
    asked: list[list[str]] = []

    def answer(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=0, stdout='{"protocol": "lfw"}\n', stderr="")

    monkeypatch.setattr("facerec.training.evaluation.subprocess", SimpleNamespace(run=answer))
    run_evaluation("all lfw=~/lfw --pairs ~/pairs.txt", Path("model"), Path("profile"))
    words = ["all", "lfw=/home/ann/lfw", "--pairs", "/home/ann/pairs.txt"]
    assert asked[0][4:8] == words
