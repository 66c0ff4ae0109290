"""Training on Apple's GPU (`mps`), where it computes what the processor does.

Its kernels are young: some operations are missing, and some versions gave wrong gradients. So where
`runtime.device` is `auto`, one step is computed on both before it is taken.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.parallel.devices import choose_device
from facerec.parallel.ranks import world_size
from facerec.profile.schema import TrainSection
from facerec.training.finetuning import NORMALISATIONS
from facerec.training.network import create_head

_IMAGES, _PEOPLE = 8, 4
_LEAST_COSINE = 0.999
"""Of the gradients of all weights, side by side."""


def settle_device(
    given: str, device: torch.device, backbone: nn.Module, card: ModelCard, recipe: TrainSection,
    tell: Callable[[str], None],
) -> torch.device:  # fmt: skip
    """The device to train on: Apple's GPU instead of the processor where `auto` finds one that
    trains right, in float32 and uncompiled, which is all that was written for it.

    Args:
        given: the profile's `runtime.device`.
        device: this rank's.
        tell: called with what was found.
    """
    wanted = given == "auto" and device.type == "cpu" and world_size() == 1
    plain = recipe.precision in ("auto", "fp32") and not recipe.compile
    if not wanted or not plain or choose_device("auto") != "mps":
        return device
    found = torch.device("mps")
    try:
        cosine = gradient_cosine(backbone, card, recipe, device, found)
    # RuntimeError: an operation is missing. TypeError: it has no float64.
    except (RuntimeError, TypeError) as error:
        why = str(error).splitlines()[0]
        tell(f"runtime.device auto: Apple's GPU cannot train this ({why}); the processor does")
        return device
    if not cosine >= _LEAST_COSINE:
        tell(
            f"runtime.device auto: Apple's GPU gives gradients of cosine {cosine:.4f} to the "
            "processor's, which trains instead"
        )
        return device
    tell("runtime.device auto: trains on Apple's GPU, mps, whose gradients are the processor's")
    return found


def gradient_cosine(
    backbone: nn.Module, card: ModelCard, recipe: TrainSection, one: torch.device,
    other: torch.device,
) -> float:  # fmt: skip
    """Cosine between the gradients of one step on two devices; NaN if one is not finite. Neither
    the network nor the random state is changed.

    Raises:
        RuntimeError, TypeError: a device cannot compute it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randn(_IMAGES, 3, card.input_height, card.input_width)
        first, second = (_gradients(backbone, card, recipe, images, on) for on in (one, other))
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def _gradients(
    backbone: nn.Module, card: ModelCard, recipe: TrainSection, images: Tensor, device: torch.device
) -> Tensor:
    """Gradients `(W,) float32` of a copy's weights, on the processor."""
    network = copy.deepcopy(backbone).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # As in training, without what is random: dropout and skipped units.
    network.eval()
    for module in network.modules():
        if isinstance(module, NORMALISATIONS):
            module.train()
    head = create_head(recipe, _PEOPLE, card.embedding_size).to(device).eval()
    people = torch.arange(_IMAGES, device=device) % _PEOPLE
    loss = head(network(images.to(device)), people).loss
    torch.autograd.backward(loss)
    found = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return torch.cat([gradient.flatten().cpu() for gradient in found])
