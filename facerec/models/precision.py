"""Precision of a network's arithmetic: fp32, bf16, fp16, int8."""

from __future__ import annotations

import torch

from facerec.errors import MissingError, UsageError
from facerec.parallel.devices import onednn_limit
from facerec.profile.schema import RuntimeEngine, RuntimePrecision

_BF16_INSTRUCTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
_ISAS_WITHOUT_BF16 = (
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI",
)  # fmt: skip
_OFFERED: dict[RuntimeEngine, dict[str, tuple[RuntimePrecision, ...]]] = {
    "torch": {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")},
    "onnxruntime": {"cpu": ("fp32", "int8"), "cuda": ("fp32",), "mps": ("fp32",)},
    "openvino": {"cpu": ("fp32", "bf16", "int8")},
}


def choose_precision(
    asked: RuntimePrecision, engine: RuntimeEngine, device: str
) -> RuntimePrecision:
    """The precision that `runtime.precision` stands for.

    bf16 is chosen only where the CPU multiplies it (AVX512-BF16, AMX); elsewhere it is emulated and
    slower than fp32.

    Args:
        device: a torch device.

    Raises:
        MissingError: the runtime does not use that device.
        UsageError: the runtime does not compute that there.
    """
    kind = device.partition(":")[0]
    offered = _OFFERED[engine].get(kind, ("fp32",) if engine == "torch" else ())
    if not offered:
        raise MissingError(f"runtime.engine {engine} does not run on {device}; try torch")
    if asked == "auto":
        best: RuntimePrecision = "fp16" if kind == "cuda" else "bf16"
        usable = best in offered and (kind == "cuda" or multiplies_bf16())
        return best if usable else "fp32"
    if asked not in offered:
        raise UsageError(
            f"runtime.precision {asked}: {engine} on {device} computes {', '.join(offered)}"
        )
    return asked


def runs_on(engine: RuntimeEngine, device: str, precision: RuntimePrecision = "auto") -> bool:
    """Whether a runtime uses a torch device, in that precision."""
    kind = device.partition(":")[0]
    if engine == "torch":
        return True
    return kind in _OFFERED[engine] and precision in ("auto", *_OFFERED[engine][kind])


def multiplies_bf16() -> bool:
    """Whether this CPU has bf16 dot products (AVX512-BF16, AMX), and oneDNN may use them: where
    its `ONEDNN_MAX_CPU_ISA` forbids that, it computes bf16 far slower than fp32."""
    if onednn_limit() in _ISAS_WITHOUT_BF16:
        return False
    # Older PyTorch cannot tell.
    known = (getattr(torch.cpu, name, None) for name in _BF16_INSTRUCTIONS)
    return any(has() for has in known if has is not None)
