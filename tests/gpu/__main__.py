"""Parity, then speed: `python -m tests.gpu` prints the table for the guide *Performance*.

Needs one CUDA device and no data; takes two to five minutes. Ends with 1 where parity does not
hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from facerec.bench.pipeline import bench_pipeline
from facerec.bench.stages import bench_detection, bench_embedding
from facerec.bench.timing import Measurement
from facerec.bench.training import bench_training
from facerec.profile.loading import Profile


def measurements() -> Iterator[Measurement]:
    """What is timed, on the processor beside the GPU."""
    for device in ("cpu", "cuda"):
        settings = [f"runtime.device={device}"]
        yield from bench_detection(Profile.load(settings=settings))
        for precision in ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32",):
            chosen = [*settings, f"runtime.precision={precision}", "runtime.batch=256"]
            yield from bench_embedding(Profile.load(settings=chosen))
        yield from bench_pipeline(Profile.load(settings=settings), None)
    for precision in ("fp32", "bf16"):
        chosen = ["runtime.device=cuda", f"train.precision={precision}", "train.batch=128"]
        yield from bench_training(Profile.load("ir50_arcface", settings=chosen))


def main() -> int:
    """Test, measure, print."""
    if not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 4
    failed = pytest.main(["-q", "-p", "no:cacheprovider", str(Path(__file__).parent)])
    print(f"\n{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    print("| what | a second | milliseconds | share |\n|---|---|---|---|")
    for one in measurements():
        share = "" if one.share is None else f"{one.share:.0%} of {one.of}"
        print(
            f"| {one.part} | {one.per_second:,.0f} | {one.milliseconds:.3f} | {share} |", flush=True
        )
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
