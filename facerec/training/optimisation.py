"""Optimisers, weight decay, and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.optim import SGD, Adam, AdamW, Optimizer

from facerec.parallel.ranks import world_size
from facerec.profile.schema import TrainSection
from facerec.training.finetuning import NORMALISATIONS, layer_factors
from facerec.training.network import Head

_SECOND_BETA = 0.999
Group = dict[str, Any]


def create_optimizers(
    backbone: nn.Module, classifier: Head, projection: nn.Module | None, section: TrainSection
) -> dict[str, Optimizer]:
    """One optimiser for the backbone, one, `head`, for the classifier, and one, `projection`, for
    the projection to a teacher's vectors.

    The head's parameters are shards: each rank steps its own.
    """
    head = {"params": classifier.trainable(), "factor": section.head_factor}
    optimizers = {
        "backbone": create_optimizer(backbone_groups(backbone, section), section),
        "head": create_optimizer([head], section),
    }
    if projection is not None:
        last = {"params": list(projection.parameters()), "factor": section.head_factor}
        optimizers["projection"] = create_optimizer([last], section)
    return optimizers


def create_scaler(device: torch.device, *, enabled: bool) -> GradScaler:
    """The gradient scaler for fp16.

    Over several ranks an overflow on one, in its shard of the head say, is found by all: each
    skips the step, and their scales stay equal.
    """
    if world_size() == 1:
        return GradScaler(device.type, enabled=enabled)
    return ShardedGradScaler(device.type, enabled=enabled, process_group=dist.group.WORLD)


def create_optimizer(groups: Iterable[Group], section: TrainSection) -> Optimizer:
    """The profile's optimiser over parameter groups.

    A group's `factor` multiplies the learning rate, its `weight_decay` the profile's.
    """
    given = [
        {
            **group,
            "lr": section.lr * group.get("factor", 1.0),
            "weight_decay": section.weight_decay * group.get("weight_decay", 1.0),
        }
        for group in groups
    ]
    if section.optimizer == "adam":
        return Adam(given, betas=(section.momentum, _SECOND_BETA))
    if section.optimizer == "adamw":
        return AdamW(given, betas=(section.momentum, _SECOND_BETA))
    return SGD(given, lr=section.lr, momentum=section.momentum)


def backbone_groups(backbone: nn.Module, section: TrainSection) -> list[Group]:
    """Parameter groups of the network, one for each learning rate; for sgd_bn and adamw,
    normalisation layers apart, without decay.

    Layers are recognised by type, not by name.
    """
    factors = layer_factors(backbone, section.layer_decay)
    undecayed = set()
    if section.optimizer in ("sgd_bn", "adamw"):
        undecayed = {
            id(parameter)
            for module in backbone.modules()
            if isinstance(module, NORMALISATIONS)
            for parameter in module.parameters(recurse=False)
        }
    groups: dict[tuple[bool, float], Group] = {}
    for parameter in backbone.parameters():
        if not parameter.requires_grad:
            continue
        free, factor = id(parameter) in undecayed, factors[id(parameter)]
        group = groups.setdefault(
            (free, factor),
            {"params": [], "factor": factor, "weight_decay": 0.0 if free else 1.0},
        )
        group["params"].append(parameter)
    # Decayed ones first, as checkpoints number them.
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def learning_rate(step: int, steps_per_epoch: int, section: TrainSection) -> float:
    """Learning rate of a step, counted from 0.

    `lr` while the head alone is trained. Then linear warm-up to `lr` (Goyal et al. 2017, section
    2.2), then multi-step, a half cosine to 0 (Loshchilov & Hutter 2017, eq. 5, without restarts),
    or (1 - t)^power.
    """
    before = head_steps(steps_per_epoch, section)
    if step < before:
        return section.lr
    step -= before
    epoch = step / steps_per_epoch
    if epoch < section.warmup:
        return section.lr * (step + 1) / math.ceil(section.warmup * steps_per_epoch)
    if section.schedule == "steps":
        passed = sum(epoch >= milestone for milestone in section.steps)
        return section.lr * math.pow(section.gamma, passed)
    epochs = section.epochs - section.head_warmup
    done = (epoch - section.warmup) / max(epochs - section.warmup, 1e-9)
    if section.schedule == "cosine":
        return section.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return section.lr * math.pow(max(1 - done, 0), section.power)


def head_steps(steps_per_epoch: int, section: TrainSection) -> int:
    """Steps at the beginning in which the head alone is trained."""
    return round(section.head_warmup * steps_per_epoch)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
