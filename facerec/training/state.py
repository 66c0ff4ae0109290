"""Everything that a step changes, as named tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from facerec.training.losses.centres import CentreLoss
from facerec.training.losses.classifier import Classifier

Tensors = dict[str, Tensor]


class TrainingState:
    """The parts of a run, and their flat view for checkpoints.

    Rows of the classifier and its optimiser's state are this process's shard of a larger whole;
    everything else is the same on every process.

    Args:
        backbone: the network itself, not a wrapper of it.
        classifier: the head.
        centres: of Center loss.
        optimizers: by name; `head` is that of classifier and centres.
        scaler: of the loss, for fp16.
        average: the running mean of the backbone.
    """

    def __init__(
        self, backbone: nn.Module, classifier: Classifier, centres: CentreLoss | None,
        optimizers: Mapping[str, Optimizer], scaler: torch.amp.GradScaler,
        average: nn.Module | None,
    ) -> None:  # fmt: skip
        self.backbone, self.classifier, self.centres = backbone, classifier, centres
        self.optimizers = dict(optimizers)
        self.scaler = scaler
        self.average = average
        self.step = 0
        self.skipped = 0

    def tensors(self) -> tuple[Tensors, set[str]]:
        """All of it, and the names of what is sharded by rows."""
        found: Tensors = {}
        for name, module in self._modules():
            found |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
        sharded = {
            key
            for key in found
            if key in ("classifier/weight", "classifier/bias", "centres/weight")
        }
        for name, optimizer in self.optimizers.items():
            for index, parameter in enumerate(_parameters(optimizer)):
                for key, value in optimizer.state[parameter].items():
                    if not isinstance(value, Tensor):
                        continue
                    place = f"optimizer/{name}/{index}/{key}"
                    if name == "head" and value.shape == parameter.shape:
                        if self._is_sample(parameter):
                            continue
                        sharded.add(place)
                    found[place] = value
        if self.classifier.sampled is not None:
            for key, value in self.classifier.sampled.states.items():
                found[f"sampled/{key}"] = value
                sharded.add(f"sampled/{key}")
        if self.scaler.is_enabled():
            scale = self.scaler.state_dict()
            found["scaler/scale"] = torch.tensor(scale["scale"], dtype=torch.float64)
            found["scaler/growth"] = torch.tensor(scale["_growth_tracker"])
        found["progress"] = torch.tensor([self.step, self.skipped])
        return found, sharded

    def template(self, key: str, size: torch.Size) -> Tensor:
        """An empty tensor for a checkpoint's entry that this state does not have yet."""
        if key.startswith("sampled/"):
            return torch.zeros_like(self.classifier.weight)
        if key.startswith("optimizer/"):
            _, name, index, _ = key.split("/")
            parameter = _parameters(self.optimizers[name])[int(index)]
            if len(size):
                return torch.zeros_like(parameter)
        return torch.zeros(size)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` named, as read from a checkpoint."""
        for name, module in self._modules():
            prefix = f"{name}/"
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for optimizer in self.optimizers.values():
            optimizer.state.clear()
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, name, index, inner = key.split("/")
                optimizer = self.optimizers[name]
                optimizer.state[_parameters(optimizer)[int(index)]][inner] = value
            elif key.startswith("sampled/") and self.classifier.sampled is not None:
                self.classifier.sampled.states[key.removeprefix("sampled/")] = value
        if "scaler/scale" in tensors and self.scaler.is_enabled():
            state = self.scaler.state_dict()
            state["scale"] = float(tensors["scaler/scale"])
            state["_growth_tracker"] = int(tensors["scaler/growth"])
            self.scaler.load_state_dict(state)
        self.step, self.skipped = (int(value) for value in tensors["progress"])

    def _modules(self) -> Iterator[tuple[str, nn.Module]]:
        yield "backbone", self.backbone
        yield "classifier", self.classifier
        if self.centres is not None:
            yield "centres", self.centres
        if self.average is not None:
            yield "average", self.average

    def _is_sample(self, parameter: Tensor) -> bool:
        sampled = self.classifier.sampled
        return sampled is not None and parameter is sampled.active


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
