"""MTCNN's networks in OpenVINO.

Unlike PyTorch's, its kernels fuse bias, activation and pooling into the convolution and reorder the
weights once; a whole forward pass is one call without the GIL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facerec.detection.mtcnn.networks import Arrays, dense_kernel, merged_heads
from facerec.faces import Floats
from facerec.parallel.devices import takes_all_cores

_SCALE = np.float32(1 / 128)
_KEPT_KERNELS = "64"
"""Compiled kernels that OpenVINO caches; with its default of 5,000 memory keeps growing."""


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies bf16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Network:
    """A network, compiled at its first call; thread-safe.

    Args:
        build: makes OpenVINO's model, with one float32 input and output.
        precision: `bf16` or `f32`.
        threads: concurrent calls, each on one core.
    """

    def __init__(self, build: Callable[[], Any], precision: str, threads: int) -> None:
        self._build = build
        self._precision = precision
        self._threads = threads
        self._compiled: Any = None
        self._compiling = threading.Lock()
        self._mine = threading.local()

    def _compile(self) -> Any:
        import openvino

        with self._compiling:
            if self._compiled is None:
                self._compiled = openvino.Core().compile_model(
                    self._build(),
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": self._precision,
                        "INFERENCE_NUM_THREADS": self._threads,
                        "NUM_STREAMS": self._threads,
                        "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
                        "ENABLE_CPU_PINNING": takes_all_cores(self._threads),
                    },
                )
            return self._compiled

    def __call__(self, values: Floats) -> Floats:
        """The output for a contiguous input."""
        import openvino

        if not hasattr(self._mine, "request"):
            self._mine.request = self._compile().create_infer_request()
        request = self._mine.request
        request.set_input_tensor(openvino.Tensor(values, shared_memory=True))
        request.infer(share_outputs=True)
        output: Floats = request.get_output_tensor().data.copy()
        return output


class Refinement:
    """RNet or ONet in float32, with the interface of `networks.RNet`.

    Args:
        side: pixels of a crop.
        multiple: see `RNet`.
        network: takes crops `(N, 3, side, side)`, gives `(N, C, 1, 1)`.
    """

    def __init__(self, side: int, multiple: int, network: Network) -> None:
        self.side = side
        self.multiple = multiple
        self._network = network

    def __call__(self, crops: Tensor) -> Tensor:
        """Outputs `(N, C)` for contiguous crops `(N, 3, side, side)`."""
        return torch.from_numpy(self._network(crops.numpy())).flatten(1)


def build_pnet(arrays: Arrays, *, scores_only: bool = False) -> Any:
    """`pnet`: offsets and log-odds of a face `(1, 5, h, w)`, or the log-odds alone, for an image
    `(1, H, W, 3)` less 127.5."""
    from openvino import Model
    from openvino import opset13 as op

    pixels = _parameter([1, -1, -1, 3])
    x = op.transpose(pixels, [0, 3, 1, 2])
    x = _pooled(_layer(x, arrays[0] * _SCALE, arrays[1], arrays[2]), 2)
    x = _layer(x, arrays[3], arrays[4], arrays[5])
    x = _layer(x, arrays[6], arrays[7], arrays[8])
    heads = slice(11 if scores_only else 9, 13)
    return Model([_heads(x, arrays[heads][::2], arrays[heads][1::2])], [pixels])


def build_rnet(arrays: Arrays, *, scores_only: bool = False) -> Any:
    """`rnet`: offsets and log-odds of a face `(N, 5, 1, 1)`, or the log-odds alone, for crops
    `(N, 3, 24, 24)` less 127.5."""
    from openvino import Model

    crops = _parameter([-1, 3, 24, 24])
    x = _pooled(_layer(crops, arrays[0] * _SCALE, arrays[1], arrays[2]), 3)
    x = _pooled(_layer(x, arrays[3], arrays[4], arrays[5]), 3)
    x = _layer(x, arrays[6], arrays[7], arrays[8])
    x = _layer(x, dense_kernel(arrays[9]), arrays[10], arrays[11])
    heads = slice(14 if scores_only else 12, 16)
    return Model([_heads(x, arrays[heads][::2], arrays[heads][1::2])], [crops])


def build_onet(arrays: Arrays) -> Any:
    """`onet`: offsets, landmarks and log-odds of a face `(N, 15, 1, 1)` for crops
    `(N, 3, 48, 48)` less 127.5."""
    from openvino import Model

    crops = _parameter([-1, 3, 48, 48])
    x = _pooled(_layer(crops, arrays[0] * _SCALE, arrays[1], arrays[2]), 3)
    x = _pooled(_layer(x, arrays[3], arrays[4], arrays[5]), 3)
    x = _pooled(_layer(x, arrays[6], arrays[7], arrays[8]), 2)
    x = _layer(x, arrays[9], arrays[10], arrays[11])
    x = _layer(x, dense_kernel(arrays[12]), arrays[13], arrays[14])
    return Model([_heads(x, arrays[15::2], arrays[16::2])], [crops])


def _parameter(shape: Sequence[int]) -> Any:
    from openvino import PartialShape
    from openvino import opset13 as op

    return op.parameter(PartialShape(shape), np.float32)


def _layer(x: Any, kernel: Floats, bias: Floats, slope: Floats) -> Any:
    from openvino import opset13 as op

    return op.prelu(_convolved(x, kernel, bias), op.constant(slope.reshape(-1)))


def _heads(x: Any, kernels: Arrays, biases: Arrays) -> Any:
    kernel, bias = merged_heads(kernels, biases)
    return _convolved(x, kernel[None, None], bias)


def _convolved(x: Any, kernel: Floats, bias: Floats) -> Any:
    from openvino import opset13 as op

    weight = op.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    y = op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    return op.add(y, op.constant(bias.reshape(1, -1, 1, 1)))


def _pooled(x: Any, side: int) -> Any:
    from openvino import opset13 as op

    return op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], "ceil").output(0)
