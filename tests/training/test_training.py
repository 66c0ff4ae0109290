"""`facerec train` on synthetic faces and tiny networks."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

from facerec.imaging.draw import write_image
from facerec.models.factory import create_network
from facerec.profile.loading import Profile, shipped_profiles
from facerec.profile.schema import TrainSection
from facerec.training.callbacks import Callbacks
from facerec.training.checkpoint import read_tensors
from facerec.training.optimisation import backbone_groups, create_optimizer, learning_rate
from facerec.training.run import Run, train
from facerec.weights import store
from facerec.weights.store import read_model
from tests.conftest import make_card, noise, spawn

TINY = {
    "train.backbone": "test_ir", "train.input": 32, "train.embedding_size": 16, "train.batch": 8,
    "train.max_steps": 4, "train.lr": 0.05, "train.log_every": 1, "data.synthetic": "true",
    "data.synthetic_people": 12, "data.synthetic_images": 6, "runtime.threads": 1,
}  # fmt: skip
TWINS = {
    "ir_50": "test_ir",
    "ir_101": "test_ir",
    "ir_se_50": "test_ir_se",
    "mobilenet_v2": "test_mobilenet_v2",
    "mobilefacenet": "test_mobilefacenet",
    "mobilefacenet_relu": "test_mobilefacenet",
}
RECIPES = [name for name in shipped_profiles() if Profile.load(name).train != TrainSection()]
"""Those that are no more than recognition's would all train the default network alike."""
FROM_RANDOM = [name for name in RECIPES if Profile.load(name).train.initial is None]


def tiny(out: Path, *extra: object, **changes: object) -> list[str]:
    """A command line that trains a tiny network; changes use `__` for the dot."""
    values = {**TINY, **{key.replace("__", "."): value for key, value in changes.items()}}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return ["train", "--out", str(out), *settings, *map(str, extra)]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def log(out: Path, event: str) -> list[dict]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("recipe", FROM_RANDOM)
def test_every_recipe_trains_with_a_tiny_twin_of_its_network(recipe, run, tmp_path):
    twin = TWINS[Profile.load(recipe).train.backbone]
    code, out, err = run(
        *tiny(
            tmp_path / "run",
            "--profile", recipe,
            train__backbone=twin, train__max_steps=2, train__lr=0.01,
        )
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["steps"] == 2
    card, state = read_model(tmp_path / "run" / "model.safetensors")
    assert card.architecture == twin
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_as_it_is(recipe, run, tmp_path):
    # The last step embeds every image, which takes a network of full size a third of a second each.
    few = (
        "train.max_steps=2", "train.batch=4",
        "data.synthetic=true", "data.synthetic_people=12", "data.synthetic_images=3",
    )  # fmt: skip
    settings = [part for setting in few for part in ("--set", setting)]
    code, out, err = run("train", "--out", tmp_path / "run", "--profile", recipe, *settings)
    assert code == 0, err
    assert json.loads(out)["steps"] == 2


def test_the_model_learns_and_every_other_command_can_use_it(run, tmp_path):
    code, out, err = run(
        *tiny(
            tmp_path / "run",
            train__max_steps=90, data__validation=0.3, data__synthetic_images=10, train__scale=16,
        )
    )  # fmt: skip
    assert code == 0, err
    losses = [line["loss"] for line in log(tmp_path / "run", "train")]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    # Twelve people: guessing pairs "different" scores below 95.
    assert log(tmp_path / "run", "validation")[-1]["accuracy"] > 97
    assert json.loads(out)["calibrated"]

    from facerec.engine.engine import Engine

    model = tmp_path / "run" / "model.safetensors"
    engine = Engine.from_profile(Profile.load(settings=[f"model.name={model}"]))
    assert engine.card.calibration is not None
    assert engine.card.training.startswith("arcface (s 16) on 84 images of 12 people, 90 steps")
    vectors = engine.embed_chips(np.zeros((2, 32, 32, 3), np.uint8))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_loss_that_ties_the_norm_to_quality_leaves_the_usual_norms_in_the_card(run, tmp_path):
    settings = {"train__loss": "magface", "train__lr": 0.01, "data__validation": 0.4}
    code, _, err = run(*tiny(tmp_path / "run", **settings))
    assert code == 0, err
    card, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert card.norms is not None
    assert (card.norms.loss, card.norms.data) == ("magface", f"validation images of {card.name}")
    low, median = card.norms.usual
    assert 0 < low < median


def test_the_folder_says_how_the_run_came_to_be(run, tmp_path):
    assert run(*tiny(tmp_path / "run"))[0] == 0
    described = (tmp_path / "run" / "profile.yaml").read_text()
    assert "backbone: test_ir" in described
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    steps = log(tmp_path / "run", "train")
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert {"loss", "accuracy", "learning_rate", "images_per_second", "waiting"} <= steps[0].keys()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4]
    assert any(tag.startswith("batch") for tag in events.Tags()["images"])
    assert list((tmp_path / "run" / "tensorboard").rglob("tensors.tsv"))


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"train__optimizer": "adamw", "train__ema": 0.9, "train__accumulate": 2},
        {"train__share": 0.4, "train__loss": "curricularface"},
        {"train__loss": "softmax", "train__centre_weight": 0.1, "train__precision": "bf16"},
        {"train__loss": "adaface", "train__sub_centres": 2, "train__optimizer": "adam",
         "train__share": 0.5},
    ],
    ids=["sgd", "adamw-ema", "sampled", "centres", "sampled-adam"],
)  # fmt: skip
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_never_stopped(recipe, run, tmp_path):
    assert run(*tiny(tmp_path / "whole", train__max_steps=6, **recipe))[0] == 0
    assert run(*tiny(tmp_path / "parts", train__max_steps=3, **recipe))[0] == 0
    assert run(*tiny(tmp_path / "parts", "--resume", train__max_steps=6, **recipe))[0] == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    different = [name for name in whole if not torch.equal(whole[name], parts[name])]
    assert different == []


def test_the_centres_of_center_loss_move_at_their_own_rate(run, tmp_path):
    for weight in (0.003, 0.3):
        settings = {"train__loss": "softmax", "train__centre_weight": weight, "train__max_steps": 1}
        assert run(*tiny(tmp_path / str(weight), **settings))[0] == 0
    few, many = (checkpoint(tmp_path / name, 1)["centres/weight"] for name in ("0.003", "0.3"))
    assert few.any()
    assert torch.equal(few, many)


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "facerec", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_at_any_time_it_loses_only_the_steps_since_the_last_checkpoint(run, tmp_path):
    options = {"train__max_steps": 40, "train__save_every": 4}
    process = start(tiny(tmp_path / "killed", **{**options, "train__max_steps": 4000}))
    wait_for(tmp_path / "killed" / "checkpoints" / "step-000000008", process)
    process.kill()
    process.communicate()
    code, _, err = run(*tiny(tmp_path / "killed", "--resume", **options))
    assert code == 0, err
    assert run(*tiny(tmp_path / "whole", **options))[0] == 0
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_terminated_it_saves_the_step_it_was_at(tmp_path):
    process = start(tiny(tmp_path / "run", train__max_steps=100_000, train__save_every=100_000))
    wait_for(tmp_path / "run" / "log.jsonl", process)
    while len(log(tmp_path / "run", "train")) < 3:
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on from there" in err
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert int(saved.removeprefix("step-")) >= 3


def test_old_checkpoints_go_and_the_newest_stay(run, tmp_path):
    assert run(*tiny(tmp_path / "run", train__save_every=1, train__keep=2))[0] == 0
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-000000003", "step-000000004"]


def torchrun(processes: int, arguments: list[str]) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            "--nproc-per-node", str(processes), "-m", "facerec", *arguments,
        ],
        capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# Neither dropout nor batch statistics, which differ between ranks by design.
PLAIN = {
    "train__initial": "dlib_resnet", "train__lr": 0.003, "train__scale": 8, "train__clip": 1.0,
    "data__synthetic_people": 10, "train__optimizer": "sgd",
}  # fmt: skip


def checkpoint(out: Path, step: int) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors, whole, without the random state of each rank."""
    folder = out / "checkpoints" / f"step-{step:09d}"
    entries = FileSystemReader(folder).read_metadata().state_dict_metadata
    tensors = {
        key: torch.zeros(entry.size, dtype=entry.properties.dtype)
        for key, entry in entries.items()
        if not key.startswith("random")
    }
    load(tensors, checkpoint_id=folder)
    return tensors


def test_two_ranks_equal_one_with_twice_the_batch(run, tmp_path):
    torchrun(2, tiny(tmp_path / "two", **PLAIN, train__batch=3, train__max_steps=2))
    assert run(*tiny(tmp_path / "one", **PLAIN, train__batch=6, train__max_steps=2))[0] == 0
    one, two = checkpoint(tmp_path / "one", 2), checkpoint(tmp_path / "two", 2)
    assert one.keys() == two.keys()
    assert {"classifier/weight", "optimizer/head/0/momentum_buffer"} <= one.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-6, msg=name)

    # Ten people, five on each rank: three ranks and one load the same centres.
    resume = tiny(tmp_path / "two", "--resume", **PLAIN, train__batch=3, train__max_steps=2)

    def unchanged() -> bool:
        again = checkpoint(tmp_path / "two", 2)
        return all(torch.equal(again[name], two[name]) for name in two)

    torchrun(3, resume)
    assert unchanged()
    assert run(*resume)[0] == 0
    assert unchanged()


def test_a_loss_that_is_not_finite_goes_back_to_the_last_good_step(run, tmp_path, monkeypatch):
    forward = Run._forward
    calls = []

    def poisoned(self, chips, people, targets):
        loss, accuracy = forward(self, chips, people, targets)
        calls.append(self.state.step)
        return (loss * math.nan if len(calls) == 4 else loss), accuracy

    monkeypatch.setattr(Run, "_forward", poisoned)
    code, _, err = run(*tiny(tmp_path / "run", train__max_steps=6, train__save_every=2))
    assert code == 0
    assert "step 3: the loss is not finite (images such as synthetic image" in err
    assert "back to step-000000002" in err
    # Steps 0 to 3, then from 2 again.
    assert calls == [0, 1, 2, 3, 2, 3, 4, 5]
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


@pytest.mark.parametrize("step", [3, 5])
def test_gradients_that_are_not_finite_reach_no_checkpoint_and_no_model(
    step, run, tmp_path, monkeypatch
):
    forward = Run._forward
    calls = []

    def poisoned(self, chips, people, targets):
        loss, accuracy = forward(self, chips, people, targets)
        calls.append(self.state.step)
        if calls.count(step) == 1 and calls[-1] == step:
            loss.register_hook(lambda gradient: gradient * math.nan)
        return loss, accuracy

    monkeypatch.setattr(Run, "_forward", poisoned)
    code, _, err = run(*tiny(tmp_path / "run", train__max_steps=6, train__save_every=2))
    assert code == 0
    assert f"step {step}: the weights are not finite (images such as synthetic image" in err
    assert f"back to step-{step - 1:09d}" in err
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())
    for saved in (tmp_path / "run" / "checkpoints").iterdir():
        assert all(value.isfinite().all() for value in read_tensors(saved, "backbone/").values())


def test_losses_that_are_not_finite_far_apart_do_not_end_the_run(run, tmp_path, monkeypatch):
    forward = Run._forward
    calls = []

    def poisoned(self, chips, people, targets):
        loss, accuracy = forward(self, chips, people, targets)
        calls.append(self.state.step)
        return (loss * math.nan if len(calls) % 3 == 0 else loss), accuracy

    monkeypatch.setattr(Run, "_forward", poisoned)
    code, _, err = run(*tiny(tmp_path / "run", train__max_steps=16, train__save_every=1))
    assert code == 0, err
    assert err.count("the loss is not finite") == 7


def test_a_loss_that_is_never_finite_ends_the_run_with_advice(run, tmp_path, monkeypatch):
    forward = Run._forward

    def poisoned(self, chips, people, targets):
        loss, accuracy = forward(self, chips, people, targets)
        return loss * math.nan, accuracy

    monkeypatch.setattr(Run, "_forward", poisoned)
    code, _, err = run(*tiny(tmp_path / "run"))
    assert code == 3
    assert "lower train.lr or set train.clip" in err.splitlines()[-1]


@contextmanager
def full_disk(self, path, mode):
    """In the place of torch's: a file that takes no byte."""
    with open("/dev/full", mode) as file:  # noqa: PTH123
        yield file


@contextmanager
def hidden_full_disk(self, path, mode):
    """As the error of another rank, which comes without what led to it."""
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
    yield


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("opened", [full_disk, hidden_full_disk])
def test_a_disk_that_is_full_of_checkpoints_is_said_in_one_line(opened, run, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    full = usage._replace(free=0) if opened is hidden_full_disk else usage
    monkeypatch.setattr(FileSystem, "create_stream", opened)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    code, out, err = run(*tiny(tmp_path / "run"))
    assert (code, out) == (2, "")
    folder = tmp_path / "run" / "checkpoints"
    told = f"facerec: {folder}/step-000000000: cannot be written: No space left on device"
    assert err.splitlines()[-1] == told
    assert "Traceback" not in err
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_log_that_cannot_be_written_is_told_of_once_and_training_goes_on(run, tmp_path):
    lines = tmp_path / "run" / "log.jsonl"
    lines.parent.mkdir()
    lines.symlink_to("/dev/full")
    code, out, err = run(*tiny(tmp_path / "run"))
    assert code == 0, err
    assert json.loads(out)["steps"] == 4
    told = f"{lines}: cannot be written: No space left on device; the run goes on without this log"
    assert err.count("cannot be written") == err.count(told) == 1
    (events,) = (tmp_path / "run" / "tensorboard").glob("events.*")
    assert events.stat().st_size > 1000


@pytest.mark.parametrize("after", [0, 1, 6])
def test_a_board_that_cannot_be_written_is_told_of_once_and_training_goes_on(
    after, run, tmp_path, monkeypatch
):
    write, written = RecordWriter.write, []

    def until_full(self, data):
        written.append(data)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", until_full)
    code, _, err = run(
        *tiny(
            tmp_path / "run", train__max_steps=16, data__validation=0.3, train__histograms_every=3
        )
    )
    assert code == 0, err
    board = tmp_path / "run" / "tensorboard"
    told = f"{board}: cannot be written: No space left on device; the run goes on without this log"
    assert err.count("cannot be written") == err.count(told) == 1
    assert "Traceback" not in err
    assert len(log(tmp_path / "run", "train")) == 16


def test_where_no_checkpoint_can_be_written_is_said_in_one_line(run, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.parent.mkdir()
    folder.write_text("a file")
    code, _, err = run(*tiny(tmp_path / "run"))
    assert code == 2, err
    assert f"{folder}/step-000000000: cannot be written: File exists" in err.splitlines()[-1]


def test_ctrl_c_while_a_checkpoint_is_written_is_an_interruption(run, tmp_path, monkeypatch):
    def interrupted(self, path, mode):
        raise KeyboardInterrupt

    monkeypatch.setattr(FileSystem, "create_stream", interrupted)
    code, _, err = run(*tiny(tmp_path / "run"))
    assert (code, err.splitlines()[-1]) == (130, "facerec: interrupted")


@pytest.mark.parametrize("part", [".metadata", "__0_0.distcp"])
@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_checkpoint_is_refused_in_one_line(part, left, run, tmp_path):
    assert run(*tiny(tmp_path / "run", train__keep=1))[0] == 0
    damaged = tmp_path / "run" / "checkpoints" / "step-000000004" / part
    damaged.write_bytes(damaged.read_bytes()[:left])
    for command in (tiny(tmp_path / "run", "--resume"), ("export", tmp_path / "run")):
        code, _, err = run(*command)
        assert code == 4, err
        assert f"{damaged.parent}: " in err.splitlines()[-1]
        assert "CheckpointException" not in err
        assert "Traceback" not in err


def test_an_error_stops_the_threads_that_load_data(tmp_path, monkeypatch):
    events = []

    def batches(self):
        try:
            yield None
        finally:
            events.append("closed")

    def broken(self, batch, rate):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Run, "_batches", batches)
    monkeypatch.setattr(Run, "_step", broken)
    settings = [f"{key}={value}" for key, value in TINY.items()]
    with pytest.raises(RuntimeError) as raised:
        train(Profile.load(settings=settings), "tiny", tmp_path / "run", Callbacks(), resume=False)
    # It holds the frames that it passed, and with them a generator that nobody closed.
    assert str(raised.value) == "out of memory"
    assert events == ["closed"]


def test_an_evaluation_that_fails_is_told_and_training_goes_on(run, tmp_path):
    missing = f"lfw --data {tmp_path}/nowhere"
    code, out, err = run(*tiny(tmp_path / "run", train__evaluate=f'["{missing}"]'))
    assert code == 0
    assert "nowhere" in err
    assert not json.loads(out)["calibrated"]
    assert weights(tmp_path / "run")


def write_pairs(folder: Path) -> Path:
    """Chips of two synthetic people, and 240 pairs of them in a list."""
    from facerec.training.data.synthetic import Synthetic

    made = Synthetic(12, 12, 32, 32, seed=0)
    for index, label in enumerate(made.labels):
        write_image(folder / str(label) / f"{index}.png", made.image(index))
    lines = []
    for index, label in enumerate(made.labels[:-1]):
        lines.append(f"{label}/{index}.png {label}/{index - index % 12}.png 1")
        other = (index + 12) % 144
        lines.append(f"{label}/{index}.png {made.labels[other]}/{other}.png 0")
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_evaluations_on_the_way_choose_the_best_and_calibrate_the_last(run, tmp_path):
    chips = write_pairs(tmp_path / "chips")
    command = f"pairs --data {chips} --pairs {chips}/pairs.txt --aligned"
    code, out, err = run(
        *tiny(
            tmp_path / "run",
            train__evaluate=f'["{command}"]', train__evaluate_every=0.5, train__max_steps=6,
        )
    )  # fmt: skip
    assert code == 0, err
    record = json.loads(out)
    assert record["calibrated"], err
    assert "step 4: evaluating pairs\n" in err
    assert re.search(r"step 4: pairs \d+\.\d+ \(\d+ s\)\n", err)
    figures = [line["pairs"]["accuracy"] for line in log(tmp_path / "run", "evaluate")]
    assert len(figures) == 2
    assert record["best"] == max(figures)
    assert read_model(tmp_path / "run" / "best.safetensors")[0].architecture == "test_ir"
    card, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert "1e-2" in card.calibration.thresholds


def test_at_a_terminal_an_evaluation_shows_for_how_long_it_runs(run, tmp_path, monkeypatch):
    figures = [{"protocol": "pairs", "accuracy": 50.0}]
    monkeypatch.setattr("facerec.training.evaluation.run_evaluation", lambda *_, **__: figures)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    code, _, err = run(*tiny(tmp_path / "run", train__evaluate="[pairs]", train__max_steps=1))
    assert code == 0, err
    assert re.search(r"step 1: evaluating pairs .*\d+:\d\d:\d\d", err)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ({"data__synthetic": "false"}, 2, "no training data: give --data"),
        ({"data__train": "nowhere", "data__synthetic": "false"}, 4, "nowhere: no training data"),
        ({"train__backbone": "ir_5"}, 4, "no network is called ir_5; did you mean ir_50?"),
        ({"train__batch": 100}, 2, "72 images, but one step takes 100"),
        ({"data__min_images": 7}, 2, "0 of 12 people are left"),
        ({"train__share": 0.5, "train__loss": "softmax"}, 2, "needs a margin loss"),
        ({"train__initial": "nothing.safetensors"}, 4, "nothing.safetensors: no such model file"),
        ({"data__people": "nobody.txt"}, 2, "data.people: nobody.txt: No such file or directory"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(arguments, code, told, run, tmp_path):
    found, out, err = run(*tiny(tmp_path / "run", **arguments))
    assert (found, out) == (code, "")
    assert told in err.splitlines()[-1]
    assert "Traceback" not in err


def write_photos(folder: Path, *sizes: tuple[int, int]) -> Path:
    """Two people with a photo of each size (height, width)."""
    for person in ("ann", "bob"):
        for number, size in enumerate(sizes):
            write_image(folder / person / f"{number}.png", noise(*size, seed=number))
    return folder


PHOTOS = [(40, 60), (64, 48), (50, 80), (48, 64), (33, 90)]


def test_photos_that_are_not_aligned_are_refused_unless_the_profile_says_otherwise(run, tmp_path):
    data = write_photos(tmp_path / "photos", *PHOTOS)
    settings = {"data__train": data, "data__synthetic": "false", "train__max_steps": 1}
    code, _, err = run(*tiny(tmp_path / "run", **settings))
    assert code == 2
    assert "facerec align" in err
    assert "data.check_aligned=false" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    code, _, err = run(*tiny(tmp_path / "run", **settings, data__check_aligned="false"))
    assert code == 0, err
    assert "aligned faces" not in err


def test_faces_that_may_not_be_aligned_are_warned_of_and_trained_on(run, tmp_path):
    data = write_photos(tmp_path / "faces", *[(112, 96)] * 4)
    settings = {"data__train": data, "data__synthetic": "false", "train__max_steps": 1}
    code, _, err = run(*tiny(tmp_path / "run", **settings))
    assert code == 0, err
    assert "may not be aligned faces" in err


def test_a_folder_with_a_run_is_not_trained_into_again(run, tmp_path):
    assert run(*tiny(tmp_path / "run"))[0] == 0
    code, _, err = run(*tiny(tmp_path / "run"))
    assert code == 2
    assert "--resume goes on with it" in err
    code, _, err = run(*tiny(tmp_path / "run", "--resume", train__scale=8))
    assert code == 2
    assert "began with train.scale 64.0, not 8.0" in err
    code, _, err = run(*tiny(tmp_path / "other", "--resume"))
    assert code == 2
    assert "holds no run" in err


def test_a_folder_with_checkpoints_of_another_run_is_not_trained_into(run, tmp_path):
    assert run(*tiny(tmp_path / "run"))[0] == 0
    (tmp_path / "run" / "profile.yaml").unlink()
    code, _, err = run(*tiny(tmp_path / "run", train__scale=8))
    assert code == 2
    assert "holds checkpoints of a run without its profile.yaml; choose another --out" in err


def test_a_model_that_a_full_disk_does_not_take_is_an_error_in_one_line(run, tmp_path, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    code, _, err = run(*tiny(tmp_path / "run"))
    model = tmp_path / "run" / "model.safetensors"
    assert code == 2
    assert f"facerec: {model}: cannot be written: Error while ser" in err.splitlines()[-1]
    assert "No space left on device" in err.splitlines()[-1]


def test_a_wrong_path_to_the_data_leaves_the_folder_free(run, tmp_path):
    out = tmp_path / "run"
    code, _, err = run(*tiny(out, data__synthetic="false", data__train=tmp_path / "nowhere"))
    assert code == 4, err
    assert not out.exists()
    assert run(*tiny(out))[0] == 0


def test_training_starts_from_a_model_and_keeps_its_preprocessing(run, tmp_path):
    assert run(*tiny(tmp_path / "first"))[0] == 0
    first = tmp_path / "first" / "model.safetensors"
    code, _, err = run(
        *tiny(tmp_path / "second", train__initial=first, train__lr=1e-9, train__input=64)
    )
    assert code == 0, err
    card, state = read_model(tmp_path / "second" / "model.safetensors")
    assert card.input_height == 32
    before = weights(tmp_path / "first")
    torch.testing.assert_close(
        state["body.0.res_layer.1.weight"], before["body.0.res_layer.1.weight"]
    )


def test_weight_decay_spares_every_normalisation_layer_whatever_its_name():
    network = create_network(
        make_card(8, architecture="test_ir_se", input_height=32, input_width=32)
    )
    section = TrainSection(optimizer="sgd_bn")
    decayed, spared = create_optimizer(backbone_groups(network, section), section).param_groups
    norms = [
        parameter
        for module in network.modules()
        if "BatchNorm" in type(module).__name__
        for parameter in module.parameters()
    ]
    assert {id(each) for each in spared["params"]} == {id(each) for each in norms}
    assert spared["weight_decay"] == 0
    assert decayed["weight_decay"] == section.weight_decay
    together = len(decayed["params"]) + len(spared["params"])
    assert together == len(list(network.parameters()))


def test_learning_rates_follow_their_schedules():
    steps = TrainSection(lr=1.0, schedule="steps", steps=(2, 3), epochs=4, warmup=0)
    assert [learning_rate(10 * e, 10, steps) for e in range(4)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = TrainSection(lr=1.0, schedule="cosine", epochs=4)
    assert [learning_rate(10 * e, 10, cosine) for e in (0, 2, 4)] == pytest.approx([1, 0.5, 0])
    polynomial = TrainSection(lr=1.0, schedule="polynomial", power=2, epochs=4)
    assert [learning_rate(10 * e, 10, polynomial) for e in (0, 2, 4)] == pytest.approx([1, 0.25, 0])
    warm = TrainSection(lr=1.0, schedule="steps", warmup=1)
    assert [learning_rate(step, 10, warm) for step in (0, 4, 9, 10)] == pytest.approx(
        [0.1, 0.5, 1, 1]
    )


def test_the_command_says_what_is_missing_before_anything_is_loaded():
    done = spawn("train", "--resume")
    assert done.returncode == 2
    assert "--resume needs --out" in done.stderr


def test_interrupted_it_leaves_a_model_and_finish_makes_it_whole(run, tmp_path):
    held_out = {"data__validation": 0.3, "data__synthetic_images": 8}
    process = start(tiny(tmp_path / "run", train__max_steps=100_000, **held_out))
    wait_for(tmp_path / "run" / "log.jsonl", process)
    while len(log(tmp_path / "run", "train")) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume --finish evaluates and calibrates it" in err
    left, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert left.calibration is None

    code, out, err = run("train", "--out", tmp_path / "run", "--resume", "--finish")
    assert code == 0, err
    assert json.loads(out)["calibrated"]
    card, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert (card.sha256, card.name) == (left.sha256, "default")
    assert card.calibration.thresholds


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_killed_run_becomes_a_model_by_export(ema, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*tiny(tmp_path / "run", train__ema=ema, train__save_every=1))[0] == 0
    trained = weights(tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    code, out, err = run("export", "run")
    assert code == 0, err
    assert json.loads(out)["checkpoint"].endswith("step-000000004")
    card, state = read_model(tmp_path / "run.safetensors")
    assert all(torch.equal(state[name], trained[name]) for name in trained)
    assert "4 steps" in card.training
    assert run("export", "run/checkpoints/step-000000003", "-o", "three.safetensors")[0] == 0
    for arguments, told in (
        (("export", "run"), "--force"),
        (("export", "run/checkpoints"), "run/checkpoints: holds no checkpoint of a run"),
        (("export", "run", "--to", "onnx"), "a run becomes safetensors first"),
        (("train", "--finish"), "--finish needs --resume"),
    ):
        code, _, err = run(*arguments)
        assert code in (2, 4)
        assert told in err


def test_a_run_that_began_before_a_key_existed_keeps_its_default_and_says_so(run, tmp_path):
    assert run(*tiny(tmp_path / "run"))[0] == 0
    described = tmp_path / "run" / "profile.yaml"
    lines = described.read_text().splitlines(keepends=True)
    described.write_text("".join(line for line in lines if "label_smoothing:" not in line))
    upgraded = tiny(tmp_path / "run", "--resume", train__max_steps=6, train__label_smoothing=0.2)
    code, _, err = run(*upgraded)
    assert code == 0, err
    assert "began before these keys existed, their defaults hold: train.label_smoothing 0.0" in err


def test_a_resumed_run_needs_no_profile_and_no_settings_again(run, tmp_path):
    assert run(*tiny(tmp_path / "run", "--profile", "lfw_small"))[0] == 0
    code, out, err = run(
        "train", "--out", tmp_path / "run", "--resume", "--set", "train.max_steps=6"
    )
    assert code == 0, err
    assert json.loads(out)["steps"] == 6
    assert read_model(tmp_path / "run" / "model.safetensors")[0].name == "lfw_small"


def test_the_best_model_follows_the_validation_where_there_is_no_evaluation(run, tmp_path):
    code, out, err = run(
        *tiny(
            tmp_path / "run",
            data__validation=0.3, train__evaluate_every=0.5, train__max_steps=10,
        )
    )  # fmt: skip
    assert code == 0, err
    figures = [line["accuracy"] for line in log(tmp_path / "run", "validation")]
    assert len(figures) == 4
    assert json.loads(out)["best"] == max(figures)
    assert read_model(tmp_path / "run" / "best.safetensors")[0].architecture == "test_ir"
    assert {"auc", "tar_at_far"} <= log(tmp_path / "run", "validation")[0].keys()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert "roc" in events.Tags()["images"]


def test_histograms_and_the_working_trees_diff_are_kept(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"),
    ):
        subprocess.run(["git", *arguments], check=True)
    Path("a.py").write_text("changed\n")
    subprocess.run(["git", "add", "a.py"], check=True)
    assert run(*tiny(tmp_path / "run", train__histograms_every=2))[0] == 0
    git = json.loads((tmp_path / "run" / "environment.json").read_text())["git"]
    assert git["changed"]
    assert "+changed" in git["diff"]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), {"histograms": 0})
    events.Reload()
    tags = events.Tags()["histograms"]
    assert {"weights/head.weight", "gradients/head.weight"} <= set(tags)
    assert any(tag.startswith("gradients/backbone.") for tag in tags)
    assert [event.step for event in events.Histograms("weights/head.weight")] == [2, 4]


def test_ranks_without_a_folder_take_rank_zeros(tmp_path):
    arguments = tiny(tmp_path / "x", train__max_steps=1, train__batch=4)
    arguments = ["train", *arguments[3:], "--tensorboard"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "facerec", *arguments],
        capture_output=True, text=True, timeout=240, cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "model.safetensors").is_file()
    assert done.stderr.count("TensorBoard: http") == 1


def test_a_head_of_another_run_is_taken_by_name(run, tmp_path):
    from safetensors.torch import save_file

    assert run(*tiny(tmp_path / "first"))[0] == 0
    first = checkpoint(tmp_path / "first", 4)["classifier/weight"]
    settings = {"train__max_steps": 1, "train__lr": 1e-12, "data__synthetic_people": 14}
    code, _, err = run(
        *tiny(tmp_path / "second", train__initial_head=tmp_path / "first", **settings)
    )
    assert code == 0, err
    assert "has centres of 12 of 14 people" in err
    second = checkpoint(tmp_path / "second", 1)["classifier/weight"]
    torch.testing.assert_close(second[:12], first)
    assert not torch.allclose(second[12:], first[:2])

    centres = tmp_path / "centres.safetensors"
    save_file({"weight": first[:, 0].contiguous()}, centres)
    code, _, err = run(*tiny(tmp_path / "third", train__initial_head=centres, **settings))
    assert code == 2
    assert "12 people without names, the data 14" in err
    save_file({"weight": first[:, 0, :8].contiguous()}, centres)
    code, _, err = run(*tiny(tmp_path / "third", train__initial_head=centres))
    assert code == 2
    assert "its centres are (1, 8), those in training (1, 16)" in err
    code, _, err = run(*tiny(tmp_path / "third", train__initial_head=tmp_path / "nothing"))
    assert code == 4
    assert "cannot be read" in err


def test_find_lr_draws_the_loss_and_leaves_the_folder_free(run, tmp_path):
    code, out, err = run(*tiny(tmp_path / "run", "--find-lr", train__scale=16))
    assert code == 0, err
    found = json.loads(out)
    assert 1e-4 < found["learning_rate"] < 10
    assert Path(found["curve"]).read_bytes().startswith(b"\x89PNG")
    assert f"--set train.lr={found['learning_rate']:.2g}" in err
    curve = log(tmp_path / "run", "find_lr")
    assert len(curve) == found["steps"]
    assert curve[0]["learning_rate"] == pytest.approx(1e-6)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("find_lr/loss")) == found["steps"]
    assert run(*tiny(tmp_path / "run"))[0] == 0


def test_several_training_sets_are_one_with_all_their_people(run, tmp_path):
    first, second = (write_photos(tmp_path / name, *[(64, 64)] * 4) for name in ("a", "b"))
    settings = {"data__synthetic": "false", "train__max_steps": 1}
    arguments = tiny(tmp_path / "run", "--data", first, "--data", second, **settings)
    code, out, err = run(*arguments)
    assert code == 0, err
    assert (json.loads(out)["people"], json.loads(out)["images"]) == (4, 16)
    people = json.loads((tmp_path / "run" / "people.json").read_text())
    assert people == [f"{first}/ann", f"{first}/bob", f"{second}/ann", f"{second}/bob"]


def test_a_balanced_run_crops_larger_chips(run, tmp_path):
    data = write_photos(tmp_path / "faces", *[(40, 40)] * 4)
    settings = {"data__synthetic": "false", "data__train": data, "data__random_crop": "true",
                "data__balance": "true", "data__per_person": 2}  # fmt: skip
    code, _, err = run(*tiny(tmp_path / "run", data__validation=0.5, train__batch=4, **settings))
    assert code == 0, err
    odd = {"train__batch": 3, "train__accumulate": 2, **settings}
    code, _, err = run(*tiny(tmp_path / "odd", **odd))
    assert code == 2
    assert "data.per_person 2 does not divide train.batch 3" in err
