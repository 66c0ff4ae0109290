"""Distillation from another model's vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from facerec.alignment.templates import ARCFACE, arcface_template
from facerec.alignment.warp import adapt_chip
from facerec.profile.loading import Profile
from facerec.training.data.augmentation import Augmentation
from facerec.training.data.loader import Loader
from facerec.training.data.opening import TrainingData
from facerec.training.data.selection import select, split
from facerec.training.data.synthetic import Synthetic
from facerec.training.teacher import Teacher, imitation, relation
from facerec.weights.store import read_model
from tests.conftest import make_card, noise
from tests.training.test_training import PLAIN, checkpoint, log, tiny, torchrun, weights

STUDENT = make_card(16, input_height=32, input_width=32, template=arcface_template(32))


def faces(side: int = 112, people: int = 4, each: int = 3) -> TrainingData:
    made = Synthetic(people, each, side, side, seed=0)
    return TrainingData(made, *split(select(made, people=None, min_images=1), 0.0, 0))


def teach(data: TrainingData, *settings: str, **changes) -> Teacher:
    options = {"student": STUDENT, "device": "cpu", "data": data, "centred": False, **changes}
    profile = Profile.load(settings=["runtime.threads=1", *settings])
    return Teacher("dlib_resnet", profile, **options)


def batches(data: TrainingData, teacher: Teacher, steps: int, start: int = 0, **changes):
    options = {"augmentation": Augmentation(photometric=1.0), **changes}
    loader = Loader(
        data.examples, data.training, template=STUDENT.template, size=(32, 32), batch=4, rank=0,
        world=1, seed=0, workers=2, original=teacher.chip, **options,
    )  # fmt: skip
    return list(loader.batches(start, steps))


def elsewhere(data: TrainingData, engine, indices) -> np.ndarray:
    """The vectors that `facerec embed --aligned` gives the images."""
    chips = [adapt_chip(data.examples.image(i), engine.card.template, (150, 150)) for i in indices]
    return engine.embed_chips(np.stack(chips))


def count_embedded(teacher: Teacher, monkeypatch) -> list[int]:
    counts: list[int] = []
    embed = teacher._vectors.of_chips
    monkeypatch.setattr(
        teacher._vectors, "of_chips", lambda chips: (counts.append(len(chips)), embed(chips))[1]
    )
    return counts


def test_the_teacher_sees_the_whole_image_before_it_is_augmented(engine):
    data = faces()
    teacher = teach(data)
    (batch,) = batches(data, teacher, 1)
    targets = teacher.targets(batch).numpy()
    assert (targets * elsewhere(data, engine, batch.indices)).sum(axis=1).min() > 0.999
    assert imitation(torch.from_numpy(3 * targets), torch.from_numpy(targets)).item() < 1e-5


def test_an_image_that_comes_again_is_embedded_once(monkeypatch):
    data = faces()
    teacher = teach(data)
    counts = count_embedded(teacher, monkeypatch)
    first = np.concatenate([teacher.targets(batch) for batch in batches(data, teacher, 3)])
    assert sum(counts) == 12
    later = batches(data, teacher, 6, start=3)
    assert all(chip is None for batch in later for chip in batch.originals)
    again = np.concatenate([teacher.targets(batch) for batch in later])
    assert sum(counts) == 12
    assert sorted(map(tuple, first)) == sorted(map(tuple, again))


def test_a_vector_is_the_same_to_the_bit_whatever_is_kept_and_beside_it():
    data = faces()
    whole = {}
    for room in (2**20, 5 * 4 * 128):
        teacher = teach(data, centred=True, most_bytes=room)
        start = 0 if room > 10_000 else 2
        for batch in batches(data, teacher, 5, start=start):
            for index, vector in zip(batch.indices, teacher.targets(batch), strict=True):
                known = whole.setdefault(int(index), vector)
                assert torch.equal(vector, known)
    assert len(whole) == 12
    assert teacher._count == 5


def test_centred_vectors_are_those_without_their_mean(engine):
    data = faces()
    teacher = teach(data, centred=True)
    (batch,) = batches(data, teacher, 1)
    plain = elsewhere(data, engine, range(12))
    expected = (plain - plain.mean(axis=0))[batch.indices]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (teacher.targets(batch).numpy() * expected).sum(axis=1).min() > 0.99


def test_the_relation_is_the_divergence_from_the_teachers_softmax_over_cosines():
    generator = np.random.default_rng(0)

    def units(count: int) -> np.ndarray:
        made = generator.normal(size=(count, 8))
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    student, targets, anchors = units(5), units(5), units(7)
    expected = 0.0
    for s, t in zip(student, targets, strict=True):
        p, q = (np.exp(np.array([v @ t, *(anchors @ v)]) / 0.1) for v in (t, s))
        p, q = p / p.sum(), q / q.sum()
        expected += (p * np.log(p / q)).sum() / 5
    tensors = [torch.from_numpy(v.astype(np.float32)) for v in (3 * student, targets, anchors)]
    assert relation(*tensors, 0.1).item() == pytest.approx(expected, rel=1e-4)
    assert relation(tensors[1], *tensors[1:], 0.1).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_anchors_are_the_teachers_vectors_of_training_images(engine, centred):
    data = faces()
    anchors = teach(data, centred=centred, anchored=True).anchors.numpy()
    plain = elsewhere(data, engine, range(12))
    expected = plain - centred * plain.mean(axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (anchors * expected).sum(axis=1).min() > 0.99
    assert len(teach(data, centred=centred).anchors) == 0


def test_the_teacher_sees_the_centre_where_the_student_sees_a_random_part(engine):
    data = faces(144)
    student = make_card(16, input_height=112, input_width=112, template=ARCFACE)
    teacher = teach(data, "data.random_crop=true", student=student)
    loader = Loader(
        data.examples, data.training, template=ARCFACE, size=(112, 112), batch=4, rank=0, world=1,
        seed=0, workers=1, augmentation=None, random_crop=True, original=teacher.chip,
    )  # fmt: skip
    (batch,) = loader.batches(0, 1)
    centres = [data.examples.image(i)[16:128, 16:128] for i in batch.indices]
    template = engine.card.template
    expected = engine.embed_chips(
        np.stack([adapt_chip(centre, template, (150, 150), "arcface") for centre in centres])
    )
    assert (teacher.targets(batch).numpy() * expected).sum(axis=1).min() > 0.999


def test_an_image_of_the_students_size_lies_on_the_students_template():
    teacher = teach(faces())
    small = noise(32, 32)
    points = np.asarray(arcface_template(32).points)
    chip = teacher._adapt(small)
    assert chip.shape == (150, 150, 3)
    # The teacher's eyes are where the student's are.
    for (x, y), (u, v) in zip(points[:2], teacher._card.template.points[:2], strict=True):
        seen, there = chip[round(v), round(u)].astype(int), small[round(y), round(x)].astype(int)
        assert np.abs(seen - there).max() < 80


def test_a_student_comes_nearer_to_its_teacher(run, tmp_path):
    settings = {
        "train__teacher": "dlib_resnet", "train__teacher_weight": 20, "train__embedding_size": 128,
        "train__max_steps": 30, "data__synthetic_images": 2, "train__loss": "softmax",
        "train__lr": 0.02,
    }  # fmt: skip
    code, out, err = run(*tiny(tmp_path / "run", **settings))
    assert code == 0, err
    assert json.loads(out)["steps"] == 30
    losses = [line["loss"] for line in log(tmp_path / "run", "train")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


OTHER_SIZE = {"train__teacher": "dlib_resnet", "train__teacher_weight": 5}


def test_a_teacher_of_another_size_teaches_through_a_projection_that_the_model_lacks(run, tmp_path):
    assert run(*tiny(tmp_path / "run", **OTHER_SIZE))[0] == 0
    assert run(*tiny(tmp_path / "plain"))[0] == 0
    assert weights(tmp_path / "run").keys() == weights(tmp_path / "plain").keys()
    card, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert (card.embedding_size, card.training[-23:]) == (16, ", taught by dlib_resnet")
    saved = checkpoint(tmp_path / "run", 4)
    assert saved["projection/weight"].shape == (128, 16)
    assert not torch.equal(saved["projection/weight"], checkpoint(tmp_path / "run", 0)
                           ["projection/weight"])  # fmt: skip


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"train__accumulate": 2, "train__optimizer": "adamw"},
        {"train__head_warmup": 0.3},
        {"train__relation_weight": 2, "train__relation_temperature": 0.1},
    ],
    ids=["plain", "accumulated", "head-first", "relations"],
)
def test_a_resumed_distillation_ends_bit_for_bit_like_one_that_was_never_stopped(
    recipe, run, tmp_path
):
    changes = {**OTHER_SIZE, **recipe, "data__synthetic_people": 6}
    assert run(*tiny(tmp_path / "whole", train__max_steps=6, **changes))[0] == 0
    assert run(*tiny(tmp_path / "parts", train__max_steps=3, **changes))[0] == 0
    assert run(*tiny(tmp_path / "parts", "--resume", train__max_steps=6, **changes))[0] == 0
    whole, parts = checkpoint(tmp_path / "whole", 6), checkpoint(tmp_path / "parts", 6)
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


def test_two_ranks_are_taught_like_one_with_twice_the_batch(run, tmp_path):
    changes = {
        **PLAIN, "train__teacher": tmp_path / "start" / "model.safetensors", "train__max_steps": 2,
        "train__teacher_weight": 3,
    }  # fmt: skip
    assert run(*tiny(tmp_path / "start", train__max_steps=1))[0] == 0
    torchrun(2, tiny(tmp_path / "two", **{**changes, "train__batch": 3}))
    assert run(*tiny(tmp_path / "one", **{**changes, "train__batch": 6}))[0] == 0
    one, two = checkpoint(tmp_path / "one", 2), checkpoint(tmp_path / "two", 2)
    assert "projection/weight" in one
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-6, msg=name)
