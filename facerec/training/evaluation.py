"""In-training evaluation: pairs of validation images, and `facerec evaluate` in a child process.

A child process can run any protocol, frees its memory when it ends, and cannot harm the run.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from facerec.card import Calibration, ModelCard
from facerec.engine.quality import usual_norms
from facerec.errors import FacerecError, InputError, UsageError
from facerec.evaluation.sets import find_sets
from facerec.evaluation.thresholds import calibrate, with_calibration
from facerec.faces import Floats, Image
from facerec.files.home import expand_home, expand_value
from facerec.files.writing import replacing
from facerec.models.embedder import TorchEmbedder
from facerec.parallel.ranks import world_size
from facerec.profile.loading import Profile
from facerec.training.callbacks import Callbacks, RunLog
from facerec.training.data import Labels
from facerec.training.data.fitting import cut, fit
from facerec.training.data.opening import TrainingData
from facerec.training.data.selection import Selection
from facerec.training.run_folder import BEST, BEST_FIGURE, MODEL, PROFILE, write_artefact
from facerec.training.teacher import teacher_of
from facerec.training.validation import Validation, comparable, validate, whole_people

_MAX_VALIDATED = 4000
_MAX_PROJECTED = 500
_MAX_MEASURED = 1000
"""Images for the usual norms: of a snapshot, so as few as give a steady 5 % quantile."""
_HEADLINES = ("accuracy", "rank_1")


class EvaluationError(FacerecError):
    """An evaluation failed; training goes on."""


class Evaluator:
    """Evaluates snapshots of the network; keeps the best model and calibrates the last.

    Args:
        profile: of the run.
        card: of the model in training.
        data: its validation images are embedded.
        folder: of the run.
        device: that the network is on.
        log: gets every result.
        callbacks: get messages.

    Attributes:
        best: highest headline figure so far, percent; None before the first.
    """

    def __init__(
        self, profile: Profile, card: ModelCard, data: TrainingData, folder: Path, device: str,
        log: RunLog, callbacks: Callbacks,
    ) -> None:  # fmt: skip
        self._profile, self._card, self._data = profile, card, data
        self._folder, self._device = folder, device
        self._log, self._callbacks = log, callbacks
        self.best: float | None = None
        if any(shlex.split(arguments)[0] == "all" for arguments in profile.train.evaluate):
            for message in find_sets(profile.evaluate.sets, profile.download.out)[1]:
                callbacks.on_message(f"the run will not be evaluated on all its sets: {message}")
        held_out = data.validation.labels
        if len(held_out) and not profile.train.evaluate and not comparable(held_out):
            callbacks.on_message(
                f"data.validation {profile.data.validation:g} holds out one image of each person "
                "at most, which make no pair of one person: the run tells no accuracy, keeps no "
                "best model and its model has no thresholds; hold out more, or set train.evaluate"
            )

    def evaluate(self, step: int, network: nn.Module) -> None:
        """Write a snapshot as the model, validate it and run the profile's evaluations on it."""
        self.write(step, network)
        self._validate(step, network)
        if self._profile.train.evaluate:
            self._evaluate(step, self._folder / MODEL, calibrate=False)

    def write(self, step: int, network: nn.Module) -> ModelCard:
        """Write a snapshot as the model, without thresholds, with its usual norms where they mean
        something; its card."""
        card = self._card
        if card.norms is not None:
            norms = card.norms.model_copy(update=self._usual_norms(network))
            card = card.model_copy(update={"norms": norms})
        return write_artefact(self._folder / MODEL, network, card, self._training_prose(step))

    def _usual_norms(self, network: nn.Module) -> dict[str, object]:
        """What `facerec.card.Norms` tells beside the loss."""
        kind = "validation" if len(self._data.validation.indices) else "training"
        part = self._held_out
        chips, _ = self._read_chips(part, _spread(len(part.indices), _MAX_MEASURED))
        _, norms = self._embedder(network).embed_with_norms(chips)
        return {"usual": usual_norms(norms), "data": f"{kind} images of {self._card.name}"}

    @property
    def _held_out(self) -> Selection:
        """The validation images; the training images where there are none."""
        data = self._data
        return data.validation if len(data.validation.indices) else data.training

    def finish(self, step: int, network: nn.Module) -> bool:
        """Write the final model, evaluate and calibrate it; whether it has thresholds."""
        model = self._folder / MODEL
        card = self.write(step, network)
        self._show_embeddings(step, network)
        validation = self._validate(step, network)
        if self._profile.train.evaluate:
            return self._evaluate(step, model, calibrate=True)
        calibration = None if validation is None else self._calibrate(validation)
        if calibration is None:
            return False
        write_artefact(
            model, network, with_calibration(card, calibration), self._training_prose(step)
        )
        return True

    def _evaluate(self, step: int, model: Path, *, calibrate: bool) -> bool:
        """Run the profile's evaluations on a model file; whether the first one succeeded.

        Args:
            calibrate: the first one also writes thresholds into the file.
        """
        succeeded = False
        for number, arguments in enumerate(self._profile.train.evaluate):
            protocol = shlex.split(arguments)[0]
            started = time.monotonic()
            try:
                with self._callbacks.evaluating(f"step {step}: evaluating {protocol}"):
                    records = run_evaluation(
                        arguments,
                        model,
                        self._folder / PROFILE,
                        calibrate=calibrate and number == 0,
                    )
            except EvaluationError as error:
                self._callbacks.on_message(str(error))
                self._log.event("note", step, message=str(error))
                continue
            figures = {}
            for record in records:
                self._log.event("evaluate", step, **{record["protocol"]: record})
                figures[record["protocol"]] = headline(record)
            seconds = time.monotonic() - started
            told = ", ".join(f"{name} {figure}" for name, figure in figures.items())
            self._callbacks.on_message(f"step {step}: {told} ({seconds:.0f} s)")
            known = [figure for figure in figures.values() if figure is not None]
            figure = sum(known) / len(known) if known else None
            if number == 0:
                succeeded = True
                if figure is not None and figure > (self.best or -1):
                    self._keep_as_best(model, figure)
        return succeeded

    def _keep_as_best(self, candidate: Path, figure: float) -> None:
        self.best = figure
        with replacing(self._folder / BEST) as temporary:
            shutil.copyfile(candidate, temporary)
        with replacing(self._folder / BEST_FIGURE) as temporary:
            temporary.write_text(f"{figure}\n", encoding="ascii")

    def _validate(self, step: int, network: nn.Module) -> Validation | None:
        """Log the figures of the validation images.

        Where the profile names no evaluation, their accuracy chooses the best model.
        """
        part = self._data.validation
        if len(part.indices) < 2:
            return None
        chips, labels = self._read_chips(part, whole_people(part.labels, _MAX_VALIDATED))
        found = validate(self._embed(network, chips), labels)
        if found is None:
            return None
        self._log.event("validation", step, **found.record())
        self._log.show_roc(step, found.curve)
        if found.accuracy is not None and not self._profile.train.evaluate:
            points = ", ".join(f"TAR {tar} at FAR {far}" for far, tar in found.tar.items())
            self._callbacks.on_message(f"step {step}: validation {found.accuracy}, {points}")
            if found.accuracy > (self.best or -1):
                self._keep_as_best(self._folder / MODEL, found.accuracy)
        return found

    def _calibrate(self, validation: Validation) -> Calibration | None:
        try:
            data = f"validation images of {self._card.name}"
            return calibrate(validation.curve, self._card.metric, data)
        except UsageError:
            return None

    def _show_embeddings(self, step: int, network: nn.Module) -> None:
        part = self._held_out
        chips, labels = self._read_chips(part, _spread(len(part.indices), _MAX_PROJECTED))
        names = [part.people[label] for label in labels]
        self._log.show_embeddings(step, self._embed(network, chips), names, chips)

    def _embed(self, network: nn.Module, chips: Image) -> Floats:
        return self._embedder(network).embed(chips)

    def _embedder(self, network: nn.Module) -> TorchEmbedder:
        batch = self._profile.runtime.batch
        return TorchEmbedder(network, self._card, device=self._device, batch=batch)

    def _read_chips(self, selection: Selection, rows: Labels) -> tuple[Image, Labels]:
        """Chips `(N, H, W, 3) uint8` and labels `(N,)` of some rows, without unreadable images."""
        card = self._card
        size = card.input_height, card.input_width
        chips, labels = [], []
        for row in rows:
            try:
                image = self._data.examples.image(int(selection.indices[row]))
            except InputError:
                continue
            if self._profile.data.random_crop:
                image = cut(image, size, None)
            chips.append(fit(image, card.template, size))
            labels.append(selection.labels[row])
        stacked = np.stack(chips) if chips else np.empty((0, *size, 3), np.uint8)
        return stacked, np.array(labels, np.int64)

    def _training_prose(self, step: int) -> str:
        recipe, training = self._profile.train, self._data.training
        teacher = teacher_of(recipe)
        return (
            f"{recipe.loss} (s {recipe.scale:g}) on {len(training.indices)} images of "
            f"{len(training.people)} people, {step} steps of "
            f"{recipe.batch * recipe.accumulate * world_size()}"
            f"{'' if teacher is None else f', taught by {teacher}'}"
        )


def _spread(count: int, limit: int) -> Labels:
    """Up to `limit` of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int))


def run_evaluation(
    arguments: str, model: Path, profile: Path, *, calibrate: bool = False
) -> list[dict[str, Any]]:
    """Run `facerec evaluate ARGUMENTS` on a model file in a child process; its JSON records.

    Args:
        profile: file of the run's own profile.
        calibrate: also write thresholds into the model file.

    Raises:
        EvaluationError: it failed; says the last line of its stderr.
    """
    words = (expand_home(expand_value(word)) for word in shlex.split(arguments))
    command = [
        sys.executable, "-m", "facerec", "evaluate", *words,
        "--profile", str(profile), "--set", "model.card=null", "--model", str(model), "--no-cache",
        "--json",
        *(["--calibrate", str(model)] if calibrate else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EvaluationError(f"evaluate {arguments}: {error}") from error
    lines = done.stdout.splitlines()
    # Of several sets some may be absent: the others are measured.
    if done.returncode not in (0, 3) and not (done.returncode == 4 and lines):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EvaluationError(f"evaluate {arguments}: {last.removeprefix('facerec: ')}")
    try:
        records = [record for record in map(json.loads, lines) if "protocol" in record]
    except ValueError as error:
        raise EvaluationError(f"evaluate {arguments}: printed no figures") from error
    if not records:
        raise EvaluationError(f"evaluate {arguments}: printed no figures")
    return records


def headline(record: dict[str, Any]) -> float | None:
    """The figure by which the best model is chosen, percent."""
    return next((float(record[key]) for key in _HEADLINES if record.get(key) is not None), None)
