"""A training run, top to bottom: network, data, loss, optimisers, loop, step, roll-back.

Under torchrun every rank runs this file; rank 0 alone logs, evaluates and writes the model.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from facerec.errors import InputError, UsageError
from facerec.parallel.ranks import (
    barrier,
    broadcast,
    max_over_ranks,
    process_group,
    rank,
    world_size,
)
from facerec.parallel.threads import use_threads
from facerec.profile.loading import Profile
from facerec.profile.schema import TrainSection
from facerec.training import run_folder
from facerec.training.apple import settle_device
from facerec.training.callbacks import Callbacks, Progress, RunLog, StopRequest, Throughput
from facerec.training.checkpoint import (
    TrainingState,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from facerec.training.data.augmentation import Augmentation
from facerec.training.data.loader import Batch, Loader
from facerec.training.data.opening import open_training_data
from facerec.training.evaluation import Evaluator
from facerec.training.find_rate import STEPS, RateCurve, draw_curve, rate_at
from facerec.training.finetuning import StartPenalty, freeze_normalisation, keep_statistics
from facerec.training.head import load_head
from facerec.training.losses.centres import CentreLoss
from facerec.training.losses.classifier import Classifier
from facerec.training.network import create_backbone, create_head, require_keys_of_loss
from facerec.training.optimisation import (
    create_optimizers,
    create_scaler,
    head_steps,
    learning_rate,
    set_learning_rate,
)
from facerec.training.teacher import Teacher, imitation, relation, teacher_of

_MAX_ROLLBACKS = 5


def find_rate(
    profile: Profile, name: str, folder: str | Path | None, callbacks: Callbacks
) -> tuple[RateCurve, Path]:
    """Run the learning rate range test, and write its curve to log, TensorBoard and a PNG.

    The folder is left free for the run itself. Arguments and errors are those of `train`.

    Returns:
        The curve, and its picture.
    """
    with _set_up(profile, name, folder, callbacks, resume=False) as (run, plan):
        if rank() == 0:
            plan.folder.mkdir(parents=True, exist_ok=True)
        run.callbacks.on_folder(plan.folder)
        picture = plan.folder / run_folder.RATES
        with run.log:
            curve = run.find_rate()
        if rank() == 0:
            draw_curve(curve, picture)
    return curve, picture


@dataclass(frozen=True, slots=True)
class Result:
    """What a run trained.

    Attributes:
        model: file of the model.
        step: steps done.
        classes: people trained on.
        images: of them.
        best: highest headline figure of the in-training evaluations, percent; None without any.
        calibrated: whether the model's card has thresholds.
        corrupt: unreadable images, counted each time they were drawn.
    """

    model: Path
    step: int
    classes: int
    images: int
    best: float | None
    calibrated: bool
    corrupt: int


def train(
    profile: Profile, name: str, folder: str | Path | None, callbacks: Callbacks, *,
    resume: bool, finish: bool = False,
) -> Result:  # fmt: skip
    """Train a model by a profile's recipe.

    Args:
        name: of the model.
        folder: of the run; None: `runs/NAME-TIME`, by rank 0's clock.
        callbacks: called on rank 0.
        resume: continue from the folder's newest checkpoint.
        finish: train no further, but make the model of that checkpoint.

    Raises:
        UsageError: the folder, the data or the profile does not allow it.
        MissingError: data, network or device is missing, or a checkpoint does not fit.
        InputError: the data cannot be read, or the loss stays non-finite.
        KeyboardInterrupt: interrupted; a checkpoint and the model of the last step are saved.
    """
    with _set_up(profile, name, folder, callbacks, resume=resume) as (run, plan):
        # Only now: a wrong path to the data must not leave a folder that refuses the next run.
        if rank() == 0 and not resume:
            run_folder.describe(plan, run.people)
        barrier()
        run.callbacks.on_folder(plan.folder)
        with run.log:
            return run.fit(resume=resume, finish=finish)


@contextmanager
def _set_up(
    profile: Profile, name: str, folder: str | Path | None, callbacks: Callbacks, *, resume: bool
) -> Iterator[tuple[Run, run_folder.Plan]]:
    """This rank's run, and its plan by rank 0; for the arguments and errors see `train`."""
    if not resume:
        require_keys_of_loss(profile.train, profile.data)
    with process_group(profile.runtime.device) as device:
        use_threads(profile.runtime.threads)
        if rank() > 0:
            callbacks = Callbacks()
        plan = None
        if rank() == 0:
            plan = run_folder.plan(folder, name, profile, callbacks.on_message, resume=resume)
        plan = broadcast(plan)
        assert plan is not None
        log = RunLog(plan.folder if rank() == 0 else None, callbacks.on_message)
        yield Run(plan.profile, plan.name, plan.folder, device, callbacks, log), plan


class Run:
    """Set-up, loop and step of one run.

    Args:
        profile: `data`, `train` and `runtime` are used.
        name: of the model.
        folder: of the run.
        device: of this rank.
        callbacks: called as the run goes on.
        log: open while `fit` runs.
    """

    def __init__(
        self, profile: Profile, name: str, folder: Path, device: torch.device,
        callbacks: Callbacks, log: RunLog,
    ) -> None:  # fmt: skip
        recipe = self._recipe = profile.train
        self._folder = folder
        self.callbacks, self.log = callbacks, log
        self._checkpoints = folder / run_folder.CHECKPOINTS

        # Network, and the card that travels with it.
        backbone, card = create_backbone(recipe, name)
        device = settle_device(
            profile.runtime.device, device, backbone, card, recipe, callbacks.on_message
        )
        self._card, self._device = card, device

        # Data.
        data = profile.data
        self._data = open_training_data(
            data, card, recipe.seed, callbacks.on_message, profile.download.out
        )
        classes = len(self._data.training.people)
        augmentation = Augmentation(
            data.flip, data.zoom, data.crop, data.low_resolution, data.photometric,
            data.grey, data.blur, data.clean,
        )  # fmt: skip
        self._teacher = None
        if (teacher := teacher_of(recipe)) is not None:
            # Vectors of the model that it starts from must stay where they are.
            centred = teacher != recipe.initial
            self._teacher = Teacher(
                teacher, profile, card, str(device), self._data, centred=centred,
                anchored=recipe.relation_weight > 0,
            )  # fmt: skip
        self._loader = Loader(
            self._data.examples, self._data.training,
            template=card.template, size=(card.input_height, card.input_width),
            batch=recipe.batch, accumulate=recipe.accumulate, rank=rank(), world=world_size(),
            seed=recipe.seed, workers=profile.runtime.workers, drop_last=data.drop_last,
            augmentation=augmentation, random_crop=data.random_crop,
            per_person=data.per_person if data.balance else None,
            original=None if self._teacher is None else self._teacher.chip,
        )  # fmt: skip
        self._total_steps = recipe.max_steps or round(recipe.epochs * self._loader.steps_per_epoch)
        self._head_steps = head_steps(self._loader.steps_per_epoch, recipe)
        self._evaluate_every = max(1, round(recipe.evaluate_every * self._loader.steps_per_epoch))

        # Loss: a classifier over all people, sharded over ranks; optionally Center loss beside it.
        backbone = backbone.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.freeze_normalisation:
            freeze_normalisation(backbone)
        self._start = StartPenalty(backbone) if recipe.start_weight else None
        classifier = create_head(recipe, classes, card.embedding_size).to(device)
        if recipe.initial_head is not None and isinstance(classifier, Classifier):
            load_head(recipe.initial_head, classifier, self.people, callbacks.on_message)
        centres = None
        if recipe.centre_weight:
            centres = CentreLoss(classes, card.embedding_size).to(device)

        # Distillation between vectors of two sizes: the student's are projected to the teacher's.
        projection = None
        if self._teacher is not None and self._teacher.size != card.embedding_size:
            projection = nn.Linear(card.embedding_size, self._teacher.size, bias=False).to(device)

        # Optimisers, and whatever else a step changes.
        precision = _autocast_dtype(recipe.precision, device)
        self._autocast = torch.autocast(
            device.type, precision or torch.bfloat16, enabled=precision is not None
        )
        self.state = TrainingState(
            backbone, classifier, centres, projection,
            create_optimizers(backbone, classifier, projection, recipe),
            create_scaler(device, enabled=precision == torch.float16),
            _moving_average(backbone, recipe),
        )  # fmt: skip
        self._network = _parallel(
            torch.compile(backbone) if recipe.compile else backbone,  # type: ignore[arg-type]
            device,
        )
        self._project = None if projection is None else _parallel(projection, device)
        self._mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self._scale = 1 / torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        self._evaluator = Evaluator(profile, card, self._data, folder, str(device), log, callbacks)
        self._throughput = Throughput()
        self._rollbacks = self._corrupt = 0
        # Dropout and sampled classes differ between ranks.
        torch.manual_seed(recipe.seed * 10_007 + rank())

    def fit(self, *, resume: bool, finish: bool = False) -> Result:
        """Train from the first step, or the newest checkpoint, to the last; write the model.

        Args:
            finish: let the checkpoint's step be the last.
        """
        state, evaluator = self.state, self._evaluator
        saved = list_checkpoints(self._checkpoints)
        if resume and saved:
            load_checkpoint(saved[-1], state)
            evaluator.best = run_folder.read_best_figure(self._folder)
        if finish:
            if state.step == 0:
                raise UsageError(f"{self._folder}: holds no trained step to make a model of")
            self._total_steps = state.step
        self._announce()
        if not saved:
            self._save()
        state.classifier.train()
        with StopRequest() as stop:
            while state.step < self._total_steps:
                with closing(self._batches()) as batches:
                    bad = self._train(batches, stop)
                if bad is not None:
                    self._roll_back(*bad)
        self._save()
        calibrated = rank() == 0 and evaluator.finish(state.step, self._snapshot())
        barrier()
        training = self._data.training
        return Result(
            self._folder / run_folder.MODEL, state.step, len(training.people),
            len(training.indices), evaluator.best, calibrated, self._corrupt,
        )  # fmt: skip

    def _train(self, batches: Iterator[Batch], stop: StopRequest) -> tuple[Batch, str] | None:
        """Train to the last step, or until something is not finite; then the batch of that, and
        what it was.

        Raises:
            KeyboardInterrupt: a stop was requested; a checkpoint and the model are saved.
        """
        state, recipe, evaluator = self.state, self._recipe, self._evaluator
        while state.step < self._total_steps:
            started = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - started
            rate = learning_rate(state.step, self._loader.steps_per_epoch, recipe)
            loss, accuracy = self._step(batch, rate)
            if loss is None:
                return batch, "the loss is"
            state.step += 1
            epoch = state.step / self._loader.steps_per_epoch
            images = len(batch.labels) * world_size()
            seconds = time.perf_counter() - started
            self._report(Progress(state.step, epoch, loss, accuracy, rate, images, seconds, waited))
            if recipe.histograms_every and state.step % recipe.histograms_every == 0:
                self.log.show_weights(
                    state.step,
                    nn.ModuleDict({"backbone": state.backbone, "head": state.classifier}),
                )
            if state.step == 1:
                self.log.show_batch(state.step, batch.images)
            stopping = self._on_any_rank(stop.requested)
            # The gradients of a finite loss need not be finite; the next loss would tell.
            if (stopping or self._is_kept(state.step)) and self._on_any_rank(not state.is_finite()):
                return batch, "the weights are"
            if stopping:
                self._save()
                if rank() == 0:
                    evaluator.write(state.step, self._snapshot())
                self._tell(
                    f"interrupted; saved step {state.step}, --resume goes on from there; "
                    f"{self._folder / run_folder.MODEL} is its model, "
                    "--resume --finish evaluates and calibrates it"
                )
                raise KeyboardInterrupt
            if state.step % recipe.save_every == 0 and state.step < self._total_steps:
                self._save()
                # Progress was made: what went wrong before is past.
                self._rollbacks = 0
            if state.step % self._evaluate_every == 0 and state.step < self._total_steps:
                if rank() == 0:
                    evaluator.evaluate(state.step, self._snapshot())
                barrier()
        return None

    def _is_kept(self, step: int) -> bool:
        """Whether a checkpoint or a model is made of a step."""
        every = self._recipe.save_every, self._evaluate_every
        return step == self._total_steps or any(step % steps == 0 for steps in every)

    @property
    def people(self) -> list[str]:
        """Names of those trained on, in the order of the classifier's rows."""
        return self._data.training.people

    def find_rate(self) -> RateCurve:
        """Train some steps at rising learning rates, until the loss diverges (Smith 2017)."""
        self._total_steps, self._head_steps = STEPS, 0
        self._announce()
        self.state.classifier.train()
        rates: list[float] = []
        losses: list[float] = []
        with closing(self._batches()) as batches:
            for number, batch in enumerate(batches):
                rate = rate_at(number)
                started = time.perf_counter()
                loss, accuracy = self._step(batch, rate)
                if loss is None:
                    break
                rates.append(rate)
                losses.append(loss)
                self.state.step += 1
                seconds, images = time.perf_counter() - started, len(batch.labels) * world_size()
                epoch = self.state.step / self._loader.steps_per_epoch
                progress = Progress(
                    self.state.step, epoch, loss, accuracy, rate, images, seconds, 0.0
                )
                self.callbacks.on_step(progress, *self._throughput.add(progress))
                self.log.event("find_lr", self.state.step, loss=loss, learning_rate=rate)
                if self._on_any_rank(RateCurve(rates, losses).diverged):
                    break
        return RateCurve(rates, losses)

    def _step(self, batch: Batch, rate: float) -> tuple[float | None, float]:
        """Loss and accuracy of one optimiser step; a loss of None: non-finite, nothing changed."""
        state, parts = self.state, self._recipe.accumulate
        state.backbone.train()
        if self._recipe.freeze_normalisation or self._head_alone:
            keep_statistics(state.backbone)
        if state.centres is not None:
            state.centres.forget()
        labels = torch.from_numpy(batch.labels).to(self._device, non_blocking=True)
        state.classifier.sample(labels, state.optimizers["head"])
        for optimizer in state.optimizers.values():
            set_learning_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
        loss, accuracy = torch.zeros((), device=self._device), torch.zeros((), device=self._device)
        images = torch.from_numpy(batch.images)
        targets: Sequence[Tensor | None] = [None] * parts
        if self._teacher is not None and not self._head_alone:
            targets = self._teacher.targets(batch).to(self._device).chunk(parts)
        for number, (chips, people, target) in enumerate(
            zip(images.chunk(parts), labels.chunk(parts), targets, strict=True)
        ):
            # Gradients are exchanged once, after the last part.
            last = number == parts - 1
            with nullcontext() if last else _no_sync(self._network, self._project):
                part_loss, part_accuracy = self._forward(chips, people, target)
                if self._on_any_rank(not torch.isfinite(part_loss)):
                    return None, 0.0
                torch.autograd.backward(state.scaler.scale(part_loss / parts))
            loss += part_loss.detach() / parts
            accuracy += part_accuracy / parts
        self._update()
        return float(loss), float(accuracy)

    def _forward(
        self, chips: Tensor, people: Tensor, targets: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of chips `(N, H, W, 3) uint8` RGB with labels `(N,) int64`.

        Args:
            targets: `(N, D) float32`, the teacher's vectors.
        """
        # Elsewhere than on CUDA, a copy that is not waited for may be read too early.
        sent = chips.to(self._device, non_blocking=self._device.type == "cuda")
        x = sent.permute(0, 3, 1, 2).float()
        if self._card.colour == "BGR":
            x = x.flip(1)
        # The permuted view is channels-last, as the network's weights are.
        x = (x - self._mean) * self._scale
        state = self.state
        with self._autocast:
            with torch.no_grad() if self._head_alone else nullcontext():
                features = self._network(x)
            outcome = state.classifier(features, people)
            loss: Tensor = outcome.loss
            if state.centres is not None:
                loss = loss + self._recipe.centre_weight * state.centres(features, people)
        if self._head_alone:
            return loss, outcome.accuracy
        if self._start is not None:
            loss = loss + self._recipe.start_weight * self._start()
        if targets is not None:
            like = features if self._project is None else self._project(features.float())
            loss = loss + self._recipe.teacher_weight * imitation(like, targets)
            if self._recipe.relation_weight:
                assert self._teacher is not None
                anchors, temperature = self._teacher.anchors, self._recipe.relation_temperature
                placed = relation(like, targets, anchors, temperature)
                loss = loss + self._recipe.relation_weight * placed
        return loss, outcome.accuracy

    def _update(self) -> None:
        state, clip = self.state, self._recipe.clip
        if clip is not None and not self._head_alone:
            state.scaler.unscale_(state.optimizers["backbone"])
            nn.utils.clip_grad_norm_(state.backbone.parameters(), clip)
        for name, optimizer in state.optimizers.items():
            if self._head_alone and name != "head":
                continue
            # Not every loss has a head with weights.
            if any(group["params"] for group in optimizer.param_groups):
                state.scaler.step(optimizer)
        state.scaler.update()
        state.classifier.write_back(state.optimizers["head"])
        if state.centres is not None:
            state.centres.move(self._recipe.centre_lr)
        if isinstance(state.average, AveragedModel):
            state.average.update_parameters(state.backbone)

    @property
    def _head_alone(self) -> bool:
        """Whether this step trains the head alone."""
        return self.state.step < self._head_steps

    def _announce(self) -> None:
        step, training = self.state.step, self._data.training
        people, images = len(training.people), len(training.indices)
        self.callbacks.on_start(step, self._total_steps, people, images)
        self.log.event("began", step, people=people, images=images)

    def _report(self, progress: Progress) -> None:
        images_per_second, waiting = self._throughput.add(progress)
        self.callbacks.on_step(progress, images_per_second, waiting)
        if progress.step % self._recipe.log_every == 0:
            self.log.event(
                "train", progress.step, epoch=round(progress.epoch, 4), loss=progress.loss,
                accuracy=progress.accuracy, learning_rate=progress.rate,
                images_per_second=round(images_per_second, 2), waiting=round(waiting, 4),
            )  # fmt: skip

    def _roll_back(self, bad: Batch, what: str) -> None:
        """Return to the last checkpoint and skip past a batch.

        Args:
            what: was not finite after it, with its verb.

        Raises:
            InputError: for the sixth time since a checkpoint was written.
        """
        self._rollbacks += 1
        problem = f"step {bad.step}: {what} not finite (images such as {bad.names[0]})"
        if self._rollbacks > _MAX_ROLLBACKS:
            raise InputError(
                f"{problem}, for the {self._rollbacks}th time; lower train.lr or set train.clip"
            )
        last = list_checkpoints(self._checkpoints)[-1]
        load_checkpoint(last, self.state)
        self._tell(f"{problem}; back to {last.name}, whose following steps get other batches")
        # The same batches would diverge again: continue with the one after the bad one.
        self.state.skipped = bad.step + 1 - self.state.step

    def _batches(self) -> Generator[Batch]:
        """The batches of the remaining steps."""
        first = self.state.step + self.state.skipped
        last = first + self._total_steps - self.state.step
        with closing(self._loader.batches(first, last)) as batches:
            for batch in batches:
                for problem in batch.corrupt:
                    self._corrupt += 1
                    self._tell(f"{problem}; another image stands in")
                yield batch

    def _save(self) -> None:
        save_checkpoint(self._checkpoints, self.state, self._recipe.keep)

    def _tell(self, message: str) -> None:
        self.callbacks.on_message(message)
        self.log.event("note", self.state.step, message=message)

    def _snapshot(self) -> nn.Module:
        """A copy for inference, of the moving average if there is one."""
        average = self.state.average
        return copy.deepcopy(self.state.backbone if average is None else average.module).eval()  # type: ignore[union-attr]

    def _on_any_rank(self, condition: bool) -> bool:
        return bool(max_over_ranks(torch.tensor(float(condition), device=self._device)))


def _autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """None: everything in float32."""
    if precision == "auto":
        supported = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if supported else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _moving_average(backbone: nn.Module, recipe: TrainSection) -> nn.Module | None:
    if not recipe.ema:
        return None
    decay = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
    return AveragedModel(backbone, multi_avg_fn=decay, use_buffers=True)


def _parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """The module, with its gradients averaged over ranks."""
    if world_size() == 1:
        return module
    return DistributedDataParallel(
        module,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


@contextmanager
def _no_sync(*modules: nn.Module | None) -> Iterator[None]:
    """Do not average the modules' gradients."""
    with ExitStack() as stack:
        for module in modules:
            if isinstance(module, DistributedDataParallel):
                stack.enter_context(module.no_sync())
        yield
