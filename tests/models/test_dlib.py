from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from facerec.errors import MissingError, UsageError
from facerec.models.factory import create_embedder
from facerec.weights.catalog import catalogue, find_model
from facerec.weights.dlib import read_dlib_resnet
from facerec.weights.packages import package_file
from facerec.weights.store import load_model, read_model, write_model
from tests.conftest import make_card, noise

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def dat() -> Path:
    record = find_model("dlib_resnet")
    return package_file(record.file.package, record.file.path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_network_equals_dlib_on_the_golden_chips(data: Path) -> None:
    golden = np.load(data / "golden" / "dlib_resnet_v1.npz")
    card, state = load_model("dlib_resnet")
    embedder = create_embedder(card, state, device="cpu", batch=17)
    raw = embedder._network(  # type: ignore[attr-defined]
        (torch.from_numpy(golden["chips"]).permute(0, 3, 1, 2).float() - embedder._mean)  # type: ignore[attr-defined]
        * embedder._scale  # type: ignore[attr-defined]
    )
    assert np.abs(raw.detach().numpy() - golden["embeddings"]).max() < 1e-5
    unit = golden["embeddings"] / np.linalg.norm(golden["embeddings"], axis=1, keepdims=True)
    assert np.abs(embedder.embed(golden["chips"]) - unit).max() < 1e-5


def test_embeddings_are_float32_unit_vectors_of_any_count(engine) -> None:
    for count in (0, 1, 5):
        chips = np.zeros((count, 150, 150, 3), np.uint8)
        for number in range(count):
            chips[number] = noise(150, 150, number)
        vectors = engine.embed_chips(chips)
        assert vectors.shape == (count, 128)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(count), abs=1e-5)


def test_mirror_averaging_sees_no_difference_between_a_face_and_its_mirror_image() -> None:
    card, state = load_model("dlib_resnet")
    card = card.model_copy(update={"augment": "flip"})
    embedder = create_embedder(card, state, device="cpu", batch=8)
    chip = noise(150, 150)
    one, other = embedder.embed(np.stack([chip, chip[:, ::-1]]))
    assert np.abs(one - other).max() < 1e-5


def test_chips_of_another_size_are_refused(engine) -> None:
    with pytest.raises(ValueError, match="takes"):
        engine.embed_chips(np.zeros((1, 112, 112, 3), np.uint8))


def test_bgr_cards_swap_the_channels() -> None:
    card, state = load_model("dlib_resnet")
    swapped = card.model_copy(update={"colour": "BGR"})
    chip = noise(150, 150)[None]
    bgr = create_embedder(swapped, state, device="cpu", batch=8).embed(chip[..., ::-1].copy())
    rgb = create_embedder(card, state, device="cpu", batch=8).embed(chip)
    assert np.abs(bgr - rgb).max() < 1e-5


@pytest.mark.parametrize("keep", [0, 20, 5_000, 20_000_000])
def test_a_truncated_dat_is_one_clear_line(tmp_path: Path, dat: Path, keep: int) -> None:
    short = tmp_path / "short.dat"
    short.write_bytes(dat.read_bytes()[:keep])
    with pytest.raises(MissingError, match=r"short\.dat: [^\n]*dlib[^\n]*$"):
        read_dlib_resnet(short)


def test_the_first_load_is_cached_as_safetensors_with_its_card(home: Path) -> None:
    card, state = load_model("dlib_resnet")
    (cached,) = (home / "models").iterdir()
    with safe_open(cached, framework="np") as file:
        assert '"name":"dlib_resnet"' in file.metadata()["facerec.card"]
    again = load_model("dlib_resnet")
    assert again[0] == card
    assert all(torch.equal(again[1][name], values) for name, values in state.items())


def test_a_damaged_cache_is_made_anew(home: Path) -> None:
    load_model("dlib_resnet")
    (cached,) = (home / "models").iterdir()
    cached.write_bytes(cached.read_bytes()[:1000])
    assert load_model("dlib_resnet")[1]
    assert read_model(cached)[1]


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path / "file"))
    assert load_model("dlib_resnet")[1]


def test_a_changed_package_file_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.dat"
    other.write_bytes(b"not it")
    monkeypatch.setattr("facerec.weights.catalog.package_file", lambda *_, **__: other)
    with pytest.raises(MissingError, match=r"other\.dat: damaged or of another version"):
        load_model("dlib_resnet")


def test_an_absent_package_says_what_to_install() -> None:
    with pytest.raises(MissingError, match="pip install no_such_package"):
        package_file("no_such_package", "x")


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean dlib_resnet"):
        load_model("dlib_resnett")


def test_a_model_file_needs_a_card_and_a_fitting_network(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(MissingError, match="no such model file"):
        load_model(str(path))
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(MissingError, match="not a readable safetensors file"):
        load_model(str(path))
    write_model(path, {"x": np.zeros(1, np.float32)}, make_card(128))
    card, state = load_model(str(path))
    with pytest.raises(MissingError, match="do not fit dlib_resnet"):
        create_embedder(card, state, device="cpu", batch=1)
    with pytest.raises(MissingError, match="no network is called nothing"):
        create_embedder(make_card(architecture="nothing"), state, device="cpu", batch=1)


def test_every_model_names_its_licence_and_the_default_is_calibrated() -> None:
    for name, record in catalogue().items():
        assert record.card.name == name
        assert record.licence == record.card.licence
    assert find_model("dlib_resnet").card.threshold(1e-3) > 0
