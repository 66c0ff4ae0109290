"""Progress callbacks, the log of JSON lines, TensorBoard, and stopping on Ctrl-C or SIGTERM."""

from __future__ import annotations

import io
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from torch import nn

from facerec.evaluation.curve import ScoreCurve
from facerec.evaluation.scalars import numbers_of, open_writer
from facerec.faces import Floats, Image
from facerec.files.text import to_json
from facerec.training.run_folder import LOG, TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_BATCH_IMAGES = 16
_WINDOW = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """One step.

    Attributes:
        step: steps done, this one included.
        epoch: epochs done, as a fraction.
        loss: of the step.
        accuracy: share of faces nearest to their own class, without the margin.
        rate: learning rate.
        images: in the batch, over all ranks.
        seconds: duration, waiting for data included.
        waited: seconds spent waiting for data.
    """

    step: int
    epoch: float
    loss: float
    accuracy: float
    rate: float
    images: int
    seconds: float
    waited: float


def _ignore(*_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Progress callbacks; no-ops off rank 0.

    Attributes:
        on_start: called with the first step, the number of steps, of people and of images.
        on_step: called after each step, with images per second and the share of time spent waiting
            for data, both over the last steps.
        on_message: called with messages for the user.
        evaluating: entered while an evaluation runs, with a description.
        on_folder: called with the run's folder, before anything is opened.
    """

    on_start: Callable[[int, int, int, int], None] = _ignore
    on_step: Callable[[Progress, float, float], None] = _ignore
    on_message: Callable[[str], None] = _ignore
    evaluating: Callable[[str], AbstractContextManager[object]] = nullcontext
    on_folder: Callable[[Path], None] = _ignore


class Throughput:
    """Images per second over the last steps."""

    def __init__(self) -> None:
        self._steps: deque[Progress] = deque(maxlen=_WINDOW)

    def add(self, progress: Progress) -> tuple[float, float]:
        """Images per second over all ranks, and the share of time spent waiting for data."""
        self._steps.append(progress)
        seconds = max(sum(step.seconds for step in self._steps), 1e-9)
        images = sum(step.images for step in self._steps)
        return images / seconds, sum(step.waited for step in self._steps) / seconds


class RunLog:
    """The run's `log.jsonl` and TensorBoard files; a context manager.

    One that cannot be written any more, as on a full disk, is told of once and given up: the run
    goes on.

    Args:
        folder: of the run; None writes nothing (off rank 0).
        tell: called with a message about a log that is given up.
    """

    def __init__(self, folder: Path | None, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._lines: TextIO | None = None
        self._board: SummaryWriter | None = None

    def __enter__(self) -> RunLog:
        if self._folder is not None:
            with self._lines_if_writable():
                self._lines = (self._folder / LOG).open("a", encoding="utf-8")
            with self._board_if_writable():
                self._board = open_writer(self._folder / TENSORBOARD)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lines is not None:
            with self._lines_if_writable():
                self._lines.close()
        if self._board is not None:
            with self._board_if_writable():
                self._board.close()

    @contextmanager
    def _lines_if_writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            lines, self._lines = self._lines, None
            self._give_up(LOG, lines, error)

    @contextmanager
    def _board_if_writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            board, self._board = self._board, None
            self._give_up(TENSORBOARD, board, error)

    def _give_up(self, name: str, log: TextIO | SummaryWriter | None, error: OSError) -> None:
        assert self._folder is not None
        if log is not None:
            # It tries to write again what it could not.
            with suppress(OSError):
                log.close()
        reason = error.strerror or error
        self._tell(
            f"{self._folder / name}: cannot be written: {reason}; the run goes on without this log"
        )

    def event(self, kind: str, step: int, **facts: Any) -> None:
        """Append a line to the log; numbers also become TensorBoard scalars, `KIND/NAME`."""
        if self._lines is not None:
            with self._lines_if_writable():
                self._lines.write(to_json({"event": kind, "step": step, **facts}) + "\n")
                self._lines.flush()
        if self._board is not None:
            with self._board_if_writable():
                for name, value in numbers_of(facts):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def show_batch(self, step: int, images: Image) -> None:
        """Write the first images of an augmented batch `(N, H, W, 3) uint8` to TensorBoard."""
        if self._board is not None:
            with self._board_if_writable():
                self._board.add_images("batch", images[:_BATCH_IMAGES], step, dataformats="NHWC")

    def show_embeddings(
        self, step: int, vectors: Floats, people: Sequence[str], images: Image
    ) -> None:
        """Write embeddings `(N, D)` with names and chips, for TensorBoard's projector."""
        if self._board is not None:
            import torch

            chips = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
            # TensorBoard prints where a resumed run writes the same step again; stdout is for JSON.
            with self._board_if_writable(), redirect_stdout(io.StringIO()):
                self._board.add_embedding(
                    torch.from_numpy(vectors), list(people), chips, global_step=step
                )

    def show_roc(self, step: int, curve: ScoreCurve) -> None:
        """Draw a ROC into TensorBoard."""
        if self._board is not None:
            from facerec.evaluation.report.charts import roc_picture

            picture = roc_picture(curve)
            with self._board_if_writable():
                self._board.add_image("roc", picture, step, dataformats="HWC")

    def show_weights(self, step: int, network: nn.Module) -> None:
        """Write histograms of all weights, and of the gradients of those that have one."""
        if self._board is None:
            return
        with self._board_if_writable():
            for name, parameter in network.named_parameters():
                self._board.add_histogram(f"weights/{name}", parameter.detach().float(), step)
                if parameter.grad is not None and parameter.grad.isfinite().all():
                    self._board.add_histogram(f"gradients/{name}", parameter.grad.float(), step)


class StopRequest:
    """Context manager: the first Ctrl-C or SIGTERM sets `requested`, a second one interrupts."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        # Python allows signal handlers to be set in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
