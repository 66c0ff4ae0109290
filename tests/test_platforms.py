"""Other systems, as far as they can be simulated: what they lack is missing here too."""

from __future__ import annotations

import builtins
import errno
import ntpath
import os
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from facerec import Gallery
from facerec.engine.building import open_embedder
from facerec.errors import UsageError
from facerec.files.home import expand_home
from facerec.files.locking import locked
from facerec.files.writing import replacing
from facerec.models.runtimes import onnx
from facerec.models.runtimes.openvino import OpenVinoNetwork
from facerec.parallel import cores
from facerec.parallel.cores import takes_all_cores, thread_limit, usable_cores
from facerec.profile.loading import Profile
from facerec.training import checkpoint
from facerec.training.data.opening import open_examples
from facerec.video.film import video_stream
from tests.conftest import make_card, make_face
from tests.models.test_onnx import write_linear
from tests.training.test_datasets import as_records
from tests.video.films import scenes, write_film

WINDOWS = SimpleNamespace(platform="win32")


def test_without_positional_reads_records_are_the_same(tmp_path, monkeypatch):
    folder = as_records(tmp_path)
    images = [open_examples(folder).image(index) for index in range(3)]
    monkeypatch.delattr(os, "pread")
    examples = open_examples(folder)
    for index in (2, 0, 1):
        np.testing.assert_array_equal(examples.image(index), images[index])


def test_without_an_affinity_all_cores_are_counted(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert takes_all_cores(4)
    assert not takes_all_cores(3)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A function that writes files of control groups, on a machine of 64 cores."""
    folder = tmp_path / "cgroup"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cores, "_GROUPS", folder)
    monkeypatch.setattr(cores, "_MEMBERSHIP", tmp_path / "own")
    cores._quota.cache_clear()

    def write(own="0::/", **files):
        (tmp_path / "own").write_text(f"{own}\n")
        for name, content in files.items():
            path = folder / name.replace("__", "/").replace("cpu_max", "cpu.max")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    yield write
    cores._quota.cache_clear()


def v1(group, quota):
    """The files of a group of version 1."""
    return {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": 100000}


@pytest.mark.parametrize(
    ("own", "files", "usable"),
    [
        ("0::/", {"cpu_max": "200000 100000"}, 2),
        ("0::/", {"cpu_max": "150000 100000"}, 2),
        ("0::/", {"cpu_max": "20000 100000"}, 1),
        ("0::/", {"cpu_max": "max 100000"}, 64),
        ("0::/", {"cpu_max": "9900000 100000"}, 64),
        ("0::/", {"cpu_max": ""}, 64),
        ("0::/", {}, 64),
        ("0::/a/b", {"a__cpu_max": "300000 100000", "a__b__cpu_max": "max 100000"}, 3),
        ("0::/a/b", {"a__cpu_max": "300000 100000", "a__b__cpu_max": "100000 50000"}, 2),
        ("1:cpu:/x", {"cpu__cpu.cfs_quota_us": 400000, "cpu__cpu.cfs_period_us": 100000}, 4),
        ("1:cpu:/x", {"cpu__cpu.cfs_quota_us": -1, "cpu__cpu.cfs_period_us": 100000}, 64),
        ("4:cpu,cpuacct:/a/b", v1("cpu", -1) | v1("cpu/a/b", 200000), 2),
        ("4:cpu,cpuacct:/a/b", v1("cpu", -1) | v1("cpu/a", 300000) | v1("cpu/a/b", 500000), 3),
        ("4:cpuacct,cpu:/", v1("cpuacct,cpu", 200000), 2),
        ("4:cpuacct,cpu:/docker/x\n0::/", v1("cpuacct,cpu", 300000), 3),
        ("4:cpuset:/\n0::/other", v1("cpuset", 200000), 64),
    ],
)
def test_a_quota_leaves_fewer_cores(groups, own, files, usable):
    groups(own, **files)
    assert usable_cores() == usable
    assert thread_limit() == (usable if usable < 64 else 0)
    # Its threads run now here, now there: they are not pinned.
    assert (takes_all_cores(usable), takes_all_cores(64)) == (usable == 64, True)


def test_what_counts_cores_itself_is_told_of_a_quota(groups, monkeypatch, run):
    groups(cpu_max="200000 100000")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run("--version")[0] == 0
    assert os.environ.pop("OMP_NUM_THREADS") == "2"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        open_embedder(Profile.load())
        assert torch.get_num_threads() == 2
        open_embedder(Profile.load(settings=["runtime.threads=3"]))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_runtimes_and_decoders_that_count_cores_themselves_are_told_of_a_quota(groups, tmp_path):
    groups(cpu_max="100000 100000")
    write_linear(tmp_path / "model.onnx", None)
    session = onnx._open_session(tmp_path / "model.onnx", "cpu", 0)
    assert session.get_session_options().intra_op_num_threads == 1
    network = OpenVinoNetwork(tmp_path / "model.onnx", threads=0)
    assert network._settings["INFERENCE_NUM_THREADS"] == "1"
    assert network._settings["ENABLE_CPU_PINNING"] == "NO"
    film = write_film(tmp_path / "film.mp4", scenes(2), (0, 10))
    with av.open(str(film)) as container:
        assert video_stream(container, "film", 10_000_000).codec_context.thread_count == 1


def test_windows_reads_a_gallery_that_it_could_not_replace_if_it_were_mapped(
    tmp_path: Path, monkeypatch
):
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)], "a.jpg")
    gallery.save(tmp_path / "g.h5")
    monkeypatch.setattr("facerec.gallery.files.hdf5.sys", WINDOWS)
    mapped = SimpleNamespace(mmap=lambda *_, **__: pytest.fail("mapped"))
    monkeypatch.setattr("facerec.gallery.files.hdf5.mmap", mapped)
    opened = Gallery.open(tmp_path / "g.h5")
    assert opened.entries.embeddings.tolist() == [[1, 0, 0, 0]]
    opened.add("Bob", [make_face(0, 1, 0, 0)], "b.jpg")
    opened.save(tmp_path / "g.h5")
    assert Gallery.open(tmp_path / "g.h5").people == ["Ada", "Bob"]


def test_windows_flushes_a_checkpoint_without_opening_its_folder(tmp_path: Path, monkeypatch):
    (tmp_path / "weights").write_bytes(b"x")
    flushed = []
    windows = SimpleNamespace(
        name="nt", fsync=flushed.append, open=lambda *_: pytest.fail("a folder is opened")
    )
    monkeypatch.setattr(checkpoint, "os", windows)
    checkpoint._flush(tmp_path)
    assert len(flushed) == 1


def test_windows_has_a_home_folder_for_a_tilde_alone(monkeypatch):
    monkeypatch.setattr("facerec.files.home.sys", WINDOWS)
    monkeypatch.setattr(os.path, "expanduser", ntpath.expanduser)
    monkeypatch.setenv("USERPROFILE", r"C:\Users\me")
    monkeypatch.setenv("USERNAME", "me")
    for name in ("~photo.jpg", "~$people.h5", "~backup/people.h5"):
        assert expand_home(name) == name
    assert expand_home(r"~\people.h5") == r"C:\Users\me\people.h5"
    assert expand_home("~/people.h5") == r"C:\Users\me/people.h5"
    assert expand_home("~") == r"C:\Users\me"


def test_windows_locks_by_another_package(tmp_path: Path, monkeypatch):
    pytest.importorskip("filelock")
    monkeypatch.setattr("facerec.files.locking.sys", WINDOWS)
    with (
        locked(tmp_path / "g.h5"),
        pytest.raises(UsageError, match="another facerec is writing it"),
        locked(tmp_path / "g.h5"),
    ):
        pass
    with locked(tmp_path / "g.h5"):
        pass


def test_a_file_that_another_program_holds_open_is_one_line_and_stays(tmp_path: Path, monkeypatch):
    target = tmp_path / "g.h5"
    target.write_bytes(b"old")

    def held(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(Path, "replace", held)
    with (
        pytest.raises(UsageError, match=r"g\.h5: cannot be written: Access is denied"),
        replacing(target) as temporary,
    ):
        temporary.write_bytes(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["g.h5"]
    assert target.read_bytes() == b"old"


def test_opencv_without_its_system_library_says_what_to_install(run, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "cv2":
            reason = "libGL.so.1: cannot open shared object file: No such file or directory"
            raise ImportError(reason)
        return real(name, *arguments, **keywords)

    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(
        "facerec.cli.detect.load_engine", lambda _: without("cv2") and pytest.fail("loaded")
    )
    code, _, err = run("detect", tmp_path / "a.jpg")
    assert code == 4
    assert err.splitlines() == [
        "facerec: OpenCV cannot be loaded: libGL.so.1: cannot open shared object file: No such "
        "file or directory; apt install libgl1, or pip uninstall opencv-python and pip install "
        "opencv-python-headless"
    ]


def test_an_embedder_alone_keeps_to_the_threads_of_its_profile():
    before = torch.get_num_threads()
    try:
        open_embedder(Profile.load(settings=[f"runtime.threads={before + 1}"]))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_precision_that_is_not_computed_is_told_before_weights_are_read(monkeypatch):
    monkeypatch.setattr(
        "facerec.engine.building.load_model", lambda _: pytest.fail("weights were read")
    )
    with pytest.raises(UsageError, match=r"fp16: torch on cpu computes fp32, bf16"):
        open_embedder(Profile.load(settings=["runtime.precision=fp16", "runtime.device=cpu"]))


def test_an_export_that_a_target_does_not_offer_is_told_before_faces_are_found(run, monkeypatch):
    monkeypatch.setattr(
        "facerec.engine.building.calibration_chips", lambda *_: pytest.fail("faces were found")
    )
    code, _, err = run("export", "dlib_resnet", "--to", "torchscript", "--precision", "fp16")
    assert code == 2
    assert "torchscript writes fp32, not --precision fp16" in err
