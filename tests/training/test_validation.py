"""Validation on the way: what its accuracy means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerec.models.embedder import TorchEmbedder
from facerec.models.factory import create_network
from facerec.training.validation import validate, whole_people
from tests.conftest import make_card, noise


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_network_knows_nobody_and_scores_a_half(seed):
    torch.manual_seed(seed)
    card = make_card(16, architecture="test_ir", input_height=32, input_width=32)
    embedder = TorchEmbedder(create_network(card).eval(), card, device="cpu", batch=64)
    # Pixels that say nothing of who it is: 40 people with 6 images each.
    chips = np.stack([noise(32, 32, 1000 * seed + number) for number in range(240)])
    found = validate(embedder.embed(chips), np.repeat(np.arange(40), 6))
    assert found.accuracy == pytest.approx(50, abs=5)
    assert found.auc == pytest.approx(50, abs=5)
    assert found.tar["1e-2"] < 5


def test_vectors_that_tell_people_apart_score_a_hundred():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 4)
    people = unit(generator.normal(size=(12, 16)))
    vectors = unit(people[labels] + 0.01 * generator.normal(size=(48, 16)))
    found = validate(vectors, labels)
    assert (found.accuracy, found.auc) == (100, 100)
    assert found.record()["tar_at_far"]["1e-2"] == 100


def test_the_threshold_of_a_fold_is_chosen_on_the_others():
    # Ten genuine pairs as alike as ten impostor pairs: a threshold chosen on the pairs it decides
    # would be right more often than not.
    generator = np.random.default_rng(1)
    figures = [
        validate(unit(generator.normal(size=(20, 8))), np.arange(20) // 2).accuracy
        for _ in range(60)
    ]
    assert np.mean(figures) == pytest.approx(50, abs=5)


def test_pairs_of_one_kind_have_no_figures():
    vectors = unit(np.random.default_rng(0).normal(size=(3, 8)))
    assert validate(vectors, np.zeros(3, np.int64)) is None
    assert validate(vectors, np.arange(3)) is None
    assert validate(vectors, np.array([0, 0, 1])).accuracy is None


def test_of_many_people_some_are_compared_with_all_their_images():
    labels = np.repeat(np.arange(5000), 2)
    rows = whole_people(labels, 4000)
    people, counts = np.unique(labels[rows], return_counts=True)
    assert (len(rows), counts.min()) == (4000, 2)
    # From the first to the last, the same ones each time.
    assert people.mean() == pytest.approx(2500, abs=100)
    assert np.array_equal(rows, whole_people(labels, 4000))


def test_people_with_one_image_come_last():
    labels = np.concatenate((np.arange(5000), np.repeat(np.arange(5000, 5100), 3)))
    counts = np.bincount(labels[whole_people(labels, 400)], minlength=5100)
    assert (counts[5000:] == 3).all()
    assert counts[:5000].sum() == 100


def test_nobodys_many_images_leave_no_room_for_others():
    labels = np.repeat(np.arange(100), [50_000, *[20] * 99])
    counts = np.bincount(labels[whole_people(labels, 4000)])
    assert (counts[0], *counts[1:]) == (40, *[20] * 99)
    two = np.repeat([0, 1], 10_000)
    assert np.bincount(two[whole_people(two, 4000)]).tolist() == [2000, 2000]


def test_few_images_are_all_compared():
    assert whole_people(np.arange(7), 7).tolist() == list(range(7))
