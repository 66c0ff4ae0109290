"""Networks in OpenVINO.

Unlike PyTorch's, its kernels fuse bias, activation and pooling into the convolution and reorder the
weights once; a whole forward pass is one call without the GIL.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from facerec.faces import Floats, Image
from facerec.parallel.cores import takes_all_cores
from facerec.parallel.devices import onednn_limit
from facerec.parallel.forking import renew_in_children

_KEPT_KERNELS = "64"
"""Compiled kernels that OpenVINO caches; with its default of 5,000 memory keeps growing."""


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def open_core() -> Any:
    """`openvino.Core`, with the limit of instructions that oneDNN is given.

    The oneDNN inside OpenVINO reads `ONEDNN_MAX_CPU_ISA` too, OpenVINO itself does not: with
    the one limited and the other not, a network has layers that nothing can run.
    """
    import openvino

    if limit := onednn_limit():
        os.environ.setdefault("OV_CPU_MAX_ISA", limit)
    return openvino.Core()


def keep_for_ever(*of_parent: object) -> None:
    """Never free what a forked child's parent compiled, nor at the child's end: OpenVINO would wait
    for the parent's threads."""
    for one in of_parent:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies bf16."""
    return "BF16" in open_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Spread:
    """A network whose concurrent calls run on one core each, and a lone call on all cores.

    Args:
        build: see `Network`.
        precision: see `Network`.
        threads: cores to use.
    """

    def __init__(self, build: Callable[[], Any], precision: str, threads: int) -> None:
        self._apart = Network(build, precision, threads)
        self._together = Network(build, precision, threads, together=True)
        self._threads = threads

    def __call__(self, values: Floats | Image, alone: bool) -> Floats:
        """See `Network`.

        Args:
            alone: no other call is made meanwhile.
        """
        return (self._together if alone and self._threads > 1 else self._apart)(values)


class Network:
    """A network, compiled at its first call; thread-safe.

    Args:
        build: makes OpenVINO's model, with one input and one float32 output.
        precision: `bf16` or `f32`.
        threads: cores to use; None: each calling thread compiles a copy and runs it itself. That is
            for small networks that few threads call often: OpenVINO's own threads are bound to
            cores, for which they wait while the caller's thread has another one.
        together: one call at a time, on all the cores; else concurrent calls on one core each.
    """

    def __init__(
        self,
        build: Callable[[], Any],
        precision: str,
        threads: int | None = None,
        *,
        together: bool = False,
    ) -> None:
        self._build = build
        self._precision = precision
        self._threads = threads
        self._streams = 1 if together else threads or 1
        self._forget()
        renew_in_children(self)

    def renew(self) -> None:
        """See `facerec.parallel.forking`."""
        keep_for_ever(self._compiled, self._mine)
        self._forget()

    def _forget(self) -> None:
        self._compiled: list[Any] = []
        self._compiling = threading.Lock()
        self._mine = threading.local()

    def _obtain(self) -> Any:
        if self._threads is None:
            compiled = self._compile()
            # What a thread alone holds, a forked child frees.
            self._compiled.append(compiled)
            return compiled
        with self._compiling:
            if not self._compiled:
                self._compiled.append(self._compile())
            return self._compiled[0]

    def _compile(self) -> Any:
        return open_core().compile_model(
            self._build(),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._precision,
                "INFERENCE_NUM_THREADS": self._threads or 1,
                "NUM_STREAMS": self._streams,
                "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
                "ENABLE_CPU_PINNING": self._threads is not None and takes_all_cores(self._threads),
            },
        )

    def __call__(self, values: Floats | Image) -> Floats:
        """The output for a contiguous input."""
        return self.view(values).copy()

    def view(self, values: Floats | Image) -> Floats:
        """The output for a contiguous input, valid until this thread's next call."""
        import openvino

        if not hasattr(self._mine, "request"):
            self._mine.request = self._obtain().create_infer_request()
        request = self._mine.request
        request.set_input_tensor(openvino.Tensor(values, shared_memory=True))
        request.infer(share_outputs=True)
        output: Floats = request.get_output_tensor().data
        return output
