"""What one can see of a run: a log of JSON lines, and TensorBoard."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from facerec.evaluation.scalars import numbers_of, open_writer
from facerec.faces import Floats, Image
from facerec.training.run_folder import LOG, TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from facerec.training.trainer import Progress

_PICTURES = 16
_WINDOW = 20


class Pace:
    """How fast the last steps were."""

    def __init__(self) -> None:
        self._steps: deque[Progress] = deque(maxlen=_WINDOW)

    def add(self, progress: Progress) -> tuple[float, float]:
        """Images per second over all processes, and the share of time spent waiting for data."""
        self._steps.append(progress)
        seconds = max(sum(step.seconds for step in self._steps), 1e-9)
        images = sum(step.images for step in self._steps)
        return images / seconds, sum(step.waited for step in self._steps) / seconds


class Watcher:
    """Writes what happens into a run's folder; used as a context.

    Args:
        folder: the run's; None on processes that keep silent.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._board: SummaryWriter | None = None

    def __enter__(self) -> Watcher:
        if self._folder is not None:
            self._log = (self._folder / LOG).open("a", encoding="utf-8")
            self._board = open_writer(self._folder / TENSORBOARD)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._board.close()
            self._log.close()

    def event(self, kind: str, step: int, **facts: Any) -> None:
        """One line of the log; numbers among the facts also become scalars, `KIND/NAME`."""
        if self._board is None:
            return
        line = json.dumps({"event": kind, "step": step, **facts}, ensure_ascii=False)
        self._log.write(line + "\n")
        self._log.flush()
        for name, value in numbers_of(facts):
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def show_batch(self, step: int, images: Image) -> None:
        """Some of a batch `(N, H, W, 3) uint8` as it reaches the network."""
        if self._board is not None:
            self._board.add_images("batch", images[:_PICTURES], step, dataformats="NHWC")

    def show_embeddings(
        self, step: int, vectors: Floats, people: Sequence[str], images: Image
    ) -> None:
        """Vectors `(N, D)` with their people and chips, for TensorBoard's projector."""
        if self._board is not None:
            import torch

            pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
            self._board.add_embedding(
                torch.from_numpy(vectors), list(people), pictures, global_step=step
            )
