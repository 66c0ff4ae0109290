"""Parts of which networks' own OpenVINO graphs are made; see `facerec.models.graph_embedder`."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from facerec.card import ModelCard


def normalised_chips(card: ModelCard) -> tuple[Any, Any]:
    """A graph's input, `(N, H, W, 3) uint8`, and that as the card normalises it, `(N, 3, H, W)`."""
    from openvino import PartialShape
    from openvino import opset13 as op

    chips = op.parameter(PartialShape([-1, card.input_height, card.input_width, 3]), np.uint8)
    # In planes: a normalisation of triples takes as long as a twentieth of dlib's ResNet.
    planes = op.convert(op.transpose(chips, [0, 3, 1, 2]), np.float32)
    mean, std = (np.array(of, np.float32).reshape(3, 1, 1) for of in (card.mean, card.std))
    return chips, op.multiply(op.subtract(planes, mean), 1 / std)


def convolved(x: Any, layer: nn.Conv2d) -> Any:
    """The output of a convolution, whose weights it shares."""
    from openvino import opset13 as op

    assert layer.bias is not None
    stride, pads, weight = list(layer.stride), list(layer.padding), layer.weight
    if layer.groups > 1:
        grouped = weight.view(layer.groups, -1, *weight.shape[1:])
        y = op.group_convolution(x, constant(grouped), stride, pads, pads, [1, 1])
    else:
        y = op.convolution(x, constant(weight), stride, pads, pads, [1, 1])
    return op.add(y, constant(layer.bias.view(1, -1, 1, 1)))


def constant(values: Tensor) -> Any:
    """A network's values, in the network's own memory."""
    from openvino import opset13 as op

    # The network keeps the memory alive.
    return op.constant(values.detach().numpy(), shared_memory=True)
