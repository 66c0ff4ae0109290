"""`facerec train`: train a model by a profile's recipe."""

from __future__ import annotations

import dataclasses
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.board import PORT, start_board
from facerec.cli.console import Results, can_draw, say, waiting
from facerec.cli.help import INPUT, OUTPUT, App
from facerec.cli.options import (
    PERSON_LEVEL,
    TRAINING_DATA,
    WORKERS,
    Json,
    ProfileOptions,
    option,
    profile_options,
)
from facerec.files.writing import check_output_folder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    from facerec.training.callbacks import Progress

app = App()

_PROFILE = "profile.yaml"


@app.command(
    examples=[
        "facerec train --profile ir50_arcface --data webface.rec --out runs/first",
        "facerec train --out runs/first --resume",
    ]
)
@profile_options(TRAINING_DATA, PERSON_LEVEL, WORKERS)
def train(
    out: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            panel=OUTPUT,
            metavar="DIR",
            help="The run's folder.",
            default="runs/PROFILE-TIME",
        ),
    ] = None,
    resume: Annotated[
        bool, option("--resume", panel=INPUT, help="Go on from --out's newest checkpoint.")
    ] = False,
    find_lr: Annotated[
        bool,
        option(
            "--find-lr",
            panel=OUTPUT,
            help="Do not train, but raise the learning rate over 100 steps, draw the loss and say "
            "where it falls fastest.",
        ),
    ] = False,
    finish: Annotated[
        bool,
        option(
            "--finish",
            panel=INPUT,
            help="With --resume: train no further, but make the model of that checkpoint.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        option(
            "--tensorboard",
            panel=OUTPUT,
            help=f"Also start TensorBoard, on port {PORT} or the next free one.",
        ),
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Train a model by a profile's recipe.

    The run's folder holds model.safetensors with its card, best.safetensors, checkpoints, the
    resolved profile, a log of JSON lines, and TensorBoard's files. --resume without --profile takes
    the run's own. Under torchrun the same command trains on many ranks and machines.
    """
    if finish and not resume:
        raise typer.BadParameter("--finish needs --resume: it makes a model of a run's checkpoint")
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out, the folder of the run to go on with")
    if find_lr and resume:
        raise typer.BadParameter("--find-lr starts anew: leave out --resume")
    name = Path(profile.name).stem
    if out is not None and resume and name == "default" and (out / _PROFILE).is_file():
        profile, name = dataclasses.replace(profile, name=str(out / _PROFILE)), out.resolve().name
    loaded = profile.load()
    check_output_folder(out or Path("runs"))
    with waiting("loading PyTorch"):
        from facerec.training.callbacks import Callbacks
        from facerec.training.run import find_rate, train

    display = _Display(tensorboard=tensorboard)
    with display:
        callbacks = Callbacks(
            display.begin, display.step, display.say, display.evaluating, display.open
        )
        if find_lr:
            curve, picture = find_rate(loaded, name, out, callbacks)
            if display.began:
                _tell_rate(curve.suggestion, len(curve.rates), picture, as_json)
            return
        result = train(loaded, name, out, callbacks, resume=resume, finish=finish)
    if not display.began:
        # Not rank 0.
        return
    results = Results("model", "steps", "people", "images", "best", as_json=as_json)
    best = "" if result.best is None else f"{result.best:.2f}"
    results.add(
        {
            "model": str(result.model),
            "steps": result.step,
            "people": result.classes,
            "images": result.images,
            "best": result.best,
            "calibrated": result.calibrated,
            "corrupt": result.corrupt,
        },
        (str(result.model), str(result.step), str(result.classes), str(result.images), best),
    )
    folder = result.model.parent
    results.close(title=str(folder))
    say(f"saved the model, checkpoints and log in {folder}/")
    if not result.calibrated:
        say(
            f"{result.model}: has no thresholds yet; "
            f"facerec evaluate … --model {result.model} --calibrate {result.model}"
        )


def _tell_rate(rate: float | None, steps: int, picture: Path, as_json: bool | None) -> None:
    results = Results("learning rate", "steps", "curve", as_json=as_json)
    results.add(
        {"learning_rate": rate, "steps": steps, "curve": str(picture)},
        ("" if rate is None else f"{rate:.2g}", str(steps), str(picture)),
    )
    results.close()
    if rate is None:
        say("the loss fell at no learning rate")
    else:
        say(f"the loss falls fastest at {rate:.2g}; try --set train.lr={rate:.2g}")


class _Display:
    """Progress on stderr: a live line on a terminal, otherwise a plain one every 30 seconds.

    Args:
        tensorboard: show the run there too, while this is entered.
    """

    def __init__(self, *, tensorboard: bool) -> None:
        self.began = False
        self._tensorboard = tensorboard
        self._board: subprocess.Popen[bytes] | None = None
        self._bar: Bar | None = None
        self._said = 0.0

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.terminate()
            self._board.wait()

    def open(self, folder: Path) -> None:
        """The run's folder is decided, by rank 0 alone."""
        if self._tensorboard:
            self._board = start_board(["--logdir", str(folder)])

    def begin(self, start: int, total: int, people: int, images: int) -> None:
        self.began = True
        say(f"{images} images of {people} people, steps {start} to {total}")
        if not can_draw():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            _clock_column(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("training", total=total, completed=start, figures="")
        self._bar.start()

    def step(self, progress: Progress, images_per_second: float, waiting: float) -> None:
        figures = (
            f"loss {progress.loss:.3f}, accuracy {100 * progress.accuracy:.1f} %, "
            f"lr {progress.rate:.2g}, {images_per_second:.0f} img/s, "
            f"waiting {100 * waiting:.0f} %"
        )
        if self._bar is not None:
            total = self._bar.tasks[self._task].total or 0
            figures = f"{progress.step}/{total:.0f} {figures}"
            self._bar.update(self._task, completed=progress.step, figures=figures)
        elif time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            say(f"step {progress.step} (epoch {progress.epoch:.2f}): {figures}")

    @contextmanager
    def evaluating(self, description: str) -> Iterator[None]:
        """Show that an evaluation runs, and on a terminal for how long."""
        if self._bar is None:
            say(description)
            yield
            return
        task = self._bar.add_task(description, total=None, figures="")
        try:
            yield
        finally:
            self._bar.remove_task(task)

    def say(self, message: str) -> None:
        if self._bar is None:
            say(message)
        else:
            self._bar.console.print(
                f"facerec: {message}", markup=False, highlight=False, emoji=False
            )


def _clock_column() -> ProgressColumn:
    """Time remaining; of a task without a total, time elapsed."""
    from rich.progress import ProgressColumn, TimeElapsedColumn, TimeRemainingColumn

    class Clock(ProgressColumn):
        def render(self, task: Task) -> Text:
            column = TimeElapsedColumn() if task.total is None else TimeRemainingColumn()
            return column.render(task)

    return Clock()
