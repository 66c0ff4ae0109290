"""Network architectures by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from facerec.card import ModelCard

Factory = Callable[[ModelCard], nn.Module]
FACTORIES: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Register a factory that builds an untrained network for a card, mapping
    `(N, 3, H, W) float32` to `(N, D) float32`."""

    def add(factory: Factory) -> Factory:
        FACTORIES[name] = factory
        return factory

    return add
