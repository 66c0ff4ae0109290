"""What happens beside a step: interruption, TensorBoard and log, in-training evaluation.

Evaluation runs `facerec evaluate` in a child process: any protocol can be asked for, its memory is
freed when it ends, and no failure there can harm the run.
"""

from __future__ import annotations

import json
import signal
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from facerec.evaluation.scalars import numbers_of, open_writer
from facerec.faces import Floats, Image
from facerec.training.run_folder import LOG, TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from facerec.training.trainer import Progress

import shlex
import subprocess
import sys

from facerec.errors import FacerecError


class StopRequest:
    """While used as a context, the first Ctrl-C or SIGTERM only sets `asked`; a second Ctrl-C
    interrupts as ever."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        # Only the main thread may change what signals do.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


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


_HEADLINES = ("accuracy", "rank_1")


class MeasuringError(FacerecError):
    """An evaluation gave no figures; training goes on."""


def measure(arguments: str, model: Path, *, calibrate: bool = False) -> dict[str, Any]:
    """The record that `facerec evaluate ARGUMENTS` prints for a model file.

    Args:
        calibrate: also write thresholds into the model file.

    Raises:
        MeasuringError: it failed; with its own last line.
    """
    command = [
        sys.executable, "-m", "facerec", "evaluate", *shlex.split(arguments),
        "--model", str(model), "--no-cache", "--json",
        *(["--calibrate", str(model)] if calibrate else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MeasuringError(f"evaluate {arguments}: {error}") from error
    if done.returncode not in (0, 3):
        told = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise MeasuringError(f"evaluate {arguments}: {told.removeprefix('facerec: ')}")
    try:
        record: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    except (IndexError, ValueError) as error:
        raise MeasuringError(f"evaluate {arguments}: printed no figures") from error
    return record


def headline(record: dict[str, Any]) -> float | None:
    """The figure by which models are told apart, percent."""
    return next((float(record[key]) for key in _HEADLINES if record.get(key) is not None), None)
