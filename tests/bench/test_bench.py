"""`facerec bench`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from facerec.bench import search, timing
from facerec.bench.verify import Verdict
from facerec.engine.building import open_embedder
from facerec.profile.loading import Profile
from tests.conftest import Run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    monkeypatch.setattr(search, "PEOPLE", 200)
    monkeypatch.setattr("facerec.bench.pipeline._COUNT", 8)
    monkeypatch.setattr("facerec.bench.machine._SIDE", 64)
    monkeypatch.setattr("facerec.bench.machine._BYTES", 1 << 20)


def lines(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_embedding_is_told_beside_the_machines_own_peak(run: Run) -> None:
    code, out, err = run("bench", "embed", "--set", "runtime.batch=2", "--json")
    assert code == 0, err
    one, two = lines(out)
    arithmetic = open_embedder(Profile.load()).arithmetic
    assert one["part"] == f"dlib_resnet, {arithmetic}, batches of 1"
    assert two["per_second"] == pytest.approx(1000 / two["milliseconds"], rel=1e-2)
    assert one["share"] > 0
    assert one["of"].endswith("GFLOP/s of a fp32 matrix product")


def test_several_networks_are_timed_each_and_searched_as_one(run: Run) -> None:
    fused = [
        "--set", "model.name=[dlib_resnet, dlib_resnet_views]", "--set", "model.weights=[0.5, 0.5]",
        "--set", "runtime.batch=1", "--json",
    ]  # fmt: skip
    code, out, err = run("bench", "embed", *fused)
    assert code == 0, err
    parts = [line["part"].partition(",")[0] for line in lines(out)]
    assert parts == ["dlib_resnet", "dlib_resnet_views"]
    code, out, err = run("bench", "search", *fused)
    assert code == 0, err
    assert "200 people x 256" in out


def test_the_pipeline_tells_where_its_time_goes(run: Run, portraits, tmp_path) -> None:
    photo = portraits["grace_hopper"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / photo.name).write_bytes(photo.read_bytes())
    code, out, err = run("bench", "pipeline", "--data", tmp_path / "photos", "--json")
    assert code == 0, err
    *stages, whole = lines(out)
    assert [stage["part"] for stage in stages] == ["decode", "detect", "warp", "embed"]
    assert sum(stage["share"] for stage in stages) == pytest.approx(1, abs=1e-3)
    assert whole["part"] == "all in one stream"


def test_search_and_detection_are_timed(run: Run) -> None:
    code, out, err = run("bench", "search", "--table")
    assert code == 0, err
    assert "200 people x 128" in out
    code, out, _ = run("bench", "detect", "--set", "runtime.batch=1", "--json")
    assert code == 0
    assert all(line["unit"] == "picture" for line in lines(out))


@pytest.mark.parametrize("part", ["detect", "embed", "pipeline", "search"])
def test_progress_reaches_its_total(part: str, run: Run, monkeypatch) -> None:
    totals, advances = [], []

    @contextmanager
    def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
        totals.append(total)
        yield advances.append

    monkeypatch.setattr("facerec.cli.bench.progress", progress)
    assert run("bench", part, "--set", "runtime.batch=2", "--json")[0] == 0
    assert totals == [100]
    assert sum(advances) == 100
    assert len(advances) > 2


def test_progress_goes_on_within_a_measurement(monkeypatch) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.05)
    advances: list[int] = []
    timer = timing.Timer(2, advances.append)
    timer.seconds_of(lambda: time.sleep(0.005))
    assert sum(advances) == 50
    assert len(advances) > 3
    timer.step()
    assert sum(advances) == 100


@pytest.mark.slow
def test_training_is_timed(run: Run) -> None:
    tiny = ["train.backbone=test_mobilefacenet", "train.batch=4", "train.input=112"]
    settings = [word for one in tiny for word in ("--set", one)]
    code, out, err = run("bench", "train", *settings, "--json")
    assert code == 0, err
    assert lines(out)[0]["per_second"] > 0


@pytest.mark.parametrize(
    ("before", "after", "allowed", "accepted"),
    [(99.1, 99.05, 0.05, True), (99.1, 99.04, 0.05, False), (99.1, 99.3, 0.05, True),
     (99.1167, 99.0167, 0.1, True)],
)  # fmt: skip
def test_a_setting_is_refused_when_it_costs_more_than_it_may(
    before: float, after: float, allowed: float, accepted: bool
) -> None:
    assert Verdict("torch bf16", before, after, 0.0, allowed).accepted is accepted


def test_verify_measures_lfw_twice_and_exits_with_1_when_the_setting_costs_too_much(
    run: Run, tmp_path, portraits, monkeypatch
) -> None:
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path / "home"))
    for name, file in portraits.items():
        for number in (1, 2):
            place = tmp_path / "lfw" / name / f"{name}_{number:04d}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    pairs = tmp_path / "pairs.txt"
    one, other = portraits
    same = "".join(f"{name}\t1\t2\n" for name in portraits)
    different = "".join(f"{one}\t{n}\t{other}\t{n}\n" for n in (1, 2))
    pairs.write_text("2\t2\n" + (same + different) * 2)
    verify = ("bench", "--verify", "--data", tmp_path / "lfw", "--pairs", pairs, "--json",
              "--set", "runtime.precision=bf16", "--set", "runtime.engine=torch")  # fmt: skip
    code, out, err = run(*verify)
    assert code == 0, err
    (record,) = lines(out)
    assert record["arithmetic"] == "torch bf16"
    assert record["fp32"] == record["as_set"] == 100
    assert len(list((tmp_path / "home" / "embeddings").iterdir())) == 2

    def useless(self: object, chips: np.ndarray) -> np.ndarray:
        vectors = np.random.default_rng(0).standard_normal((len(chips), 128), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    for kept in (tmp_path / "home" / "embeddings").iterdir():
        kept.unlink()
    from facerec.models.embedder import TorchEmbedder

    exact = TorchEmbedder.embed
    monkeypatch.setattr(
        TorchEmbedder, "embed",
        lambda self, chips: (useless if "bf16" in self.arithmetic else exact)(self, chips),
    )  # fmt: skip
    code, out, err = run(*verify)
    assert code == 1
    assert "torch bf16 costs" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--verify",), "--verify needs LFW in --data"),
        (("embed", "--verify", "--data", "."), "no part to time"),
        (("--pairs", "x"), "--pairs belongs to --verify"),
        (("pipeline", "--data", "/nowhere/at/all"), "not a folder of photos"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(run: Run, arguments, message) -> None:
    code, _, err = run("bench", *arguments)
    assert code == 2
    assert message in err
