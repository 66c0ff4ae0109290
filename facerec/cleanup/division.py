"""Folders of several people, divided along their dendrograms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.comparison import gaps_apart
from facerec.cleanup.groups import Groups, Rows, Scale
from facerec.cleanup.linkage import Tree
from facerec.faces import Floats
from facerec.parallel.ranks import map_sharded

DIFFERENT = 0.35
"""Two parts of one folder this far apart are two people. The two main branches of the same LFW
folders reach 0.29."""
SMALLEST_PART = 3


def divide_folders(
    embeddings: Floats, rows_of: list[Rows], trees: Sequence[Tree],
    trusted: NDArray[np.bool_], scale: Scale,
) -> tuple[Rows, Rows]:  # fmt: skip
    """`part` and `folder` of `Judgement`."""

    def divide_folder(number: int) -> Rows:
        rows = rows_of[number]
        if len(rows) < 2 * SMALLEST_PART:
            return np.zeros(len(rows), np.intp)
        return divide(embeddings[rows], trees[number], trusted[rows], scale)

    part = np.empty(len(trusted), np.intp)
    folder: list[int] = list(range(len(trees)))
    for number, local in enumerate(map_sharded(range(len(trees)), divide_folder)):
        largest_first = np.argsort(-np.bincount(local), kind="stable")
        names = np.empty(len(largest_first), np.intp)
        names[largest_first] = [number, *range(len(folder), len(folder) + len(names) - 1)]
        folder.extend([number] * (len(names) - 1))
        part[rows_of[number]] = names[local]
    return part, np.array(folder)


def divide(embeddings: Floats, tree: Tree, trusted: NDArray[np.bool_], scale: Scale) -> Rows:
    """Divide a folder of several people: `(n,)` labels from 0.

    Descends from the dendrogram's root, past branches of one or two images and of images that are
    unlike each other (strays, not a person). The folder is divided at the first other branch if
    its sides are `DIFFERENT`.

    Args:
        embeddings: `(n, D) float32` unit vectors.
        tree: their dendrogram.
        trusted: `(n,) bool` mask of images judged right.
    """
    count = len(embeddings)
    sums = np.zeros((2 * count - 1, embeddings.shape[1]), np.float32)
    sizes = np.zeros(2 * count - 1, np.int64)
    sums[:count], sizes[:count] = embeddings * trusted[:, None], trusted
    children = tree[:, :2].astype(np.intp)
    for node, (one, two) in enumerate(children, start=count):
        sums[node] = sums[one] + sums[two]
        sizes[node] = sizes[one] + sizes[two]
    groups = Groups(sums, sizes)
    within, means = groups.within(), groups.means()
    label = np.zeros(2 * count - 1, np.intp)
    parts = 1
    waiting = [2 * count - 2]
    while waiting:
        node = waiting.pop()
        if node < count:
            continue
        one, two = children[node - count]
        if sizes[one] < sizes[two]:
            one, two = two, one
        if sizes[two] < SMALLEST_PART or scale.genuine - within[two] > DIFFERENT * scale.gap:
            waiting.append(int(one))
            continue
        cross = means[one] @ means[two]
        if gaps_apart(cross, within[one], within[two], scale) >= DIFFERENT:
            label[two] = parts
            parts += 1
            waiting += [int(one), int(two)]
    for node in range(2 * count - 2, count - 1, -1):
        for child in children[node - count]:
            label[child] = label[child] or label[node]
    return label[:count]
