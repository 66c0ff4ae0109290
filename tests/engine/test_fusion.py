"""Several networks as one: fused vectors, their card, and weights fitted to pairs."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from facerec.cli.evaluation.tables import PAIR_ROWS, cell, table_rows
from facerec.engine import pool
from facerec.engine.building import open_model
from facerec.engine.engine import Engine
from facerec.errors import ProfileError, UsageError
from facerec.evaluation.fusion import fit_weights, network_cosines, pairs_of_people
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.faces import Face, Frame
from facerec.imaging.decode import read_image
from facerec.models import unit_and_norms, unit_vectors
from facerec.models.fusion import Fusion, Part, equal_weights, fused_card, normalised_weights
from facerec.profile.loading import Profile
from tests.conftest import make_card, noise

pytestmark = pytest.mark.numeric


class Projection:
    """An embedder: a chip's mean colour in each cell of a grid, projected at random."""

    arithmetic = "numpy"

    def __init__(self, seed: int, size: int, side: int = 150) -> None:
        self.card = make_card(
            size, name=f"p{seed}", input_height=side, input_width=side, sha256=f"{seed:064d}"
        )
        self._matrix = np.random.default_rng(seed).standard_normal((5 * 5 * 3, size))
        self._side = side

    def embed(self, chips):
        return self.embed_with_norms(chips)[0]

    def embed_with_norms(self, chips):
        return unit_and_norms(self.embed_raw(chips))

    def embed_raw(self, chips):
        step = self._side // 5
        cells = chips.reshape(len(chips), 5, step, 5, step, 3).mean(axis=(2, 4))
        return ((cells.reshape(len(chips), -1) - 127) @ self._matrix).astype(np.float32)


def fuse(weights: tuple[float, ...], *members: Projection, norms=()) -> Fusion:
    card = fused_card([one.card for one in members], weights, norms)
    return Fusion(members, weights, card, norms)


class Nothing:
    def detect(self, images):
        return [[] for _ in images]


@given(st.floats(0.05, 0.95))
def test_a_fused_cosine_is_the_weighted_mean(weight: float) -> None:
    chips = np.stack([noise(150, 150, seed) for seed in range(6)])
    members = Projection(1, 8), Projection(2, 5)
    weights = weight, 1 - weight
    fused = Engine(Nothing(), fuse(weights, *members), batch=4).embed_chips(chips)
    each = [Engine(Nothing(), one, batch=4).embed_chips(chips) for one in members]
    wanted = sum(w * vectors @ vectors.T for w, vectors in zip(weights, each, strict=True))
    np.testing.assert_allclose(fused @ fused.T, wanted, atol=1e-5)
    pairs = np.array([[0, 1], [2, 3]])
    np.testing.assert_allclose(
        network_cosines(fused, [8, 5], pairs) @ np.array(weights),
        [fused[0] @ fused[1], fused[2] @ fused[3]],
        atol=1e-5,
    )


def test_a_network_counts_less_where_its_raw_vector_is_shorter() -> None:
    plain, dim = noise(150, 150, 0), noise(150, 150, 0) // 2 + 64
    members = Projection(1, 8), Projection(2, 5)
    norms = np.linalg.norm(members[1].embed_raw(np.stack([plain, dim])), axis=1)
    assert norms[1] < 0.6 * norms[0]
    fusion = fuse((0.5, 0.5), *members, norms=(None, float(norms[0])))
    engine = Engine(Nothing(), fusion, batch=4)
    vectors = engine.embed_chips(np.stack([plain, dim]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    shares = np.square(vectors[:, 8:]).sum(axis=1)
    np.testing.assert_allclose(shares / (1 - shares), norms / norms[0], rtol=1e-4)
    assert engine.card.fingerprint() != fuse((0.5, 0.5), *members).card.fingerprint()
    raw = engine.apart().embed_chips(np.stack([plain, dim]))
    np.testing.assert_allclose(np.linalg.norm(raw[:, 8:], axis=1), norms, rtol=1e-5)
    np.testing.assert_allclose(engine.fuse(raw), vectors, atol=1e-6)


def test_chips_are_warped_to_each_networks_template() -> None:
    small = Projection(3, 6, side=75)
    points = [(x / 2, y / 2) for x, y in small.card.template.points]
    small.card = small.card.model_copy(
        update={"template": small.card.template.model_copy(update={"points": tuple(points)})}
    )
    chips = np.full((1, 150, 150, 3), 90, np.uint8)
    chips[0, :, 75:] = 200
    fused = Engine(Nothing(), fuse((0.5, 0.5), Projection(1, 8), small), batch=4)
    halved = chips[:, ::2, ::2]
    part = fused.embed_chips(chips)[0, 8:] / np.sqrt(0.5)
    assert part @ small.embed(np.ascontiguousarray(halved))[0] > 0.999


def test_a_card_of_its_own() -> None:
    members = Projection(1, 8), Projection(2, 5)
    one, other = fuse((0.6, 0.4), *members).card, fuse((0.5, 0.5), *members).card
    assert (one.name, one.embedding_size, one.calibration) == ("0.6 p1 + 0.4 p2", 13, None)
    prints = {card.fingerprint() for card in (one, other, members[0].card)}
    assert len(prints) == 3
    assert fuse((0.4, 0.6), *members[::-1]).card.fingerprint() not in prints


def test_weights_that_count_networks_the_same() -> None:
    def card(*distances: float):
        thresholds = dict(zip(("1e-2", "1e-3"), distances, strict=True))
        calibration = {"data": "made", "pairs": 10, "thresholds": thresholds}
        return make_card(calibration=calibration)

    assert equal_weights([card(0.1, 0.09), card(0.8, 0.7)]) == (0.9091, 0.0909)
    with pytest.raises(UsageError, match=r"small has no thresholds at two .* give model\.weights"):
        equal_weights([card(0.1, 0.09), make_card()])


def test_fitted_weights_find_the_network_that_tells_more() -> None:
    generator = np.random.default_rng(0)
    people = generator.standard_normal((300, 16))

    def vectors(spread: float) -> np.ndarray:
        seen = np.repeat(people, 2, axis=0) + spread * generator.standard_normal((600, 16))
        return seen / np.linalg.norm(seen, axis=1, keepdims=True)

    parts = [vectors(0.3), vectors(1.5)]
    fused = np.concatenate([np.sqrt(0.5) * part for part in parts], axis=1).astype(np.float32)
    genuine = np.arange(600).reshape(-1, 2)
    impostor = np.stack([genuine[:, 0], np.roll(genuine[:, 1], 1)], axis=1)
    protocol = PairProtocol(
        "made",
        tuple(map(str, range(600))),
        np.concatenate([genuine, impostor]),
        np.arange(600) < 300,
        np.arange(600) % 5,
    )
    fitted = fit_weights(fused, [Part(16, 0.5), Part(16, 0.5)], protocol)
    assert sum(fitted.weights) == pytest.approx(1, abs=1e-3)
    assert fitted.weights[0] > 0.7
    assert len(fitted.by_fold) == 5
    assert fitted.accuracy.mean > 0.97
    with pytest.raises(UsageError, match="several networks"):
        fit_weights(fused, [Part(32, 1.0)], protocol)


def test_fitting_finds_that_norms_tell_which_faces_are_certain() -> None:
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((150, 32))
    people = np.repeat(np.arange(150), 4)
    certainty = generator.uniform(0.3, 3, (600, 1))

    def seen(noise: float | np.ndarray, norm: float | np.ndarray) -> np.ndarray:
        vectors = truth[people] + noise * generator.standard_normal((600, 32))
        return unit_vectors(vectors) * norm

    raw = np.concatenate([seen(1.2, 1.0), seen(1.5 / certainty, 20 * certainty)], axis=1)
    genuine = np.arange(600).reshape(-1, 2)
    impostor = np.stack([genuine[:, 0], np.roll(genuine[:, 1], 2)], axis=1)
    names = tuple(map(str, people))
    protocol = PairProtocol(
        "made",
        tuple(map(str, range(600))),
        np.concatenate([genuine, impostor]),
        np.arange(600) < 300,
        np.tile(np.arange(300) // 60, 2),
        names,
    )
    parts = [Part(32, 0.5), Part(32, 0.5)]
    fitted = fit_weights(raw.astype(np.float32), parts, protocol)
    assert fitted.norms[0] is None
    assert fitted.norms[1] == pytest.approx(20 * np.median(certainty), rel=0.01)
    record = fitted.record(["a", "b"])
    assert record["fitted_norms"] == {"a": None, "b": fitted.norms[1]}
    assert ("fitted norm of b", cell(fitted.norms[1])) in table_rows([record], PAIR_ROWS)
    even = np.concatenate([raw[:, :32], unit_vectors(raw[:, 32:])], axis=1)
    assert fitted.accuracy.mean > fit_weights(even, parts, protocol).accuracy.mean


def test_pairs_of_people_are_all_of_one_person_and_strangers() -> None:
    people = np.array([0, 1, 0, 2, 0, 1])
    pairs = pairs_of_people(people)
    same = people[pairs[:, 0]] == people[pairs[:, 1]]
    assert {tuple(sorted(pair)) for pair in pairs[same].tolist()} == {
        (0, 2), (0, 4), (2, 4), (1, 5),
    }  # fmt: skip
    assert np.count_nonzero(same) == 4
    assert not same.all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.name=[a, b]", "model.weights=[1]"], r"model\.weights needs 2 entries"),
        (["model.name=[a, b]", "model.card=[c.yaml]"], r"model\.card needs 2 entries"),
        (["model.weights=[1, 2]"], "need several networks"),
        (["model.name=[a, b]", "model.weights=[1, 0]"], "greater than 0"),
        (["model.name=[a, b]", "model.norms=[1]"], r"model\.norms needs 2 entries"),
        (["model.name=[a, b]", "model.norms=[1, 2]"], "null for one network"),
        (["model.norms=[null, 1]"], "need several networks"),
        (["model.name=[a, b]", "model.norms=[null, 1e-300]"], "greater than or equal to"),
        (
            ["model.name=[a, b]", "model.weights=1"],
            r"model\.weights: input should be a list, not 1",
        ),
        (["model.name=[a, b]", "model.weights=[1, .nan]"], "finite number, not nan"),
        (["model.name=[a, b]", "model.weights=[1, .inf]"], "finite number, not inf"),
    ],
)
def test_lists_that_do_not_fit_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Profile.load(settings=settings)


@pytest.mark.parametrize("weights", [(1.0, 1e-9), (1e308, 1e-308), (1.0, 1.0, 1e-5)])
def test_a_network_whose_weight_counts_nothing_is_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="counts nothing beside"):
        normalised_weights(weights)


@pytest.mark.parametrize("weights", [(1e308, 1e308), (5e-324, 5e-324), (0.5, 0.5)])
def test_weights_of_any_size_sum_to_1(weights: tuple[float, float]) -> None:
    assert normalised_weights(weights) == (0.5, 0.5)


def test_cards_that_none_needs_are_no_list() -> None:
    section = Profile.load(settings=["model.name=[a, b]", "model.card=[]"]).model
    assert [one.card for one in section.members()] == [None, None]


def test_cards_of_several_networks_go_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("model:\n  name: [a, b.onnx]\n  card: [null, b.yaml]\n  weights: [1, 2]\n")
    assert Profile.load(path).model.card == (None, Path("b.yaml"))
    alone = Profile.load(path, settings=["model.name=c"]).model
    assert (alone.name, alone.card, alone.weights) == ("c", None, ())


def test_a_list_of_one_is_that_network() -> None:
    assert Profile.load(settings=["model.name=[a]"]).model.only_name == "a"


@pytest.fixture(scope="module")
def fused_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default network beside a small one with random weights."""
    import torch

    from facerec.models.factory import create_network
    from facerec.training.run_folder import write_artefact

    folder = tmp_path_factory.mktemp("fused")
    torch.manual_seed(0)
    card = make_card(16, architecture="test_mobilefacenet", name="tiny")
    write_artefact(folder / "tiny.safetensors", create_network(card).eval(), card, "nothing")
    path = folder / "fused.yaml"
    model = {"name": ["dlib_resnet", str(folder / "tiny.safetensors")], "weights": [3, 1]}
    path.write_text(yaml.safe_dump({"extends": "default", "model": model}))
    return path


def test_the_thresholds_of_a_fusion_that_the_catalogue_knows_are_used(
    fused_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = Profile.load(fused_profile)
    card = open_model(profile).card
    assert card.calibration is None
    known = {"data": "mine", "pairs": 200, "thresholds": {"1e-2": 0.3}}
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path))
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"fusions": {card.fingerprint(): known}}))
    calibration = open_model(profile).card.calibration
    assert calibration is not None
    assert (calibration.data, calibration.thresholds) == ("mine", {"1e-2": 0.3})
    others = profile.model.model_copy(update={"weights": (1.0, 1.0)})
    assert open_model(profile.model_copy(update={"model": others})).card.calibration is None


def test_every_command_takes_them_as_one_network(fused_profile, people, portraits, run, tmp_path):
    gallery = tmp_path / "people.h5"
    options = ("--profile", fused_profile)
    code, _, err = run("embed", people, "-o", gallery, *options)
    assert code == 0, err
    photo = portraits["grace_hopper"]
    code, out, err = run(
        "recognize", "image", photo, "-g", gallery, *options, "--threshold", "0.1", "--json"
    )
    assert (code, json.loads(out)["faces"][0]["name"]) == (0, "grace_hopper"), err
    code, _, err = run("recognize", "image", photo, "-g", gallery, "--json")
    assert code != 0
    assert "was built with 0.75 dlib_resnet + 0.25 tiny" in err
    code, _, err = run("gallery", "convert", gallery, "-g", tmp_path / "x.h5", *options)
    assert (code, "one network is wanted here" in err) == (2, True)


def test_a_stream_embeds_as_single_images(fused_profile, portraits) -> None:
    engine = Engine.from_profile(fused_profile)
    photo = read_image(portraits["grace_hopper"])
    (alone,) = engine.embed([photo])
    streamed = [
        faces
        for _, faces in engine.in_whole_batches().faces([Frame("a", photo), Frame("b", photo)])
    ]
    assert engine.networks == [Part(128, 0.75), Part(16, 0.25)]
    raw = engine.apart().embed([photo])[0][0].embedding[None]
    np.testing.assert_allclose(engine.fuse(raw)[0], alone[0].embedding, atol=1e-4)
    for faces in streamed:
        assert alone[0].embedding @ faces[0].embedding > 0.9999


def test_worker_processes_give_raw_vectors_too(fused_profile, portraits, monkeypatch) -> None:
    monkeypatch.setattr(pool, "_MIN_SECONDS", 0)
    monkeypatch.setattr(pool, "_MIN_FRAMES", 0)
    answered: list[list[list[Face]]] = []
    detect = pool.WorkerPool.detect

    def note(self: pool.WorkerPool, frames: list[Frame]) -> list[list[Face]] | None:
        answer = detect(self, frames)
        assert answer is not None, "a worker has ended"
        answered.append(answer)
        return answer

    monkeypatch.setattr(pool.WorkerPool, "detect", note)
    settings = ["runtime.processes=2", "runtime.threads=2", "runtime.batch=1"]
    engine = Engine.from_profile(Profile.load(fused_profile, settings=settings)).apart()
    photo = read_image(portraits["grace_hopper"])
    (alone,) = engine.embed([photo])
    assert np.linalg.norm(alone[0].embedding) > 1.1, "two networks' unit vectors would have 1"
    end = time.monotonic() + 60
    frames = itertools.takewhile(
        lambda _: len(answered) < 2 and time.monotonic() < end, itertools.repeat(Frame("a", photo))
    )
    for _, (face,) in engine.faces(frames):
        np.testing.assert_allclose(face.embedding, alone[0].embedding, rtol=1e-3, atol=1e-3)
    assert len(answered) >= 2


def test_fit_calibrate_and_use(fused_profile, people, run, tmp_path) -> None:
    pairs = tmp_path / "pairs.txt"
    names = sorted(str(path.relative_to(people)) for path in people.rglob("*.*"))
    mine, other = names[0], names[-1]
    pairs.write_text(f"{mine} {mine} 1\n{mine} {other} 0\n" * 100)
    arguments = ("evaluate", "pairs", "--data", people, "--pairs", pairs, "-p", fused_profile)
    code, _, err = run(
        *arguments, "-m", "dlib_resnet", "--fit-weights", "--set", "model.weights=[]"
    )
    assert (code, "several networks" in err) == (2, True)
    code, out, err = run(*arguments, "--fit-weights", "--json")
    assert code == 0, err
    fitted = json.loads(out.splitlines()[0])
    assert sum(fitted["fitted_weights"].values()) == pytest.approx(1, abs=1e-3)
    assert fitted["fitted"]["accuracy"] == 100
    card = tmp_path / "fused-card.yaml"
    code, out, err = run(*arguments, "--calibrate", card, "--json")
    assert code == 0, err
    engine = Engine.from_profile(Profile.load(fused_profile, settings=[f"model.fused_card={card}"]))
    assert engine.card.calibration is not None
    assert json.loads(out.splitlines()[0])["fingerprint"] == engine.card.fingerprint()
