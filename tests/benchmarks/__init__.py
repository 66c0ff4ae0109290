"""Benchmarks: `python -m tests.benchmarks.NAME`; their figures stand in the guides.

Each takes `--isa avx2|avx512|bf16`: it then computes as a processor does that has no more than that
(bf16: all that this one has, which must include AVX512-BF16). ONNX Runtime has no such switch: it
always uses what the processor has. The variables are set here, as this runs before any library
reads them; processes that a benchmark starts inherit them.
"""

from __future__ import annotations

import os
import sys

# PyTorch, oneDNN (PyTorch's), MKL, OpenBLAS (NumPy's), OpenVINO (and the oneDNN inside it).
_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE",
    "OV_CPU_MAX_ISA",
)  # fmt: skip
ISAS: dict[str, dict[str, str]] = {
    "avx2": dict(zip(_VARIABLES, ("avx2", "AVX2", "AVX2", "Haswell", "AVX2"), strict=True)),
    "avx512": dict(
        zip(
            _VARIABLES,
            ("avx512", "AVX512_CORE_VNNI", "AVX512", "SkylakeX", "AVX512_CORE_VNNI"),
            strict=True,
        )
    ),
    "bf16": {},
}


def limit_isa(arguments: list[str]) -> list[str]:
    """Set the variables that `--isa` stands for; returns the other arguments.

    Raises:
        SystemExit: there is no such ISA, or a library that reads the variables is loaded already.
    """
    rest = list(arguments)
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--isa":
            value = value or "".join(arguments[place + 1 : place + 2])
            del rest[place : place + (1 if "=" in argument else 2)]
            if value not in ISAS:
                raise SystemExit(f"--isa {value}: one of {', '.join(ISAS)}")
            if {"numpy", "torch", "openvino"} & set(sys.modules):
                raise SystemExit(f"--isa {value}: a library that it is for is loaded already")
            os.environ.update(ISAS[value])
            if value == "bf16":
                _require_bf16()
            break
    return rest


def require_arguments(doc: str | None, least: int) -> None:
    """End with a benchmark's description where it is given fewer arguments, or asked for help.

    Raises:
        SystemExit: with the description.
    """
    if len(sys.argv) <= least or {"-h", "--help"} & set(sys.argv):
        raise SystemExit(f"{(doc or '').strip()}\n\nAlso: --isa avx2|avx512|bf16")


def _require_bf16() -> None:
    from facerec.models.precision import multiplies_bf16

    if not multiplies_bf16():
        raise SystemExit("--isa bf16: this processor has no AVX512-BF16 and no AMX")


# `python -m tests.benchmarks.NAME` imports this before NAME.
if "--isa" in " ".join(sys.argv) and sys.argv[0] == "-m":
    sys.argv[1:] = limit_isa(sys.argv[1:])
