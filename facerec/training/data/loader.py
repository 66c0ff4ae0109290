"""Batches in a fixed random order, decoded ahead by threads.

What is in a batch depends on the seed and the step alone, not on how many threads or what came
before, so that a run can go on at any step. Threads suffice: decoding and resizing leave the
interpreter free, and nothing has to be copied between processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from facerec.card import Template
from facerec.errors import InputError, UsageError
from facerec.faces import Image
from facerec.training.data import Examples, Labels
from facerec.training.data.augmentation import Augmentation
from facerec.training.data.fitting import fit
from facerec.training.data.selection import Selection

_AHEAD = 4
_MOST_CORRUPT_IN_A_ROW = 100


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One process's share of one step.

    Attributes:
        step: counted from 0 over the whole run.
        images: `(N, H, W, 3) uint8` RGB.
        labels: `(N,) int64`.
        names: of the images, for messages.
        corrupt: what was wrong with each image that another one stands in for.
    """

    step: int
    images: Image
    labels: Labels
    names: Sequence[str]
    corrupt: Sequence[str]


class Loader:
    """Random batches of selected examples.

    Args:
        template: on which the chips lie.
        size: height and width of the chips.
        batch: images per step of this process.
        rank: this process among `world`.
        world: processes; together they take consecutive images of one order.
        seed: of order and variation.
        workers: threads.
        augmentation: None for the images as they are.
        drop_last: leave out what does not fill the last batch of an epoch; otherwise it is filled
            up from the epoch's beginning.

    Raises:
        UsageError: there are fewer images than one step takes.
    """

    def __init__(
        self, examples: Examples, selection: Selection, *, template: Template,
        size: tuple[int, int], batch: int, rank: int, world: int, seed: int, workers: int,
        augmentation: Augmentation | None, drop_last: bool = True,
    ) -> None:  # fmt: skip
        together = batch * world
        count = len(selection.indices)
        if count < together:
            raise UsageError(f"{count} images, but one step takes {together}; lower train.batch")
        self.steps_per_epoch = count // together if drop_last else -(-count // together)
        self._examples, self._selection = examples, selection
        self._template, self._size = template, size
        self._batch, self._workers = batch, workers
        self._rank, self._together = rank, together
        self._seed, self._augmentation = seed, augmentation
        # An epoch's order is asked for at each of its steps, and takes a while for millions.
        self._known: tuple[int, Labels] | None = None

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Steps `start` to `stop - 1`; leaving the iterator stops the threads."""
        with ThreadPoolExecutor(self._workers) as pool:
            pending: deque[tuple[int, list[Future[_Part]]]] = deque()
            try:
                for step in range(start, stop):
                    pending.append((step, self._submit(pool, step)))
                    if len(pending) > _AHEAD:
                        yield _joined(*pending.popleft())
                while pending:
                    yield _joined(*pending.popleft())
            finally:
                for _, parts in pending:
                    for part in parts:
                        part.cancel()

    def _submit(self, pool: ThreadPoolExecutor, step: int) -> list[Future[_Part]]:
        epoch, rows = self._rows(step)
        return [
            pool.submit(self._load, epoch, part)
            for part in np.array_split(rows, min(self._workers, len(rows)))
        ]

    def _rows(self, step: int) -> tuple[int, Labels]:
        """The epoch, and this process's rows of the selection."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        start = within * self._together + self._rank * self._batch
        return epoch, np.take(order, np.arange(start, start + self._batch), mode="wrap")

    def _order(self, epoch: int) -> Labels:
        if self._known is None or self._known[0] != epoch:
            generator = np.random.default_rng((self._seed, 0, epoch))
            self._known = epoch, generator.permutation(len(self._selection.indices))
        return self._known[1]

    def _load(self, epoch: int, rows: Labels) -> _Part:
        images = np.empty((len(rows), *self._size, 3), np.uint8)
        taken = np.empty(len(rows), np.int64)
        corrupt: list[str] = []
        for place, row in enumerate(rows):
            images[place], taken[place] = self._readable(epoch, int(row), corrupt)
        return _Part(
            images,
            self._selection.labels[taken],
            [self._examples.name(int(self._selection.indices[row])) for row in taken],
            corrupt,
        )

    def _readable(self, epoch: int, row: int, corrupt: list[str]) -> tuple[Image, int]:
        """The row's image, or that of the first row after it that can be read."""
        count = len(self._selection.indices)
        for candidate in range(row, row + min(count, _MOST_CORRUPT_IN_A_ROW)):
            candidate %= count
            try:
                image = self._examples.image(int(self._selection.indices[candidate]))
            except InputError as error:
                corrupt.append(str(error))
                continue
            chip = fit(image, self._template, self._size)
            if self._augmentation is not None:
                generator = np.random.default_rng((self._seed, 1, epoch, candidate))
                chip = self._augmentation.apply(chip, generator)
            return chip, candidate
        raise InputError(f"{corrupt[-1]}; as are the {len(corrupt) - 1} before it")


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    images: Image
    labels: Labels
    names: Sequence[str]
    corrupt: Sequence[str]


def _joined(step: int, futures: list[Future[_Part]]) -> Batch:
    parts = [future.result() for future in futures]
    return Batch(
        step,
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        [name for part in parts for name in part.names],
        [problem for part in parts for problem in part.corrupt],
    )
