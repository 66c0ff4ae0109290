"""Balanced order, random crops, several training sets."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.training.data.concatenated import Concatenated
from facerec.training.data.fitting import cut
from facerec.training.data.order import balanced
from facerec.training.data.synthetic import Synthetic

LABELS = np.repeat([0, 1, 2, 3], [1, 3, 40, 16])


@pytest.mark.parametrize("per_person", [1, 4])
def test_everybody_comes_equally_often(per_person):
    rows = balanced(LABELS, per_person, np.random.default_rng(0))
    counts = np.bincount(LABELS[rows])
    assert len(rows) == len(LABELS)
    assert counts.max() - counts.min() <= per_person
    # Images of a person come again only when all have come.
    seen = np.bincount(rows, minlength=len(LABELS))
    for label in range(4):
        assert np.ptp(seen[label == LABELS]) <= 1
    groups = LABELS[rows].reshape(-1, per_person)
    assert (groups == groups[:, :1]).all()


def test_each_epoch_has_another_balanced_order():
    orders = [balanced(LABELS, 2, np.random.default_rng(epoch)) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_a_crop_is_a_part_of_the_larger_image_and_validations_is_the_centre():
    image = np.arange(128 * 128 * 3, dtype=np.uint32).reshape(128, 128, 3)
    assert np.array_equal(cut(image, (112, 112), None), image[8:120, 8:120])
    generator = np.random.default_rng(0)
    corners = {tuple(cut(image, (112, 112), generator)[0, 0]) for _ in range(50)}
    assert len(corners) > 40
    small = image[:100, :100]
    assert cut(small, (112, 112), generator) is small


def test_people_of_two_sets_are_two_people():
    first, second = (Synthetic(3, 2, 8, 8, seed) for seed in (0, 1))
    second.people[2] = "somebody"
    both = Concatenated([first, second], ["a", "b"])
    assert both.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert both.people[:2] == ["a/synthetic-0", "a/synthetic-1"]
    assert both.people[2:] == ["synthetic-2", "b/synthetic-0", "b/synthetic-1", "somebody"]
    assert np.array_equal(both.image(5), first.image(5))
    assert np.array_equal(both.image(6), second.image(0))
    assert both.name(11) == second.name(5)
