"""SFace's published network: MobileNet (Howard et al. 2017) with PReLU, 112x112 to 128 values.

As in OpenCV Zoo's `face_recognition_sface` (Zhong et al. 2021, arXiv:2205.12010), its batch norms
folded into the convolutions and the linear layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.registry import BACKBONES

_STEM = 32
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2),
    (1024, 1),
)  # fmt: skip
"""Channels out of each depthwise separable block, and its stride."""
_REDUCTION = 16


class SFaceMobileNet(nn.Module):
    """`(N, 3, H, W) float32` normalised RGB to `(N, D) float32`, not yet unit length.

    Args:
        embedding_size: D.
        height, width: H and W.
    """

    def __init__(self, embedding_size: int = 128, height: int = 112, width: int = 112) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, _STEM, 3, 1, 1)]
        channels = _STEM
        for outputs, stride in _BLOCKS:
            layers += [
                nn.Conv2d(channels, channels, 3, stride, 1, groups=channels),
                nn.Conv2d(channels, outputs, 1),
            ]
            channels = outputs
        self.convolutions = nn.ModuleList(layers)
        self.activations = nn.ModuleList(nn.PReLU(layer.out_channels) for layer in layers)
        cells = -(-height // _REDUCTION) * -(-width // _REDUCTION)
        self.head = nn.Linear(channels * cells, embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, activation in zip(self.convolutions, self.activations, strict=True):
            x = activation(convolution(x))
        vectors: Tensor = self.head(x.flatten(1))
        return vectors


def build_graph(network: nn.Module, card: ModelCard) -> Any:
    """`SFaceMobileNet` as OpenVINO's model; see `facerec.models.graph_embedder.Build`."""
    from openvino import Model, PartialShape
    from openvino import opset13 as op

    assert isinstance(network, SFaceMobileNet)
    chips = op.parameter(PartialShape([-1, card.input_height, card.input_width, 3]), np.uint8)
    x = op.subtract(op.convert(chips, np.float32), np.array(card.mean, np.float32))
    x = op.multiply(x, 1 / np.array(card.std, np.float32))
    x = op.transpose(x, [0, 3, 1, 2])
    for convolution, activation in zip(network.convolutions, network.activations, strict=True):
        assert isinstance(convolution, nn.Conv2d)
        x = op.prelu(_convolved(x, convolution), _constant(activation.weight))
    x = op.reshape(x, [0, -1], special_zero=True)
    x = op.matmul(x, _constant(network.head.weight), transpose_a=False, transpose_b=True)
    return Model([op.add(x, _constant(network.head.bias.view(1, -1)))], [chips])


def _convolved(x: Any, layer: nn.Conv2d) -> Any:
    from openvino import opset13 as op

    assert layer.bias is not None
    stride, pads, weight = list(layer.stride), list(layer.padding), layer.weight
    if layer.groups > 1:
        grouped = weight.view(layer.groups, -1, *weight.shape[1:])
        y = op.group_convolution(x, _constant(grouped), stride, pads, pads, [1, 1])
    else:
        y = op.convolution(x, _constant(weight), stride, pads, pads, [1, 1])
    return op.add(y, _constant(layer.bias.view(1, -1, 1, 1)))


def _constant(values: Any) -> Any:
    from openvino import opset13 as op

    # The network keeps the memory alive.
    return op.constant(values.detach().numpy(), shared_memory=True)


@BACKBONES.register(
    "sface_mobilenet", help="SFace's MobileNet with PReLU, 112x112 to 128.", graph=build_graph
)
def sface_mobilenet(card: ModelCard) -> nn.Module:
    return SFaceMobileNet(card.embedding_size, card.input_height, card.input_width)
