"""Speed of embedding beside other runtimes: `python -m tests.benchmarks.embedding [--rounds 9]`.

needs `pip install 'facerec[export,openvino]'`. IR-50 has random weights, as its speed does not
depend on them. All see batches of 32 in one process, in turns, so that whatever else the machine
does slows them alike. facerec starts from `uint8` chips and ends with unit vectors; its peers are
given normalised floats. Prints faces a second, from each one's median, and the ratio to ONNX
Runtime; the smallest cosine between facerec's vectors and PyTorch's in fp32, on the two portraits
in 42 views.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from facerec.card import ModelCard
from facerec.engine.building import build_detector, calibration_chips, open_embedder
from facerec.errors import FacerecError
from facerec.imaging.portraits import portrait_files
from facerec.models import Embedder
from facerec.models.factory import load_network
from facerec.models.runtimes.graphs import OPSET, write_onnx
from facerec.profile.loading import Profile
from facerec.training.network import create_backbone
from facerec.training.run_folder import write_artefact
from facerec.weights.store import load_model

BATCH = 32
OURS = {
    "facerec (auto)": (),
    "facerec torch": ("runtime.engine=torch",),
    "facerec openvino": ("runtime.engine=openvino",),
    "facerec int8": ("runtime.precision=int8",),
    "facerec int8 onnxruntime": ("runtime.precision=int8", "runtime.engine=onnxruntime"),
}
REFERENCE = "ONNX Runtime fp32"


def peers(model: str, folder: Path) -> dict[str, Callable[[], object]]:
    """The same network in other hands, each on a normalised batch."""
    import onnxruntime
    import openvino

    card, state = load_model(model)
    path = folder / "peer.onnx"
    write_onnx(
        load_network(card, state), path, card, no_chips(card), "fp32", OPSET, normalise=False
    )
    plain, channels_last = load_network(card, state), load_network(card, state)
    channels_last = channels_last.to(memory_format=torch.channels_last)
    x = torch.randn(BATCH, 3, card.input_height, card.input_width)
    last = x.contiguous(memory_format=torch.channels_last)
    array = x.numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    exact = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.convert_model(path), "CPU", exact)

    def run(network: torch.nn.Module, batch: torch.Tensor) -> None:
        with torch.inference_mode():
            network(batch)

    return {
        REFERENCE: lambda: session.run(None, {"input": array}),
        "OpenVINO fp32": lambda: compiled(array),
        "torch fp32": lambda: run(plain, x),
        "torch fp32 channels-last": lambda: run(channels_last, last),
    }


def no_chips(card: ModelCard) -> np.ndarray:
    return np.empty((0, card.input_height, card.input_width, 3), np.uint8)


def median_seconds(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, called in turns; the first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def ir_50(folder: Path) -> str:
    """A model file of an untrained IR-50."""
    backbone, card = create_backbone(Profile.load("ir50_arcface").train, "ir_50")
    write_artefact(folder / "ir_50.safetensors", backbone, card, "not trained")
    return str(folder / "ir_50.safetensors")


def main() -> None:
    """Print one table a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FACEREC_HOME"] = str(folder)
        for model in ("dlib_resnet", ir_50(folder)):
            measure(model, folder, options.rounds)


def measure(model: str, folder: Path, rounds: int) -> None:
    card, _ = load_model(model)
    faces = calibration_chips(build_detector(Profile.load()), card, list(portrait_files().values()))
    batch = faces[:BATCH]
    exact = open_embedder(
        Profile.load(
            settings=[f"model.name={model}", "runtime.precision=fp32", "runtime.engine=torch"]
        )
    ).embed(faces)
    embedders: dict[str, Embedder] = {}
    refused: dict[str, str] = {}
    for name, settings in OURS.items():
        try:
            profile = Profile.load(settings=[f"model.name={model}", *settings])
            embedders[name] = open_embedder(profile)
        except FacerecError as error:
            refused[name] = str(error)
    ours = {name: (lambda e=embedder: e.embed(batch)) for name, embedder in embedders.items()}
    seconds = median_seconds({**peers(model, folder), **ours}, rounds)
    print(f"\n{card.name}, batches of {BATCH}, {torch.get_num_threads()} threads")
    print(f"{'':26} {'arithmetic':14} {'faces/s':>8} {'ratio':>6} {'cosine':>9}")
    for name, taken in seconds.items():
        ratio = seconds[REFERENCE] / taken
        line = f"{name:26} {'':14} {BATCH / taken:8.1f} {ratio:5.2f}x"
        if name in embedders:
            cosine = (embedders[name].embed(faces) * exact).sum(axis=1).min()
            line = (
                f"{name:26} {embedders[name].arithmetic:14} {BATCH / taken:8.1f} {ratio:5.2f}x "
                f"{cosine:9.6f}"
            )
        print(line, flush=True)
    for name, reason in refused.items():
        print(f"{name:26} none: {reason}", flush=True)


if __name__ == "__main__":
    main()
