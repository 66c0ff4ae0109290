"""The default network in OpenVINO gives PyTorch's vectors, whatever the batch and the threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facerec.card import Augment, ModelCard
from facerec.engine.building import open_embedder
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.factory import create_embedder, load_network
from facerec.models.graph_embedder import GraphEmbedder
from facerec.profile.loading import Profile
from facerec.registry import BACKBONES
from facerec.weights.store import load_model
from tests.conftest import noise

pytest.importorskip("openvino")
pytestmark = pytest.mark.numeric


def graph_embedder(card: ModelCard | None = None, threads: int = 2) -> GraphEmbedder:
    own, state = load_model("dlib_resnet")
    card = card or own
    build = BACKBONES.fact(card.architecture, "graph")
    return GraphEmbedder(load_network(card, state), card, build, precision="fp32", threads=threads)


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    return np.stack([noise(150, 150, number) // (1 + number % 3) for number in range(11)])


def test_it_equals_dlib_on_the_golden_chips(data: Path) -> None:
    golden = np.load(data / "golden" / "dlib_resnet_v1.npz")
    unit = golden["embeddings"] / np.linalg.norm(golden["embeddings"], axis=1, keepdims=True)
    assert np.abs(graph_embedder().embed(golden["chips"]) - unit).max() < 1e-5


@pytest.mark.parametrize(("colour", "augment"), [("RGB", "none"), ("BGR", "flip")])
def test_it_gives_what_pytorch_gives(colour: str, augment: Augment, chips: np.ndarray) -> None:
    card, state = load_model("dlib_resnet")
    card = card.model_copy(update={"colour": colour, "augment": augment})
    exact = create_embedder(card, state, device="cpu", batch=32).embed(chips)
    vectors = graph_embedder(card).embed(chips)
    assert (vectors.dtype, vectors.shape) == (np.float32, exact.shape)
    assert (vectors * exact).sum(axis=1).min() > 0.99999


def test_a_vector_is_the_same_to_the_bit_in_every_batch_and_on_any_threads(
    chips: np.ndarray,
) -> None:
    embedder = graph_embedder()
    together = embedder.embed(chips)
    alone = np.concatenate([embedder.embed(chips[at : at + 1]) for at in range(len(chips))])
    assert np.array_equal(alone, together)
    for other in (embedder.in_whole_batches(), graph_embedder(threads=1)):
        for count in (1, 3, 11):
            assert np.array_equal(other.embed(chips[:count]), together[:count])
    assert embedder.embed(chips[:0]).shape == (0, 128)
    with pytest.raises(ValueError, match="takes"):
        embedder.embed(chips[:, :100])


def chosen(*settings: str) -> Embedder:
    return open_embedder(Profile.load(settings=("runtime.device=cpu", *settings)))


def test_the_default_network_runs_in_openvino_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(chosen(), GraphEmbedder)
    assert isinstance(chosen("runtime.engine=openvino"), GraphEmbedder)
    assert chosen("runtime.precision=bf16").arithmetic == "openvino bf16"
    assert isinstance(chosen("runtime.engine=torch"), TorchEmbedder)
    monkeypatch.setattr("facerec.engine.building.is_installed", lambda: False)
    assert isinstance(chosen(), TorchEmbedder)


def test_its_size_is_the_networks() -> None:
    torch_embedder = chosen("runtime.engine=torch")
    assert isinstance(torch_embedder, TorchEmbedder)
    embedder = graph_embedder()
    assert embedder.parameters() == torch_embedder.parameters()
    assert embedder.multiply_adds() == torch_embedder.multiply_adds() > 2e8
