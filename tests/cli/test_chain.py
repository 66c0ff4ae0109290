"""From the download to a name: catalogue, train, evaluate, embed, recognise, by names alone."""

from __future__ import annotations

import functools
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from facerec.weights.catalog import read_catalogue
from tests.conftest import Run

PEOPLE, PHOTOS = 12, 4
TINY = {
    "train.backbone": "test_ir", "train.input": 32, "train.embedding_size": 16, "train.batch": 8,
    "train.max_steps": 40, "train.evaluate_every": 100, "train.lr": 0.05,
    "train.scale": 16, "runtime.threads": 1,
}  # fmt: skip


def chip(person: int, photo: int, side: int) -> bytes:
    """A made face: blobs that belong to the person, grain that belongs to the photo."""
    own = np.random.default_rng(person).integers(0, 256, (6, 6, 3), np.uint8)
    smooth = cv2.resize(own, (side, side), interpolation=cv2.INTER_CUBIC).astype(int)
    grain = np.random.default_rng((person, photo)).integers(-20, 21, (side, side, 3))
    return cv2.imencode(".jpg", np.clip(smooth + grain, 0, 255).astype(np.uint8))[1].tobytes()


def archives(folder: Path) -> None:
    """The archives of `facerec download data train`, each with its publisher's file names."""
    pairs = [((p, 0), (p, 1), 1) for p in range(PEOPLE)]
    pairs += [((p, 0), ((p + 1) % PEOPLE, 2), 0) for p in range(PEOPLE)]
    everyone = [(p, k) for p in range(PEOPLE) for k in range(PHOTOS)]

    def write(name: str, files: dict[str, str | bytes]) -> None:
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)

    write("CASIA_Webface_160", {
        **{f"CASIA-WebFace_160/{p:07}/{k:03}.jpg": chip(p, k, 160) for p, k in everyone},
        "__MACOSX/._CASIA-WebFace_160": b"junk",
    })  # fmt: skip
    # A threshold at FAR 1e-2 needs 100 pairs of different people.
    steps = range(1, 10)
    lfw = [f"P{p}\t{k % 3 + 1}\t4" for k in steps for p in range(PEOPLE)]
    lfw += [f"P{p}\t1\tP{(p + k) % PEOPLE}\t3" for k in steps for p in range(PEOPLE)]
    write("LFW_112", {
        **{f"lfw_112/images/P{p}/P{p}_{k + 1:04}.jpg": chip(p, k, 112) for p, k in everyone},
        "lfw_112/pairs_LFW.txt": f"{len(lfw) // 2}\n" + "\n".join(lfw),
    })  # fmt: skip
    for name in ("CALFW", "CPLFW"):
        lines = "".join(
            f"P{p}_{k}.jpg {same}\nP{q}_{n}.jpg {same}\n" for (p, k), (q, n), same in pairs
        )
        write(f"{name}_112", {
            **{f"{name.lower()}_112/images/P{p}_{k}.jpg": chip(p, k, 112) for p, k in everyone},
            f"{name.lower()}_112/pairs_{name}.txt": lines,
        })  # fmt: skip
    cfp: dict[str, str | bytes] = {}
    for view, kind in (("F", "frontal"), ("P", "profile")):
        places = [f"Data/Images/{p + 1:03}/{kind}/{k + 1:02}.jpg" for p, k in everyone]
        listed = [f"{number} {place}" for number, place in enumerate(places, start=1)]
        cfp[f"cfp_112/Pair_list_{view}.txt"] = "\n".join(listed)
        cfp |= {f"cfp_112/{place}": chip(p, k, 112)
                for place, (p, k) in zip(places, everyone, strict=True)}  # fmt: skip
    for kind in ("FF", "FP"):
        for fold in range(2):
            own = range(fold * PEOPLE // 2, (fold + 1) * PEOPLE // 2)
            same = "\n".join(f"{p * PHOTOS + 1},{p * PHOTOS + 2}" for p in own)
            diff = "\n".join(f"{p * PHOTOS + 1},{(p + 1) % PEOPLE * PHOTOS + 3}" for p in own)
            cfp[f"cfp_112/Split/{kind}/{fold + 1:02}/same.txt"] = same
            cfp[f"cfp_112/Split/{kind}/{fold + 1:02}/diff.txt"] = diff
    write("CFP_112", cfp)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The catalogue's data sets at a server on this machine, as `catalog.yaml`."""
    folder = tmp_path_factory.mktemp("served")
    archives(folder)
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        known = read_catalogue()
        records = {name: known.data[name].model_dump(mode="json") for name in known.groups["train"]}
        for record in records.values():
            url = f"http://127.0.0.1:{server.server_address[1]}/{record['file']['name']}"
            record["file"]["urls"] = [url]
        yield yaml.safe_dump({"data": records})
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, catalogue: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "catalog.yaml").write_text(catalogue)
    monkeypatch.setenv("FACEREC_HOME", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    return folder


def settings(**more: object) -> list[str]:
    values = {**TINY, **{key.replace("__", "."): value for key, value in more.items()}}
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def test_from_the_download_to_a_name(home: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("train", "--profile", "ir50_arcface", *settings(), "--out", "run")
    assert code == 4
    assert "get it with: facerec download data casia_webface_160 --yes" in err

    assert run("download", "data", "train", "--yes")[0] == 0
    code, out, err = run("train", "--profile", "ir50_arcface", *settings(), "--out", "run")
    assert code == 0, err
    trained = json.loads(out)
    assert (trained["people"], trained["calibrated"]) == (PEOPLE, True), err
    events = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    measured = [key for event in events if event["event"] == "evaluate" for key in event]
    sets = ["lfw", "calfw", "cplfw", "cfp-ff", "cfp-fp"]
    assert [key for key in measured if key in sets] == sets

    model = "run/model.safetensors"
    code, out, err = run("evaluate", "all", "-m", model, "--report", "report", "--json")
    assert code == 0, err
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["protocol"] for record in records] == sets
    assert all(record["missing"] == 0 and record["aligned"] for record in records)
    assert min(record["accuracy"] for record in records) > 85
    page = (tmp_path / "report/index.html").read_text()
    assert all(f"<th>{name}</th>" in page for name in sets)

    for person in range(3):
        (tmp_path / f"people/P{person}").mkdir(parents=True)
        (tmp_path / f"people/P{person}/0.jpg").write_bytes(chip(person, 0, 160))
    (tmp_path / "new.jpg").write_bytes(chip(2, 9, 160))
    uses = ["--set", f"model.name={model}", "--aligned"]
    assert run("embed", "people", "-o", "g.h5", *uses)[0] == 0
    uses += ["--far", "1e-2"]
    code, out, err = run("recognize", "image", "new.jpg", "-g", "g.h5", "--json", *uses)
    assert code == 0, err
    assert [face["name"] for face in json.loads(out)["faces"]] == ["P2"]


def test_what_is_missing_is_named_and_the_rest_measured(home: Path, run: Run) -> None:
    code, out, err = run("evaluate", "all")
    assert (code, out) == (4, "")
    assert "get it with: facerec download data lfw_112 --yes" in err
    assert run("download", "data", "calfw_112", "--yes")[0] == 0
    code, out, err = run("evaluate", "all", "calfw", "cplfw_112", "--json")
    assert code == 4
    assert [json.loads(line)["protocol"] for line in out.splitlines()] == ["calfw"]
    assert "facerec download data cplfw_112 --yes" in err
    code, _, err = run("evaluate", "all", "lwf")
    assert (code, "did you mean lfw?" in err) == (2, True)


def test_downloads_are_laid_out_in_a_folder_and_found_there(
    home: Path, tmp_path: Path, run: Run
) -> None:
    code, out, _ = run("download", "data", "lfw_112", "--yes", "--out", "data", "--json")
    assert (code, json.loads(out)["path"]) == (0, "data/lfw_112")
    assert (tmp_path / "data/lfw_112/pairs_LFW.txt").is_file()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lfw_112"]
    code, out, err = run("evaluate", "all", "lfw_112", "--data", "data", "--json")
    assert (code, json.loads(out)["protocol"]) == (0, "lfw"), err
    code, out, _ = run("download", "list", "--out", "data", "--json")
    here = {record["name"]: record["here"] for record in map(json.loads, out.splitlines())}
    assert (here["lfw_112"], here["calfw_112"]) == (True, False)


def test_a_set_of_ones_own_is_named_with_its_protocol(home: Path, tmp_path: Path, run: Run) -> None:
    assert run("download", "data", "cfp_112", "--yes", "--out", ".")[0] == 0
    code, out, err = run(
        "evaluate", "all", "cfp-ff=cfp_112", "--aligned", "--template", "none", "--json"
    )
    assert (code, json.loads(out)["protocol"]) == (0, "cfp-ff"), err
    code, _, err = run("evaluate", "all", "cpf=cfp_112")
    assert (code, "no protocol is called cpf" in err) == (2, True)
