"""The training loop."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from facerec.card import ModelCard
from facerec.errors import InputError
from facerec.parallel.ranks import max_over_ranks, rank, world_size
from facerec.profile.schema import TrainSection
from facerec.training.callbacks import StopRequest
from facerec.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from facerec.training.data.loader import Batch, Loader
from facerec.training.losses.centres import CentreLoss
from facerec.training.losses.classifier import Classifier, Objective
from facerec.training.network import create_margin
from facerec.training.optimisation import (
    Group,
    backbone_groups,
    create_optimizer,
    learning_rate,
    set_learning_rate,
)
from facerec.training.state import TrainingState

_MOST_RETURNS = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step gave.

    Attributes:
        step: how many are done.
        epoch: how many of those are.
        loss: of the step.
        accuracy: share of faces nearest to their own class, margin left out.
        rate: the learning rate.
        images: it was made from, over all processes.
        seconds: it took, waiting for its data included.
        waited: seconds of these in which no data was ready.
    """

    step: int
    epoch: float
    loss: float
    accuracy: float
    rate: float
    images: int
    seconds: float
    waited: float


class Trainer:
    """One run: its state, and how a step changes it.

    Args:
        backbone: the network, on `device`.
        card: says how chips become its input.
        classes: people.
        section: the recipe.
        loader: of this process's batches of `section.batch * section.accumulate` chips.
        device: of this process.
        checkpoints: their folder.
    """

    def __init__(
        self, backbone: nn.Module, card: ModelCard, classes: int, section: TrainSection,
        loader: Loader, device: torch.device, checkpoints: Path,
    ) -> None:  # fmt: skip
        self._section, self._loader, self._device = section, loader, device
        self._checkpoints = checkpoints
        classifier = Classifier(
            classes, card.embedding_size, create_margin(section), scale=section.scale,
            sub_centres=section.sub_centres, share=section.share, seed=section.seed,
            objective=Objective(section.label_smoothing, section.focal_gamma),
        ).to(device)  # fmt: skip
        centres = None
        groups: list[Group] = [{"params": classifier.trainable()}]
        if section.centre_weight:
            centres = CentreLoss(classes, card.embedding_size).to(device)
            factor = section.centre_lr / section.lr
            groups.append(
                {"params": list(centres.parameters()), "factor": factor, "weight_decay": 0.0}
            )
        precision = _choose_precision(section.precision, device)
        self._autocast = torch.autocast(
            device.type, precision or torch.bfloat16, enabled=precision is not None
        )
        average = (
            AveragedModel(
                backbone,
                multi_avg_fn=get_ema_multi_avg_fn(section.ema),  # type: ignore[no-untyped-call]
                use_buffers=True,
            )
            if section.ema
            else None
        )
        self.state = TrainingState(
            backbone, classifier, centres,
            {
                "backbone": create_optimizer(backbone_groups(backbone, section), section),
                "head": create_optimizer(groups, section),
            },
            torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
            average,
        )  # fmt: skip
        self._network = _wrapped(backbone, section, device)
        self._mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self._scale = 1 / torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        self._reversed = card.colour == "BGR"
        self.total_steps = section.max_steps or round(section.epochs * loader.steps_per_epoch)
        self.corrupt = 0
        self._stop = StopRequest()
        # Draws that depend on the process: dropout and sampled classes.
        torch.manual_seed(section.seed * 10_007 + rank())

    @property
    def trained(self) -> nn.Module:
        """The network to keep: the running mean, if there is one."""
        average = self.state.average
        return self.state.backbone if average is None else average.module  # type: ignore[return-value]

    def run(
        self, report: Callable[[Progress], None], tell: Callable[[str], None],
        after_step: Callable[[int, Batch], None],
    ) -> None:  # fmt: skip
        """Train to the end, saving on the way.

        Args:
            report: called after each step.
            tell: called with messages for the user.
            after_step: called with how many steps are done, and the batch.

        Raises:
            InputError: the loss keeps failing to be finite, or the data cannot be read.
            UsageError: a checkpoint cannot be written.
            KeyboardInterrupt: it was interrupted; a checkpoint of the last step is there.
        """
        if not list_checkpoints(self._checkpoints):
            self.save()
        returns = 0
        while self.state.step < self.total_steps:
            with StopRequest() as self._stop:
                bad = self._run_until_bad(report, tell, after_step)
            if bad is None:
                break
            returns += 1
            told = f"step {bad.step}: the loss is not finite (images such as {bad.names[0]})"
            if returns > _MOST_RETURNS:
                raise InputError(
                    f"{told}, for the {returns}th time; lower train.lr or set train.clip"
                )
            self._return_past(bad, tell, told)
        self.save()

    def save(self) -> None:
        """Write a checkpoint of where the run is."""
        save_checkpoint(self._checkpoints, self.state, self._section.keep)

    def _return_past(self, bad: Batch, tell: Callable[[str], None], told: str) -> None:
        """Take the last good checkpoint's weights, and leave the bad batch out from then on."""
        last = list_checkpoints(self._checkpoints)[-1]
        load_checkpoint(last, self.state)
        tell(f"{told}; back to {last.name}, whose following steps get other batches")
        # The same batches would end the same way: go on with the one after the bad one.
        self.state.skipped = bad.step + 1 - self.state.step

    def _run_until_bad(
        self, report: Callable[[Progress], None], tell: Callable[[str], None],
        after_step: Callable[[int, Batch], None],
    ) -> Batch | None:  # fmt: skip
        state, section = self.state, self._section
        state.backbone.train()
        state.classifier.train()
        first = state.step + state.skipped
        batches = self._loader.batches(first, first + self.total_steps - state.step)
        asked = time.perf_counter()
        for batch in batches:
            waited = time.perf_counter() - asked
            for problem in batch.corrupt:
                self.corrupt += 1
                tell(f"{problem}; another image stands in")
            rate = learning_rate(state.step, self._loader.steps_per_epoch, section)
            loss, accuracy = self._step(batch, rate)
            if loss is None:
                batches.close()
                return batch
            state.step += 1
            seconds = time.perf_counter() - asked
            report(
                Progress(
                    state.step, state.step / self._loader.steps_per_epoch, loss, accuracy, rate,
                    len(batch.labels) * world_size(), seconds, waited,
                )
            )  # fmt: skip
            if _anywhere(self._stop.asked, self._device):
                self.save()
                tell(f"interrupted; saved step {state.step}, --resume goes on from there")
                raise KeyboardInterrupt
            if state.step % section.save_every == 0 and state.step < self.total_steps:
                self.save()
            after_step(state.step, batch)
            state.backbone.train()
            asked = time.perf_counter()
        return None

    def _step(self, batch: Batch, rate: float) -> tuple[float | None, float]:
        """Loss (None where it is not finite, and nothing has changed) and accuracy."""
        state, section = self.state, self._section
        labels = torch.from_numpy(batch.labels).to(self._device, non_blocking=True)
        state.classifier.draw(labels, state.optimizers["head"])
        for optimizer in state.optimizers.values():
            set_learning_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
        loss, accuracy = torch.zeros((), device=self._device), torch.zeros((), device=self._device)
        parts = section.accumulate
        images = torch.from_numpy(batch.images)
        for number, (chips, people) in enumerate(
            zip(images.chunk(parts), labels.chunk(parts), strict=True)
        ):
            last = number == parts - 1
            with nullcontext() if last else _no_sync(self._network):
                part_loss, part_accuracy = self._forward(chips, people)
                if _anywhere(not torch.isfinite(part_loss), self._device):
                    return None, 0.0
                torch.autograd.backward(state.scaler.scale(part_loss / parts))
            loss += part_loss.detach() / parts
            accuracy += part_accuracy / parts
        self._update()
        return float(loss), float(accuracy)

    def _forward(self, chips: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
        x = chips.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float()
        if self._reversed:
            x = x.flip(1)
        # The permuted view is channels-last already, and stays so.
        x = (x - self._mean) * self._scale
        state = self.state
        with self._autocast:
            features = self._network(x)
            outcome = state.classifier(features, people)
            loss: Tensor = outcome.loss
            if state.centres is not None:
                loss = loss + self._section.centre_weight * state.centres(features, people)
        return loss, outcome.accuracy

    def _update(self) -> None:
        state, section = self.state, self._section
        if section.clip is not None:
            state.scaler.unscale_(state.optimizers["backbone"])
            nn.utils.clip_grad_norm_(state.backbone.parameters(), section.clip)
        for optimizer in state.optimizers.values():
            state.scaler.step(optimizer)
        state.scaler.update()
        state.classifier.put_back(state.optimizers["head"])
        if isinstance(state.average, AveragedModel):
            state.average.update_parameters(state.backbone)


def snapshot(network: nn.Module) -> nn.Module:
    """A copy for inference that training does not touch."""
    return copy.deepcopy(network).eval()


def _anywhere(condition: bool, device: torch.device) -> bool:
    """Whether it holds on any process."""
    return bool(max_over_ranks(torch.tensor(float(condition), device=device)))


def _no_sync(network: nn.Module) -> Any:
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


def _choose_precision(name: str, device: torch.device) -> torch.dtype | None:
    """The dtype of autocast; None: everything in float32."""
    if name == "auto":
        good = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if good else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _wrapped(backbone: nn.Module, section: TrainSection, device: torch.device) -> nn.Module:
    network: nn.Module = backbone
    if section.compile:
        network = torch.compile(network)  # type: ignore[assignment]
    if world_size() > 1:
        network = DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,
        )
    return network
