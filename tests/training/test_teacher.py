"""Distillation from another model's vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from facerec.training.teacher import Teacher
from tests.conftest import make_card, noise
from tests.training.test_training import log, tiny


@pytest.fixture(scope="module")
def student():
    from facerec.alignment.templates import arcface_template

    return make_card(128, input_height=32, input_width=32, template=arcface_template(32))


def test_the_teachers_vectors_of_its_own_chips_are_those_it_gives_elsewhere(student, engine):
    from facerec.alignment.warp import adapt_chip

    teacher = Teacher("dlib_resnet", student, "cpu", remember=False)
    chips = np.stack([noise(112, 112, seed) for seed in range(2)])
    card = engine.card
    adapted = [adapt_chip(chip, card.template, (150, 150)) for chip in chips]
    found = teacher.vectors(chips)
    assert (found * engine.embed_chips(np.stack(adapted))).sum(axis=1).min() > 0.999
    loss = teacher.loss(torch.from_numpy(3 * found), torch.from_numpy(chips))
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_a_chip_that_comes_again_is_embedded_once_where_nothing_is_augmented(student, monkeypatch):
    teacher = Teacher("dlib_resnet", student, "cpu", remember=True)
    embedded = []
    embed = teacher._embedder.embed
    monkeypatch.setattr(
        teacher._embedder, "embed", lambda chips: (embedded.append(len(chips)), embed(chips))[1]
    )
    chips = np.stack([noise(32, 32, seed) for seed in (0, 1, 0)])
    first = teacher.vectors(chips)
    assert np.array_equal(teacher.vectors(chips[::-1]), first[::-1])
    assert embedded == [2]


def test_a_student_comes_nearer_to_its_teacher(run, tmp_path):
    settings = {
        "train__teacher": "dlib_resnet", "train__teacher_weight": 20, "train__embedding_size": 128,
        "train__max_steps": 30, "data__flip": 0, "data__synthetic_images": 2,
        "train__loss": "softmax", "train__lr": 0.02,
    }  # fmt: skip
    code, out, err = run(*tiny(tmp_path / "run", **settings))
    assert code == 0, err
    assert json.loads(out)["steps"] == 30
    losses = [line["loss"] for line in log(tmp_path / "run", "train")]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2


def test_a_teacher_of_another_size_is_refused_with_the_setting(run, tmp_path):
    code, _, err = run(*tiny(tmp_path / "run", train__teacher="dlib_resnet"))
    assert code == 2
    assert "--set train.embedding_size=128" in err
    assert not (tmp_path / "run").exists()
