"""SFace's published network: MobileNet (Howard et al. 2017) with PReLU, 112x112 to 128 values.

As in OpenCV Zoo's `face_recognition_sface` (Zhong et al. 2021, arXiv:2205.12010), its batch norms
folded into the convolutions and the linear layer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.graph_operations import constant, convolved, normalised_chips
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
    from openvino import Model
    from openvino import opset13 as op

    assert isinstance(network, SFaceMobileNet)
    chips, x = normalised_chips(card)
    for convolution, activation in zip(network.convolutions, network.activations, strict=True):
        assert isinstance(convolution, nn.Conv2d) and isinstance(activation, nn.PReLU)
        x = op.prelu(convolved(x, convolution), constant(activation.weight))
    x = op.reshape(x, [0, -1], special_zero=True)
    x = op.matmul(x, constant(network.head.weight), transpose_a=False, transpose_b=True)
    return Model([op.add(x, constant(network.head.bias.view(1, -1)))], [chips])


@BACKBONES.register(
    "sface_mobilenet", help="SFace's MobileNet with PReLU, 112x112 to 128.", graph=build_graph
)
def sface_mobilenet(card: ModelCard) -> nn.Module:
    return SFaceMobileNet(card.embedding_size, card.input_height, card.input_width)
