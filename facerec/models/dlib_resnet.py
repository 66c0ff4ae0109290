"""dlib's face recognition ResNet with 29 convolutions, 150x150 to 128 values.

After dlib's `dnn_face_recognition_ex.cpp` (King 2017), itself a smaller ResNet-34 (He et al.
2015). dlib's per-channel affine after every convolution is folded into the convolution here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.graph_operations import constant, convolved, normalised_chips
from facerec.registry import BACKBONES

_BLOCKS = (
    *((32, False),) * 3,
    *((64, True), *((64, False),) * 3),
    *((128, True), *((128, False),) * 2),
    *((256, True), *((256, False),) * 2),
    (256, True),
)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.first = (
            nn.Conv2d(inputs, outputs, 3, 2, 0) if down else nn.Conv2d(inputs, outputs, 3, 1, 1)
        )
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        if self.down:
            x = F.avg_pool2d(x, 2)
            # dlib zero-pads the smaller of two tensors before it adds them.
            height, width = x.shape[2] - y.shape[2], x.shape[3] - y.shape[3]
            y = F.pad(y, (0, width, 0, height))
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x + y)


class DlibResNet(nn.Module):
    """`(N, 3, 150, 150) float32` normalised RGB to `(N, 128) float32`, not yet unit length."""

    def __init__(self, embedding_size: int = 128) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, 2)
        channels = [32, *(outputs for outputs, _ in _BLOCKS)]
        self.blocks = nn.Sequential(
            *(
                _Block(inputs, outputs, down=down)
                for inputs, (outputs, down) in zip(channels, _BLOCKS, strict=False)
            )
        )
        self.head = nn.Linear(256, embedding_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        x = self.blocks(x)
        vectors: Tensor = self.head(x.mean(dim=(2, 3)))
        return vectors


def build_graph(network: nn.Module, card: ModelCard) -> Any:
    """`DlibResNet` as OpenVINO's model; see `facerec.models.graph_embedder.Build`."""
    from openvino import Model
    from openvino import opset13 as op

    assert isinstance(network, DlibResNet)
    chips, x = normalised_chips(card)
    x = op.relu(convolved(x, network.stem))
    x = op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3]).output(0)
    for block in network.blocks:
        assert isinstance(block, _Block)
        y = convolved(op.relu(convolved(x, block.first)), block.second)
        if block.down:
            x = op.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True)
            x, y = _padded_alike(x, y)
        x = op.relu(op.add(x, y))
    x = op.reduce_mean(x, [2, 3], keep_dims=False)
    vectors = op.matmul(x, constant(network.head.weight), transpose_a=False, transpose_b=True)
    return Model([vectors], [chips])


def _padded_alike(x: Any, y: Any) -> tuple[Any, Any]:
    """Both zero-padded at the end to the greater number of channels, rows and columns."""
    from openvino import opset13 as op

    one, other = (
        np.array([node.get_output_partial_shape(0)[axis].get_length() for axis in (1, 2, 3)])
        for node in (x, y)
    )

    def padded(node: Any, missing: NDArray[np.intp]) -> Any:
        ends = [0, *missing.clip(0).tolist()]
        return op.pad(node, [0, 0, 0, 0], ends, "constant", 0.0) if any(ends) else node

    return padded(x, other - one), padded(y, one - other)


@BACKBONES.register(
    "dlib_resnet", help="dlib's ResNet, 29 convolutions, 150x150 to 128.", graph=build_graph
)
def dlib_resnet(card: ModelCard) -> nn.Module:
    return DlibResNet(card.embedding_size)
