"""A whole run: data, network, loop, measurements on the way, and the model at its end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facerec.card import Calibration, ModelCard
from facerec.errors import InputError, UsageError
from facerec.evaluation.folds import pair_similarities
from facerec.evaluation.thresholds import calibrate, with_calibration
from facerec.evaluation.verification import verify_scores
from facerec.faces import Image
from facerec.files import replacing
from facerec.models.embedder import TorchEmbedder
from facerec.parallel.ranks import barrier, process_group, rank, world_size
from facerec.profile.loading import Profile
from facerec.profile.schema import DataSection
from facerec.training import run_folder
from facerec.training.artefact import write_artefact
from facerec.training.checkpoint import list_checkpoints, load_checkpoint
from facerec.training.data import Examples
from facerec.training.data.augmentation import Augmentation
from facerec.training.data.fitting import fit
from facerec.training.data.loader import Batch, Loader
from facerec.training.data.opening import open_examples
from facerec.training.data.selection import Selection, select, split
from facerec.training.data.synthetic import Synthetic
from facerec.training.measuring import MeasuringError, headline, measure
from facerec.training.network import create_backbone
from facerec.training.trainer import Progress, Trainer, snapshot
from facerec.training.watching import Pace, Watcher

_MOST_VALIDATED = 4000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        model: the file of the model.
        step: how many were done.
        classes: people trained on.
        images: of them.
        best: the best headline figure on the way, percent; None without measurements.
        calibrated: whether the model's card has thresholds.
        corrupt: images that could not be read, each time they were wanted.
    """

    model: Path
    step: int
    classes: int
    images: int
    best: float | None
    calibrated: bool
    corrupt: int


@dataclass(frozen=True, slots=True)
class Observer:
    """Where a run's news go; silent on every process but the first.

    Attributes:
        began: called with the step that training starts from, how many there will be, and the
            number of people and images.
        stepped: called after each step, with images per second and the share of time spent waiting
            for data over the last steps.
        tell: called with messages.
    """

    began: Callable[[int, int, int, int], None]
    stepped: Callable[[Progress, float, float], None]
    tell: Callable[[str], None]


def train(profile: Profile, name: str, folder: Path, observer: Observer, *, resume: bool) -> Ended:
    """Run a profile's recipe.

    Args:
        name: of the model.
        folder: the run's.
        observer: told what happens.
        resume: go on from the folder's newest checkpoint.

    Raises:
        UsageError: the folder, the data or the profile does not allow it.
        MissingError: data, network or device is missing, or a checkpoint does not fit.
        InputError: the data cannot be read, or the loss keeps failing to be finite.
    """
    with process_group(profile.runtime.device) as device:
        if profile.runtime.threads:
            torch.set_num_threads(profile.runtime.threads)
        first = rank() == 0
        if first:
            run_folder.require_free(folder, profile, resume=resume)
        barrier()
        watcher = Watcher(folder if first else None)
        run = _Run(profile, name, folder, device, observer if first else _silent(), watcher)
        # Not before the data is open: a wrong path must not leave a folder that bars the next try.
        if first and not resume:
            run_folder.describe(folder, profile)
        barrier()
        with watcher:
            return run.go(resume=resume)


class _Run:
    def __init__(
        self, profile: Profile, name: str, folder: Path, device: torch.device,
        observer: Observer, watcher: Watcher,
    ) -> None:  # fmt: skip
        self._profile, self._folder, self._device = profile, folder, device
        self._observer, self._watcher = observer, watcher
        section, data = profile.train, profile.data
        backbone, self._card = create_backbone(section, name)
        self._examples = _open(data, self._card, section.seed)
        selection = select(
            self._examples, people=_read_people(data.people), min_images=data.min_images
        )
        self._training, self._validation = split(selection, data.validation, section.seed)
        loader = Loader(
            self._examples, self._training,
            template=self._card.template,
            size=(self._card.input_height, self._card.input_width),
            batch=section.batch * section.accumulate,
            rank=rank(), world=world_size(), seed=section.seed, workers=profile.runtime.workers,
            augmentation=Augmentation(
                data.flip, data.zoom, data.crop, data.low_resolution, data.photometric
            ),
            drop_last=data.drop_last,
        )  # fmt: skip
        backbone = backbone.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._trainer = Trainer(
            backbone, self._card, len(selection.people), section, loader, device,
            folder / run_folder.CHECKPOINTS,
        )  # fmt: skip
        self._measure_steps = max(1, round(section.evaluate_every * loader.steps_per_epoch))
        self._best: float | None = None
        self._pace = Pace()

    def go(self, *, resume: bool) -> Ended:
        trainer = self._trainer
        checkpoints = list_checkpoints(self._folder / run_folder.CHECKPOINTS)
        if resume and checkpoints:
            load_checkpoint(checkpoints[-1], trainer.state)
            self._best = _read_best(self._folder / _BEST_FIGURE)
        images, classes = len(self._training.indices), len(self._training.people)
        self._observer.began(trainer.state.step, trainer.total_steps, classes, images)
        self._watcher.event("began", trainer.state.step, people=classes, images=images)
        trainer.run(self._report, self._tell, self._after_step)
        calibrated = self._finish() if rank() == 0 else False
        barrier()
        return Ended(
            self._folder / run_folder.MODEL, trainer.state.step, classes, images, self._best,
            calibrated, trainer.corrupt,
        )  # fmt: skip

    def _report(self, progress: Progress) -> None:
        images_per_second, waiting = self._pace.add(progress)
        self._observer.stepped(progress, images_per_second, waiting)
        if progress.step % self._profile.train.log_every == 0:
            facts = {
                "epoch": round(progress.epoch, 4),
                "loss": progress.loss,
                "accuracy": progress.accuracy,
                "learning_rate": progress.rate,
                "images_per_second": round(images_per_second, 2),
                "waiting": round(waiting, 4),
            }
            self._watcher.event("train", progress.step, **facts)

    def _tell(self, message: str) -> None:
        self._observer.tell(message)
        self._watcher.event("note", self._trainer.state.step, message=message)

    def _after_step(self, step: int, batch: Batch) -> None:
        if step == 1:
            self._watcher.show_batch(step, batch.images)
        at_end = step >= self._trainer.total_steps
        if step % self._measure_steps == 0 and not at_end:
            if rank() == 0:
                self._measure(step)
            barrier()

    def _measure(self, step: int) -> None:
        """Validate, and evaluate a copy of the network as it is."""
        network = snapshot(self._trainer.trained)
        self._validate(step, network)
        if self._profile.train.evaluate:
            candidate = self._folder / run_folder.MODEL
            write_artefact(candidate, network, self._card, self._training_prose(step))
            self._evaluate(step, candidate, calibrate=False)

    def _evaluate(self, step: int, model: Path, *, calibrate: bool) -> bool:
        """Run the profile's evaluations on a model file; whether the first one gave figures.

        Args:
            calibrate: the first one also writes thresholds into the file.
        """
        measured = False
        for number, command in enumerate(self._profile.train.evaluate):
            try:
                record = measure(command, model, calibrate=calibrate and number == 0)
            except MeasuringError as error:
                self._tell(str(error))
                continue
            self._watcher.event("evaluate", step, **{command.split()[0]: record})
            figure = headline(record)
            self._observer.tell(f"step {step}: {command.split()[0]} {figure}")
            if number == 0:
                measured = True
                if figure is not None and figure > (self._best or -1):
                    self._keep_as_best(model, figure)
        return measured

    def _keep_as_best(self, candidate: Path, figure: float) -> None:
        self._best = figure
        with replacing(self._folder / run_folder.BEST) as temporary:
            shutil.copyfile(candidate, temporary)
        with replacing(self._folder / _BEST_FIGURE) as temporary:
            temporary.write_text(f"{figure}\n", encoding="ascii")

    def _finish(self) -> bool:
        """Write the model, measure it, calibrate it; whether that gave thresholds."""
        step = self._trainer.state.step
        network = snapshot(self._trainer.trained)
        model = self._folder / run_folder.MODEL
        card = write_artefact(model, network, self._card, self._training_prose(step))
        self._show_embeddings(step, network)
        calibration = self._validate(step, network)
        if self._profile.train.evaluate:
            return self._evaluate(step, model, calibrate=True)
        if calibration is None:
            return False
        write_artefact(
            model, network, with_calibration(card, calibration), self._training_prose(step)
        )
        return True

    def _validate(self, step: int, network: nn.Module) -> Calibration | None:
        """Similarities within the validation images, and thresholds read off them."""
        if len(self._validation.indices) < 2:
            return None
        chips, labels = _read_chips(self._examples, self._validation, self._card, _MOST_VALIDATED)
        vectors = self._embedder(network).embed(chips)
        left, right = np.triu_indices(len(labels), 1)
        same = labels[left] == labels[right]
        if not same.any() or same.all():
            return None
        pairs = np.stack((left, right), axis=1)
        verified = verify_scores(pair_similarities(vectors, pairs), same, None)
        self._watcher.event("validation", step, accuracy=100 * float(verified.accuracy))
        try:
            data = f"{len(labels)} validation images of {self._card.name}"
            return calibrate(verified.curve, self._card.metric, data)
        except UsageError:
            return None

    def _show_embeddings(self, step: int, network: nn.Module) -> None:
        part = self._validation if len(self._validation.indices) else self._training
        chips, labels = _read_chips(self._examples, part, self._card, 500)
        names = [part.people[label] for label in labels]
        self._watcher.show_embeddings(step, self._embedder(network).embed(chips), names, chips)

    def _embedder(self, network: nn.Module) -> TorchEmbedder:
        batch = self._profile.runtime.batch
        return TorchEmbedder(network, self._card, device=str(self._device), batch=batch)

    def _training_prose(self, step: int) -> str:
        section = self._profile.train
        return (
            f"{section.loss} (s {section.scale:g}) on {len(self._training.indices)} images of "
            f"{len(self._training.people)} people, {step} steps of "
            f"{section.batch * section.accumulate * world_size()}"
        )


_BEST_FIGURE = "best.txt"


def _open(data: DataSection, card: ModelCard, seed: int) -> Examples:
    if data.synthetic:
        return Synthetic(
            data.synthetic_people, data.synthetic_images, card.input_height, card.input_width, seed
        )
    if data.train is None:
        raise UsageError("no training data: give --data, or data.train in the profile")
    return open_examples(data.train)


def _read_people(path: Path | None) -> set[str] | None:
    if path is None:
        return None
    try:
        return {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"data.people {path}: cannot be read: {error}") from error


def _read_chips(
    examples: Examples, selection: Selection, card: ModelCard, most: int
) -> tuple[Image, np.ndarray]:
    """At most that many chips, evenly spread over the people, without those that are damaged."""
    rows = np.linspace(0, len(selection.indices) - 1, min(most, len(selection.indices)))
    chips, labels = [], []
    for row in np.unique(rows.astype(int)):
        try:
            image = examples.image(int(selection.indices[row]))
        except InputError:
            continue
        chips.append(fit(image, card.template, (card.input_height, card.input_width)))
        labels.append(selection.labels[row])
    empty = np.empty((0, card.input_height, card.input_width, 3), np.uint8)
    return (np.stack(chips) if chips else empty), np.array(labels, np.int64)


def _read_best(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _silent() -> Observer:
    return Observer(lambda *_: None, lambda *_: None, lambda _: None)
