"""Fine-tuning: what keeps a network near the one that it starts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)


def freeze_normalisation(backbone: nn.Module) -> None:
    """Keep a network's normalisation layers from being trained."""
    for module in _normalisations(backbone):
        module.requires_grad_(False)


def keep_statistics(backbone: nn.Module) -> None:
    """Normalise by the running statistics, and leave them as they are; after each `train()`."""
    for module in _normalisations(backbone):
        module.eval()


def layer_factors(backbone: nn.Module, decay: float) -> dict[int, float]:
    """Factor on the learning rate of each parameter, by `id`: 1 for the last layer, and `decay`
    times the next one's for each before it (Howard & Ruder 2018, section 3.2).

    A layer is a module with weights of more than one dimension; what follows it, such as its
    normalisation, shares its rate.
    """
    depth = 0
    depths: dict[int, int] = {}
    for module in backbone.modules():
        own = list(module.parameters(recurse=False))
        depth += any(parameter.dim() > 1 for parameter in own)
        depths |= {id(parameter): depth for parameter in own}
    return {parameter: decay ** (depth - own) for parameter, own in depths.items()}


class StartPenalty:
    """L2-SP: half the squared distance of the weights from where they started (Li et al. 2018,
    eq. 2). Weight decay would pull them to 0.

    Args:
        backbone: as it starts.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._pairs = [
            (parameter, parameter.detach().clone())
            for parameter in backbone.parameters()
            if parameter.requires_grad
        ]

    def __call__(self) -> Tensor:
        """The penalty, `() float32`, before its weight."""
        moved = [(now - start).square().sum() for now, start in self._pairs]
        return torch.stack(moved).sum() / 2


def _normalisations(backbone: nn.Module) -> list[nn.Module]:
    return [module for module in backbone.modules() if isinstance(module, NORMALISATIONS)]
