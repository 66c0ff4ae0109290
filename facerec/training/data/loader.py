"""Data loader: shuffled, augmented batches, prefetched by threads.

A batch depends on seed and step alone, so a run can resume at any step. Threads suffice: decoding
and resizing release the GIL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from facerec.card import Template
from facerec.errors import InputError, UsageError
from facerec.faces import Image
from facerec.files.text import counted
from facerec.training.data import Examples, Labels
from facerec.training.data.augmentation import Augmentation
from facerec.training.data.fitting import cut, fit
from facerec.training.data.order import balanced, shuffled
from facerec.training.data.selection import Selection

_PREFETCH = 4
_MAX_CORRUPT_IN_A_ROW = 100


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One rank's batch of one step.

    Attributes:
        step: counted from 0.
        images: `(N, H, W, 3) uint8` RGB.
        labels: `(N,) int64`.
        indices: `(N,) int64`, of the images among the examples.
        originals: of each image what the loader's `original` made of it; empty without one.
        names: of the images, for messages.
        corrupt: error of each unreadable image, which another one replaces.
    """

    step: int
    images: Image
    labels: Labels
    indices: Labels
    originals: Sequence[Image | None]
    names: Sequence[str]
    corrupt: Sequence[str]


class Loader:
    """Shuffled batches of selected examples.

    Args:
        template: of the chips.
        size: height and width of the chips.
        batch: images in one forward pass on this rank.
        rank: of this process.
        world: number of ranks; they take consecutive parts of the global batch.
        seed: of order and augmentation.
        workers: threads.
        augmentation: None for none.
        random_crop: cut the chip out of a larger image at a random place; else resize it.
        per_person: None: shuffled images; else people in turn, with that many images each.
        accumulate: forward passes per step.
        original: called with each image's index and the image before it is augmented, of a
            random crop the central one instead, in several threads.
        drop_last: drop an epoch's incomplete batch; otherwise it is filled from its beginning.

    Raises:
        UsageError: there are fewer images than one step takes, or `batch` would divide the images
            of a person.
    """

    def __init__(
        self, examples: Examples, selection: Selection, *, template: Template,
        size: tuple[int, int], batch: int, rank: int, world: int, seed: int, workers: int,
        augmentation: Augmentation | None, drop_last: bool = True, random_crop: bool = False,
        per_person: int | None = None, accumulate: int = 1,
        original: Callable[[int, Image], Image | None] | None = None,
    ) -> None:  # fmt: skip
        per_step = batch * accumulate
        global_batch = per_step * world
        count = len(selection.indices)
        if count < global_batch:
            raise UsageError(
                f"{counted(count, 'image')}, but one step takes {global_batch}; lower train.batch"
            )
        if batch % (per_person or 1):
            raise UsageError(
                f"data.per_person {per_person} does not divide train.batch {batch}, "
                "which would split a person's images"
            )
        self.steps_per_epoch = count // global_batch if drop_last else -(-count // global_batch)
        self._examples, self._selection = examples, selection
        self._template, self._size = template, size
        self._workers = workers
        self._global_batch = global_batch
        self._places = np.arange(rank * per_step, (rank + 1) * per_step)
        self._seed, self._augmentation = seed, augmentation
        self._random_crop, self._per_person = random_crop, per_person
        self._original = original
        # Cached: permuting millions of images takes a while.
        self._cached_order: tuple[int, Labels] | None = None

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Batches of steps `start` to `stop - 1`; closing the generator stops the threads."""
        with ThreadPoolExecutor(self._workers) as pool:
            pending: deque[tuple[int, list[Future[_Part]]]] = deque()
            try:
                for step in range(start, stop):
                    pending.append((step, self._submit(pool, step)))
                    if len(pending) > _PREFETCH:
                        yield _collate(*pending.popleft())
                while pending:
                    yield _collate(*pending.popleft())
            finally:
                for _, parts in pending:
                    for part in parts:
                        part.cancel()

    def _submit(self, pool: ThreadPoolExecutor, step: int) -> list[Future[_Part]]:
        places = self._places
        return [
            pool.submit(self._load, step, self._rows(step, part), part)
            for part in np.array_split(places, min(self._workers, len(places)))
        ]

    def _rows(self, step: int, places: Labels) -> Labels:
        """Rows of the selection at some places of the global batch."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return np.take(self._order(epoch), within * self._global_batch + places, mode="wrap")

    def _order(self, epoch: int) -> Labels:
        if self._cached_order is None or self._cached_order[0] != epoch:
            generator = np.random.default_rng((self._seed, 0, epoch))
            labels = self._selection.labels
            if self._per_person is None:
                order = shuffled(len(labels), generator)
            else:
                order = balanced(labels, self._per_person, generator)
            self._cached_order = epoch, order
        return self._cached_order[1]

    def _load(self, step: int, rows: Labels, places: Labels) -> _Part:
        images = np.empty((len(rows), *self._size, 3), np.uint8)
        taken = np.empty(len(rows), np.int64)
        originals: list[Image | None] = []
        corrupt: list[str] = []
        for number, (row, place) in enumerate(zip(rows, places, strict=True)):
            image, taken[number] = self._read_or_replace(int(row), corrupt)
            generator = self._generator(step, int(taken[number]), int(place))
            images[number] = self._chip(image, generator)
            if self._original is not None:
                if self._random_crop:
                    image = cut(image, self._size, None)
                index = int(self._selection.indices[taken[number]])
                originals.append(self._original(index, image))
        indices = self._selection.indices[taken]
        names = [self._examples.name(int(index)) for index in indices]
        return _Part(images, self._selection.labels[taken], indices, originals, names, corrupt)

    def _chip(self, image: Image, generator: np.random.Generator) -> Image:
        """What the network sees of an image: cropped or resized, and augmented."""
        if self._random_crop:
            image = cut(image, self._size, generator)
        chip = fit(image, self._template, self._size)
        return chip if self._augmentation is None else self._augmentation.apply(chip, generator)

    def _generator(self, step: int, row: int, place: int) -> np.random.Generator:
        """Of an image's augmentation in this epoch."""
        # People in turn: an image may come several times an epoch, and a step, changed anew.
        again = () if self._per_person is None else (step, place)
        return np.random.default_rng((self._seed, 1, step // self.steps_per_epoch, row, *again))

    def _read_or_replace(self, row: int, corrupt: list[str]) -> tuple[Image, int]:
        """The row's image, or the next readable one, and its row."""
        count = len(self._selection.indices)
        for candidate in range(row, row + min(count, _MAX_CORRUPT_IN_A_ROW)):
            candidate %= count
            try:
                return self._examples.image(int(self._selection.indices[candidate])), candidate
            except InputError as error:
                corrupt.append(str(error))
        raise InputError(f"{corrupt[-1]}; as are the {len(corrupt) - 1} before it")


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    images: Image
    labels: Labels
    indices: Labels
    originals: list[Image | None]
    names: Sequence[str]
    corrupt: Sequence[str]


def _collate(step: int, futures: list[Future[_Part]]) -> Batch:
    parts = [future.result() for future in futures]
    return Batch(
        step,
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.indices for part in parts]),
        [original for part in parts for original in part.originals],
        [name for part in parts for name in part.names],
        [problem for part in parts for problem in part.corrupt],
    )
