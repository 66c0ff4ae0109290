"""A first look in bfloat16: which of MTCNN's many cells and crops are worth an exact one.

Nearly all that the first two networks see is no face. Processors that multiply bfloat16 say so in
half the time, and OpenVINO's kernels keep a layer's activation, pooling and bias in its
convolution, which PyTorch's do not. Only the log-odds are estimated, and whatever comes within
a margin of the threshold is computed again in float32, so that results are float32's.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Floats

Arrays = Sequence[NDArray[np.float32]]

MARGIN = 0.35
"""How much lower than the threshold an estimate may be and still be looked at again. Over the
48,000 cells of five photos whose log-odds exceed -2 the largest error is 0.27, its deviation 0.04.
"""

END_MARGIN = 2.0
"""The same for cells that see beyond a level of odd size, where the last pixel, repeated, stands
for none: there the largest error is 1.8."""

_SCALE = np.float32(1 / 128)
_KEPT_KERNELS = "64"
"""Kernels that OpenVINO keeps; its own default, 5,000, is memory that climbs."""


class Screen:
    """Estimated log-odds of a face.

    Args:
        weights: arrays of `pnet` and `rnet`, as in the `mtcnn` package's files.
        threads: how many threads may ask at a time.
    """

    def __init__(self, weights: Mapping[str, Arrays], threads: int) -> None:
        self._weights = weights
        self._threads = threads
        self._compiled: dict[str, Any] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def cells(self, pixels: Floats) -> Floats:
        """Log-odds `(h, w)` for a picture `(H, W, 3)` less 127.5, as `PNet` has them."""
        estimate: Floats = self._estimate("pnet", pixels[None])[0, 0]
        return estimate

    def crops(self, crops: Floats) -> Floats:
        """Log-odds `(N,)` for crops `(N, 24, 24, 3)` less 127.5, as `RNet` has them."""
        return self._estimate("rnet", crops).reshape(-1)

    def _estimate(self, name: str, values: Floats) -> Floats:
        import openvino

        if not hasattr(self._requests, name):
            setattr(self._requests, name, self._network(name).create_infer_request())
        request = getattr(self._requests, name)
        request.set_input_tensor(openvino.Tensor(values, shared_memory=True))
        request.infer()
        estimate: Floats = request.get_output_tensor().data.copy()
        return estimate

    def _network(self, name: str) -> Any:
        # When it is first asked for: most pictures have too few crops to ask for the second.
        with self._compiling:
            if name not in self._compiled:
                build = {"pnet": _proposal_network, "rnet": _refinement_network}[name]
                self._compiled[name] = _compile(build(self._weights[name]), self._threads)
            return self._compiled[name]


def open_screen(weights: Mapping[str, Arrays], threads: int) -> Screen | None:
    """A screen, where this processor multiplies bfloat16 and OpenVINO is installed."""
    with suppress(ImportError):
        import openvino

        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return Screen(weights, threads)
    return None


def _compile(model: Any, threads: int) -> Any:
    import openvino

    return openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
        },
    )


def _proposal_network(arrays: Arrays) -> Any:
    from openvino import Model, PartialShape
    from openvino import opset13 as op

    pixels = op.parameter(PartialShape([1, -1, -1, 3]), np.float32)
    x = op.transpose(pixels, [0, 3, 1, 2])
    x = _pooled(_layer(x, arrays[0] * _SCALE, arrays[1], arrays[2]), 2)
    x = _layer(x, arrays[3], arrays[4], arrays[5])
    x = _layer(x, arrays[6], arrays[7], arrays[8])
    return Model([_difference(x, arrays[11], arrays[12])], [pixels])


def _refinement_network(arrays: Arrays) -> Any:
    from openvino import Model, PartialShape
    from openvino import opset13 as op

    crops = op.parameter(PartialShape([-1, 24, 24, 3]), np.float32)
    x = op.transpose(crops, [0, 3, 1, 2])
    x = _pooled(_layer(x, arrays[0] * _SCALE, arrays[1], arrays[2]), 3)
    x = _pooled(_layer(x, arrays[3], arrays[4], arrays[5]), 3)
    x = _layer(x, arrays[6], arrays[7], arrays[8])
    # the dense layer's input is flattened with x slowest, channel last
    dense = arrays[9].reshape(3, 3, 64, -1).transpose(1, 0, 2, 3)
    x = _layer(x, dense, arrays[10], arrays[11])
    return Model([_difference(x, arrays[14][None, None], arrays[15])], [crops])


def _layer(x: Any, kernel: Floats, bias: Floats, slope: Floats) -> Any:
    from openvino import opset13 as op

    return op.prelu(_convolved(x, kernel, bias), op.constant(slope.reshape(-1)))


def _difference(x: Any, kernel: Floats, bias: Floats) -> Any:
    # of a softmax over (no face, face): its log-odds
    return _convolved(x, kernel[..., 1:] - kernel[..., :1], bias[1:] - bias[:1])


def _convolved(x: Any, kernel: Floats, bias: Floats) -> Any:
    from openvino import opset13 as op

    weight = op.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    y = op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    return op.add(y, op.constant(bias.reshape(1, -1, 1, 1)))


def _pooled(x: Any, side: int) -> Any:
    from openvino import opset13 as op

    return op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], "ceil").output(0)
