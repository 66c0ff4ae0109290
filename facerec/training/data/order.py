"""The order of an epoch: shuffled images, or people in turn."""

from __future__ import annotations

import numpy as np

from facerec.training.data import Labels


def shuffled(count: int, generator: np.random.Generator) -> Labels:
    """Rows `(count,) int64`, each once."""
    return generator.permutation(count)


def balanced(labels: Labels, per_person: int, generator: np.random.Generator) -> Labels:
    """As many rows as there are labels, with everybody equally often.

    The people take turns in an order that is shuffled anew each round; each gives their next
    `per_person` images, which stand together, and begins again after their last.

    Args:
        labels: `(N,) int64`.

    Returns:
        `(N,) int64`, or some more to complete the last person's images.
    """
    mixed = generator.permutation(len(labels))
    mixed = mixed[np.argsort(labels[mixed], kind="stable")]
    people, counts = np.unique(labels, return_counts=True)
    starts = np.cumsum(counts) - counts
    turns = -(-len(labels) // per_person)
    rounds = -(-turns // len(people))
    turn = np.concatenate([generator.permutation(len(people)) for _ in range(rounds)])[:turns]
    done = np.arange(turns) // len(people) * per_person
    steps = (done[:, None] + np.arange(per_person)) % counts[turn, None]
    rows: Labels = mixed[starts[turn, None] + steps].reshape(-1)
    return rows
