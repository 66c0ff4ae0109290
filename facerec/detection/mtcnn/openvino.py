"""MTCNN's networks in OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facerec.detection.mtcnn.networks import Arrays, dense_kernel, merged_heads
from facerec.faces import Floats
from facerec.parallel.openvino import Network

_SCALE = np.float32(1 / 128)
_VECTOR = 8
"""Values of an AVX2 register. Convolutions store whole ones much faster than parts of one: networks
in float32 compute channels up to a multiple, of which the last ones are not used."""


class Refinement:
    """RNet or ONet in float32, with the interface of `networks.RNet`.

    Args:
        side: pixels of a crop.
        multiple: see `RNet`.
        network: takes crops `(N, 3, side, side)`, gives `(N, C, 1, …)`.
    """

    def __init__(self, side: int, multiple: int, network: Network) -> None:
        self.side = side
        self.multiple = multiple
        self._network = network

    def __call__(self, crops: Tensor) -> Tensor:
        """Outputs `(N, C)` for contiguous crops `(N, 3, side, side)`."""
        return torch.from_numpy(self._network(crops.numpy())).flatten(1)


def build_pnet(arrays: Arrays) -> Any:
    """`pnet`: offsets and log-odds of a face `(1, 5 and more, h, w)` for an image `(1, H, W, 3)`
    less 127.5, in float32."""
    from openvino import Model
    from openvino import opset13 as op

    pixels = _parameter([1, -1, -1, 3])
    # One channel, three columns per pixel, is in every order of axes the same: nothing is moved.
    rows = op.reshape(op.squeeze(pixels, [0]), op.constant([0, -1]), special_zero=True)
    kernel, bias, slope = (_widened(array) for array in arrays[:3])
    columns = kernel.reshape(len(kernel), -1, 1, kernel.shape[-1]) * _SCALE
    x = _layer(op.unsqueeze(rows, [0, 1]), columns, bias, slope, across=3)
    x = _after_first(_narrowed(_pooled(x, 2, 2), arrays[1].size), arrays)
    kernel, bias = map(_widened, merged_heads(arrays[9::2], arrays[10::2]))
    return Model([_convolved(x, kernel[None, None], bias)], [pixels])


def build_rough_pnet(arrays: Arrays) -> Any:
    """`pnet`: log-odds of a face `(1, 1, h, w)` for an image `(1, H, W, 3)` less 127.5, in bf16."""
    from openvino import Model
    from openvino import opset13 as op

    pixels = _parameter([1, -1, -1, 3])
    x = op.transpose(pixels, [0, 3, 1, 2])
    x = _pooled(_layer(x, arrays[0] * _SCALE, arrays[1], arrays[2]), 2, 2)
    return Model([_heads(_after_first(x, arrays), arrays[11:12], arrays[12:])], [pixels])


def _after_first(x: Any, arrays: Arrays) -> Any:
    return _layer(_layer(x, *arrays[3:6]), *arrays[6:9])


def build_rnet(arrays: Arrays, *, scores_only: bool = False) -> Any:
    """`rnet`: offsets and log-odds of a face `(N, 5, 1, 1, 1)`, or the log-odds alone, in bf16, for
    crops `(N, 3, 24, 24)` less 127.5."""
    from openvino import Model
    from openvino import opset13 as op

    crops = _parameter([-1, 3, 24, 24])
    kernel, bias, slope = arrays[:3] if scores_only else map(_widened, arrays[:3])
    x = _layer(_side_by_side(crops), _flat(kernel * _SCALE), bias, slope)
    x = _narrowed(_pooled(x, 3, 3, 1), arrays[1].size)
    x = _pooled(_layer(x, _flat(arrays[3]), arrays[4], arrays[5]), 3, 3, 1)
    x = _layer(x, _flat(arrays[6]), arrays[7], arrays[8])
    x = _layer(x, _flat(dense_kernel(arrays[9])), arrays[10], arrays[11])
    heads = slice(14 if scores_only else 12, 16)
    x = _heads(x, arrays[heads][::2], arrays[heads][1::2], axes=3)
    return Model([op.transpose(x, [4, 1, 2, 3, 0])], [crops])


def build_onet(arrays: Arrays) -> Any:
    """`onet`: offsets, landmarks and log-odds of a face `(N, 15, 1, 1)` for crops
    `(N, 3, 48, 48)` less 127.5."""
    from openvino import Model

    crops = _parameter([-1, 3, 48, 48])
    x = _pooled(_layer(crops, arrays[0] * _SCALE, arrays[1], arrays[2]), 3, 3)
    x = _pooled(_layer(x, arrays[3], arrays[4], arrays[5]), 3, 3)
    x = _pooled(_layer(x, arrays[6], arrays[7], arrays[8]), 2, 2)
    x = _layer(x, arrays[9], arrays[10], arrays[11])
    x = _layer(x, dense_kernel(arrays[12]), arrays[13], arrays[14])
    return Model([_heads(x, arrays[15::2], arrays[16::2])], [crops])


def _parameter(shape: Sequence[int]) -> Any:
    from openvino import PartialShape
    from openvino import opset13 as op

    return op.parameter(PartialShape(shape), np.float32)


def _side_by_side(x: Any) -> Any:
    """Crops `(N, C, H, W)` as `(1, C, H, W, N)`: their own rows are too short for a convolution's
    inner loop, so that runs over the crops."""
    from openvino import opset13 as op

    return op.unsqueeze(op.transpose(x, [1, 2, 3, 0]), op.constant(0))


def _flat(kernel: Floats) -> Floats:
    """A kernel for crops side by side."""
    return kernel[:, :, None]


def _widened(channels: Floats) -> Floats:
    """Arrays of a layer, channels last, with zeros up to a whole number of vectors."""
    missing = -channels.shape[-1] % _VECTOR
    return np.pad(channels, [(0, 0)] * (channels.ndim - 1) + [(0, missing)])


def _narrowed(x: Any, channels: int) -> Any:
    """The first channels."""
    from openvino import opset13 as op

    if x.get_partial_shape()[1] == channels:
        return x
    return op.slice(x, [0], [channels], [1], [1])


def _layer(x: Any, kernel: Floats, bias: Floats, slope: Floats, *, across: int = 1) -> Any:
    from openvino import opset13 as op

    return op.prelu(_convolved(x, kernel, bias, across), op.constant(slope.reshape(-1)))


def _heads(x: Any, kernels: Arrays, biases: Arrays, *, axes: int = 2) -> Any:
    kernel, bias = merged_heads(kernels, biases)
    return _convolved(x, kernel.reshape(*[1] * axes, *kernel.shape), bias)


def _convolved(x: Any, kernel: Floats, bias: Floats, across: int = 1) -> Any:
    """A convolution; `across` is its stride along the last axis."""
    from openvino import opset13 as op

    *sides, inputs, outputs = range(kernel.ndim)
    weight = op.constant(np.ascontiguousarray(kernel.transpose(outputs, inputs, *sides)))
    one, zero = [1] * len(sides), [0] * len(sides)
    y = op.convolution(x, weight, [*one[1:], across], zero, zero, one)
    return op.add(y, op.constant(bias.reshape(1, -1, *one)))


def _pooled(x: Any, *sides: int) -> Any:
    """Max-pooling with windows of these sides and, where they are longer than 1, stride 2."""
    from openvino import opset13 as op

    strides, one, zero = [min(side, 2) for side in sides], [1] * len(sides), [0] * len(sides)
    return op.max_pool(x, strides, one, zero, zero, list(sides), "ceil").output(0)
