"""Building a profile's detector and embedder, with their runtime, device and precision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from facerec import __version__
from facerec.alignment.warp import VIEWS, warp_to_template
from facerec.card import ModelCard
from facerec.detection import Detector
from facerec.detection.creation import create_detector
from facerec.engine.model_cards import find_card
from facerec.errors import UsageError
from facerec.faces import Image
from facerec.imaging.decode import read_image
from facerec.imaging.photos import AnyPhoto
from facerec.imaging.portraits import portrait_files
from facerec.models import Embedder
from facerec.models.factory import create_embedder, load_network
from facerec.models.fusion import Fusion, equal_weights, fused_card, normalised_weights
from facerec.models.graph_embedder import GraphEmbedder
from facerec.models.precision import choose_precision, runs_on
from facerec.models.runtimes.checks import agree, processor, without_averaging
from facerec.models.runtimes.foreign import ForeignEmbedder
from facerec.models.runtimes.graphs import (
    OPSET,
    Precision,
    keep_parts,
    quantise,
    require_agreement,
    rounded_card,
    write_onnx,
    write_openvino,
)
from facerec.models.runtimes.onnx import (
    embeds_preprocessing,
    load_onnx,
    offers,
)
from facerec.models.runtimes.openvino import import_openvino, load_openvino
from facerec.models.runtimes.torchscript import TorchScriptEmbedder
from facerec.parallel.devices import choose_device
from facerec.parallel.openvino import is_installed
from facerec.parallel.threads import TorchThreads, use_threads
from facerec.profile.loading import Profile
from facerec.profile.schema import RuntimeEngine, RuntimePrecision
from facerec.registry import BACKBONES
from facerec.weights.cards import read_card
from facerec.weights.catalog import catalogue, read_catalogue
from facerec.weights.downloads import require_download
from facerec.weights.folder import cache_folder
from facerec.weights.store import load_model

Write = Callable[[Path, Image], None]
_GAINS = (1.0, 0.6, 1.4)
_MAX_PIXELS = 50_000_000
_CALIBRATION_CHIPS = 84


def build_detector(profile: Profile) -> Detector:
    """The detector that a profile describes.

    Raises:
        MissingError: its weights, its package or the device is missing.
        ProfileError: it has no such option.
    """
    device = choose_device(profile.runtime.device)
    use_threads(profile.runtime.threads)
    return create_detector(profile.detector, device=device)


def open_model(profile: Profile) -> Embedder | Fusion:
    """The network or networks that a profile describes.

    Raises:
        MissingError: weights, a package or the device is missing.
        IncompatibleError: the card of the fused vectors is of another fusion.
        UsageError: the runtime does not run such a model, or not in that precision; or weights
            of several networks are neither given nor follow from their cards.
    """
    section = profile.model
    if isinstance(section.name, str):
        return open_embedder(profile)
    alone = section.members()
    embedders = [open_embedder(profile.model_copy(update={"model": one})) for one in alone]
    weights = (
        normalised_weights(section.weights)
        if section.weights
        else equal_weights([find_card(one) for one in alone])
    )
    card = fused_card([embedder.card for embedder in embedders], weights, section.norms)
    known = read_catalogue().fusions.get(card.fingerprint())
    card = card.model_copy(update={"calibration": known})
    if section.fused_card is not None:
        card.require_same_model(given := read_card(section.fused_card), str(section.fused_card))
        card = given
    return Fusion(tuple(embedders), weights, card, section.norms)


def open_embedder(profile: Profile) -> Embedder:
    """The embedder that a profile of one network describes.

    Raises:
        MissingError: weights, a package or the device is missing, or the card cannot be read.
        IncompatibleError: the profile's card is of another model than the file's own.
        UsageError: the runtime does not run such a model, or not in that precision; or the profile
            has several networks; or neither it nor the model's file has a card.
    """
    section = profile.model
    name = section.only_name
    path = Path(name)
    use_threads(profile.runtime.threads)
    if path.suffix == ".ts":
        plan = _Plan(profile, path.name, ("torch",))
        plan.require_unrounded("fp32")
        card = find_card(section).with_augment(section.augment)
        return TorchScriptEmbedder(path, card, device=plan.device, batch=profile.runtime.batch)
    if path.suffix == ".xml":
        plan = _Plan(profile, path.name, ("openvino",))
        plan.require_unrounded("fp32", "bf16")
        return plan.load(path, find_card(section).with_augment(section.augment))
    record = catalogue().get(name)
    if path.suffix == ".onnx":
        return _open_onnx(path, find_card(section), profile)
    if record is not None and record.file.format == "onnx":
        return _open_onnx(require_download(name, record), find_card(section), profile)
    # Before weights are read or converted: this engine may not run in that precision.
    plan = _Plan(profile, path.name, ("torch", "onnxruntime", "openvino"))
    card, state = load_model(name, section.only_card)
    card = card.with_augment(section.augment)
    graph = BACKBONES.fact(card.architecture, "graph")
    if graph is not None and plan.runs_graphs:
        return GraphEmbedder(
            load_network(card, state), card, graph,
            precision=plan.precision, threads=torch.get_num_threads(),
        )  # fmt: skip
    if plan.engine == "torch":
        return create_embedder(
            card, state, device=plan.device, batch=profile.runtime.batch,
            precision=plan.precision,
            pool=TorchThreads(torch.get_num_threads()) if plan.device == "cpu" else None,
        )  # fmt: skip

    def write(target: Path, chips: Image) -> None:
        network = load_network(card, state)
        convert = write_openvino if plan.engine == "openvino" else write_onnx
        convert(network, target, card, chips, plan.kept, OPSET, normalise=False)

    exact = create_embedder(card, state, device="cpu", batch=profile.runtime.batch)
    return plan.load_converted(card, ".xml" if plan.engine == "openvino" else ".onnx", write, exact)


def _open_onnx(path: Path, card: ModelCard, profile: Profile) -> Embedder:
    card = card.with_augment(profile.model.augment)
    plan = _Plan(profile, path.name, ("onnxruntime", "openvino"))
    if plan.precision != "int8":
        return plan.load(path, card)

    def write(target: Path, chips: Image) -> None:
        quantise(path, target, card, chips, normalise=embeds_preprocessing(path))

    exact = load_onnx(
        path, card, device="cpu", threads=profile.runtime.threads, batch=profile.runtime.batch
    )
    return plan.load_converted(card, ".onnx", write, exact)


class _Plan:
    """A profile's `runtime`, resolved for a model: engine, device and precision.

    Args:
        profile: with `model` and `runtime`.
        model: its name, for errors.
        runtimes: those that can run it, the default one first.

    Attributes:
        kept: precision of a converted file's weights.
        runs_graphs: whether a network that has a graph of OpenVINO runs in it: asked for, or by
            itself on a processor, as it is faster with AVX2, AVX-512 and bf16 alike.

    Raises:
        MissingError: the device or the runtime is missing.
        UsageError: the profile's runtime cannot run the model, or not in that precision.
    """

    def __init__(self, profile: Profile, model: str, runtimes: Sequence[RuntimeEngine]) -> None:
        runtime = profile.runtime
        default: RuntimeEngine = runtimes[0]
        if runtime.precision == "int8" and "openvino" in runtimes:
            default = "openvino"
        self.engine: RuntimeEngine = runtime.engine or default
        self._profile, self._model = profile, model
        if self.engine not in runtimes:
            raise UsageError(
                f"runtime.engine {self.engine}: {model} runs in {' or '.join(runtimes)}"
            )
        if self.engine == "openvino":
            import_openvino(f"runtime.engine {self.engine}")
        self.device = choose_device(runtime.device)
        if runtime.device == "auto" and not (
            runs_on(self.engine, self.device, runtime.precision)
            and (self.engine != "onnxruntime" or offers(self.device))
        ):
            self.device = "cpu"
        self.precision = choose_precision(runtime.precision, self.engine, self.device)
        self.kept: Precision = "int8" if self.precision == "int8" else "fp32"
        chosen = runtime.engine is None and self.engine == "torch" and self.device == "cpu"
        self.runs_graphs = self.precision in ("fp32", "bf16") and (
            self.engine == "openvino" or (chosen and is_installed())
        )

    def require_unrounded(self, *offered: RuntimePrecision) -> None:
        """Refuse a precision that an exported file cannot run in.

        Raises:
            UsageError: the profile's precision is none of `offered`.
        """
        asked = self._profile.runtime.precision
        if asked not in ("auto", *offered):
            raise UsageError(f"runtime.precision {asked}: {self._model} is run in {offered[0]}")

    def load(self, path: Path, card: ModelCard) -> Embedder:
        """A file's embedder.

        Raises:
            MissingError: it cannot be read.
            UsageError: it is an export that computes wrongly on this processor.
        """
        runtime = self._profile.runtime
        if self.engine == "openvino":
            embedder = load_openvino(
                path, card, threads=runtime.threads, batch=runtime.batch, precision=self.precision
            )
        else:
            embedder = self._load_onnx(path, card, self.device)
            if self.device == "mps" and runtime.device == "auto":
                # CoreML computes differently on each of Apple's chips.
                exact = self._load_onnx(path, card, "cpu")
                embedder = embedder if agree(exact, embedder) else exact
        embedder.require_right_here()
        return embedder

    def _load_onnx(self, path: Path, card: ModelCard, device: str) -> ForeignEmbedder:
        runtime = self._profile.runtime
        return load_onnx(path, card, device=device, threads=runtime.threads, batch=runtime.batch)

    def load_converted(
        self, card: ModelCard, suffix: str, write: Write, exact: Embedder
    ) -> Embedder:
        """The embedder of a converted model, cached in facerec's cache folder.

        Args:
            suffix: of the cached file.
            write: converts the model, given calibration chips.
            exact: the model in fp32, as reference.

        Raises:
            UsageError: the converted model's vectors differ too much.
        """
        target = "openvino" if self.engine == "openvino" else "onnx"
        rounded = rounded_card(card, target, self.kept)
        identity = without_averaging(rounded).fingerprint()
        # Compared on this processor: the cache folder may be one for many machines.
        parts = (card.name, identity, self.kept, processor(), __version__)
        name = f"{'-'.join(parts)}{suffix}".replace("/", "_")
        kept = cache_folder() / "runtimes" / name
        if not kept.is_file():
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / name
                # The default detector: the cached file must not depend on the profile's.
                detector = build_detector(Profile())
                chips = calibration_chips(detector, card, list(portrait_files().values()))
                write(made, chips)
                require_agreement(
                    exact, self.load(made, rounded), chips, self.precision,
                    f"{self._model} in runtime.precision {self.precision}, {self.engine}",
                )  # fmt: skip
                keep_parts(Path(folder), kept)
        return self.load(kept, rounded)


def calibration_chips(detector: Detector, card: ModelCard, photos: Sequence[AnyPhoto]) -> Image:
    """Calibration chips for int8: `(N, H, W, 3) uint8` RGB real faces, N >= 42.

    The faces of few photos are augmented: views, flips, darker and brighter.

    Raises:
        UsageError: the photos show no face.
    """
    size = (card.input_height, card.input_width)
    images = [read_image(photo, _MAX_PIXELS) for photo in photos]
    found = list(zip(images, detector.detect(images), strict=True))
    if not any(faces for _, faces in found):
        raise UsageError(f"{photos[0] if photos else 'no photo'}: no face there")
    chips: list[Image] = []
    for view, mirrored, gain in product(VIEWS, (False, True), _GAINS):
        template = view.template(card.template, size)
        for image, faces in found:
            seen = warp_to_template(image, faces, template, size)[:, :, :: -1 if mirrored else 1]
            chips += list(np.clip(seen * gain, 0, 255).astype(np.uint8))
        if len(chips) >= _CALIBRATION_CHIPS:
            break
    return np.stack(chips)
