"""Which card counts: a model file's own, a given one, or none."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from facerec.card import Calibration, ModelCard
from facerec.engine.building import open_embedder, open_model
from facerec.engine.model_cards import carried_card
from facerec.errors import IncompatibleError, MissingError, UsageError
from facerec.faces import Image
from facerec.files.hashing import sha256_of
from facerec.models.exporting import export_model
from facerec.models.factory import create_network
from facerec.models.fusion import Fusion
from facerec.models.runtimes.foreign import CARD_KEY
from facerec.profile.loading import Profile
from facerec.training.run_folder import write_artefact
from facerec.weights.cards import write_card
from tests.conftest import make_card, noise

for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package)

SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".ts": "torchscript", ".safetensors": None}
TWO_RATES = {"1e-2": 0.5, "1e-3": 0.25}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network in each format: `own`, with its card inside, and `bare`, without."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    card = make_card(16, architecture="test_mobilefacenet")
    network = create_network(card).eval()
    write_artefact(folder / "own.safetensors", network, card, "nothing")
    chips = np.stack([noise(150, 150, seed) for seed in range(17)])
    for suffix, to in SUFFIXES.items():
        if to is not None:
            export_model(str(folder / "own.safetensors"), folder / f"own{suffix}", chips, to=to)
    write_bare(folder, network)
    return folder


def write_bare(folder: Path, network: nn.Module) -> None:
    import onnx
    import openvino

    save_file({key: it.numpy() for key, it in network.state_dict().items()},
              folder / "bare.safetensors")  # fmt: skip
    model = onnx.load(folder / "own.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "bare.onnx")
    openvino.save_model(openvino.convert_model(folder / "bare.onnx"), folder / "bare.xml", False)
    save_script(folder / "bare.ts", network)


def save_script(path: Path, network: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.zeros(2, 3, 150, 150))
        torch.jit.save(traced, str(path))


def profile(model: Path | str, card: Path | None = None, **flags: object) -> Profile:
    return Profile.load(flags={"model.name": str(model), "model.card": card, **flags})


def write(path: Path, card: ModelCard, **changes: object) -> Path:
    write_card(path, card.model_copy(update=changes))
    return path


def write_nameless(path: Path, card: ModelCard) -> Path:
    """A card that does not say which weights it is of."""
    path.write_text(card.model_dump_json(exclude={"sha256"}))
    return path


def calibrated(thresholds: dict[str, float]) -> Calibration:
    return Calibration(data="mine", pairs=10, thresholds=thresholds)


def hash_of(model: Path) -> str:
    parts = [model, model.with_suffix(".bin")] if model.suffix == ".xml" else [model]
    return sha256_of(*parts)


def chips() -> Image:
    return noise(150, 150)[None]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_given_card_of_the_same_model_counts(suffix: str, folder: Path, tmp_path: Path) -> None:
    own = open_embedder(profile(folder / f"own{suffix}")).card
    given = write(tmp_path / "card.yaml", own, calibration=calibrated({"1e-3": 0.123}))
    card = open_embedder(profile(folder / f"own{suffix}", given)).card
    assert card.threshold(1e-3) == 0.123
    assert card.fingerprint() == own.fingerprint()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_given_card_that_is_absent_or_of_another_model_is_refused(
    suffix: str, folder: Path, tmp_path: Path
) -> None:
    model = folder / f"own{suffix}"
    with pytest.raises(MissingError, match=r"absent\.yaml: "):
        open_embedder(profile(model, tmp_path / "absent.yaml"))
    own = carried_card(str(model))
    assert own is not None
    other = write(tmp_path / "colour.yaml", own, colour="BGR")
    with pytest.raises(IncompatibleError, match="with another colour"):
        open_embedder(profile(model, other))
    with pytest.raises(MissingError, match="belongs to other weights"):
        open_embedder(profile(model, write(tmp_path / "weights.yaml", own, sha256="1" * 64)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_a_card_asks_for_one_and_takes_it(
    suffix: str, folder: Path, tmp_path: Path
) -> None:
    model = folder / f"bare{suffix}"
    with pytest.raises(UsageError, match=r"carries no model card; give one with --card"):
        open_embedder(profile(model))
    card = make_card(16, architecture="test_mobilefacenet", name="theirs")
    embedder = open_embedder(profile(model, write_nameless(tmp_path / "card.json", card)))
    assert (embedder.card.name, embedder.card.sha256) == ("theirs", hash_of(model))
    reference = open_embedder(profile(folder / "own.safetensors", **{"runtime.precision": "fp32"}))
    cosines = (embedder.embed(chips()) * reference.embed(chips())).sum(axis=1)
    assert cosines.min() >= 0.999


@pytest.mark.parametrize("kind", ["own", "bare"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_networks_of_every_format_are_weighted_by_their_cards(
    suffix: str, kind: str, folder: Path, tmp_path: Path
) -> None:
    own = carried_card(str(folder / "own.safetensors"))
    assert own is not None
    model = folder / f"{kind}{suffix}"
    sha256 = own.sha256 if kind == "own" else hash_of(model)
    halved = {rate: distance / 2 for rate, distance in TWO_RATES.items()}
    cards = [
        write(tmp_path / "a.yaml", own, sha256=sha256, calibration=calibrated(halved)),
        write(tmp_path / "b.yaml", own, calibration=calibrated(TWO_RATES)),
    ]
    names = [str(model), str(folder / "own.safetensors")]
    fusion = open_model(Profile.load(flags={"model.name": names, "model.card": cards}))
    assert isinstance(fusion, Fusion)
    # The first one's thresholds lie half as far apart: its cosines count twice.
    np.testing.assert_allclose(fusion.weights, (2 / 3, 1 / 3), atol=1e-3)


def test_a_card_given_for_a_name_of_the_catalogue_must_be_of_that_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("building", "model_cards"):
        monkeypatch.setattr(
            f"facerec.engine.{module}.require_download", lambda *_: folder / "bare.onnx"
        )
    own = carried_card("w600k_mbf")
    assert own is not None
    other = write(tmp_path / "card.yaml", own, colour="RGB" if own.colour == "BGR" else "BGR")
    with pytest.raises(IncompatibleError, match="with another colour"):
        open_embedder(profile("w600k_mbf", other))


class Other(nn.Module):
    """Gives four dimensions, of any number of values."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, : self.size, None, None]


def test_a_script_of_anybodys_is_held_to_its_card(tmp_path: Path) -> None:
    card = write_nameless(tmp_path / "card.json", make_card(16))
    for size in (16, 15):
        save_script(tmp_path / f"{size}.ts", Other(size))
    assert open_embedder(profile(tmp_path / "16.ts", card)).embed(chips()).shape == (1, 16)
    with pytest.raises(MissingError, match=r"gives \(1, 15, 1, 1\) for 1 faces, but small's card"):
        open_embedder(profile(tmp_path / "15.ts", card)).embed(chips())
    with pytest.raises(MissingError, match=r"absent\.ts: no such model file"):
        open_embedder(profile(tmp_path / "absent.ts", card))


def test_a_damaged_card_inside_a_file_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(folder / "bare.ts"))
        torch.jit.save(script, str(path), _extra_files={CARD_KEY: "{}"})
    with pytest.raises(MissingError, match=r"x\.ts: invalid model card"):
        open_embedder(profile(path))
