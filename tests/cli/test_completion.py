from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.cli.completing import complete_camera
from facerec.video import cameras
from facerec.weights.store import load_card
from tests.conftest import ROOT, make_face
from tests.write_completions import FILES, FOLDER, script


@pytest.mark.parametrize("shell", FILES)
def test_the_shipped_scripts_are_fresh(shell: str) -> None:
    shipped = (FOLDER / FILES[shell]).read_text(encoding="utf-8")
    assert shipped == script(shell), "run: make completions"


def complete(line: str, cwd: Path = ROOT) -> list[str]:
    """What bash would offer at the end of the line, as the shipped script asks."""
    empty = "''" if line.endswith(" ") else ""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COMP_WORDS": f"{line}{empty}",
        "COMP_CWORD": "-1",
        "_FACEREC_COMPLETE": "complete_bash",
    }
    command = [sys.executable, "-X", "importtime", "-m", "facerec"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    loaded = {entry.rsplit("|", 1)[-1].strip() for entry in done.stderr.splitlines()}
    assert "typer" in loaded and "torch" not in loaded
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("facerec reco", ["recognize"]),
        ("facerec recognize im", ["image"]),
        ("facerec evaluate cfp", ["cfp-ff", "cfp-fp"]),
        ("facerec embed --ali", ["--aligned"]),
        ("facerec embed --profile def", ["default"]),
        ("facerec embed --faces ", ["central", "all", "refuse"]),
        ("facerec detect --detector yu", ["yunet"]),
        ("facerec train --set train.backbone=ir_10", ["train.backbone=ir_101"]),
        ("facerec evaluate detection --compare yu", ["yunet"]),
        ("facerec recognize image --metric c", ["cosine"]),
        ("facerec recognize image --match ex", ["exemplar"]),
        ("facerec recognize video --blur unk", ["unknown"]),
        ("facerec cleanup run --linkage w", ["ward"]),
        ("facerec cleanup x --by sym", ["symlink"]),
        ("facerec evaluate lfw -m w600k_r", ["w600k_r50"]),
        ("facerec evaluate lfw --augment f", ["flip"]),
        ("facerec evaluate lfw --on-missing f", ["fail"]),
        ("facerec model show dlib_resnet_", ["dlib_resnet_views"]),
        ("facerec export dlib_resnet_", ["dlib_resnet_views"]),
        ("facerec export x --to o", ["onnx", "openvino"]),
        ("facerec gallery export --to np", ["npz"]),
        ("facerec import --as dl", ["dlib"]),
        ("facerec download weights yu", ["yunet", "yunet_int8bq"]),
        ("facerec bench det", ["detect"]),
        ("facerec docs tra", ["train"]),
        ("facerec embed --set detector.min", ["detector.min_face="]),
        ("facerec train --set train.loss=ar", ["train.loss=arcface"]),
        ("facerec train --set train.compile=", ["train.compile=true", "train.compile=false"]),
        ("facerec train --set detector.name=y", ["detector.name=yunet"]),
        ("facerec train --set train.schedule=co", ["train.schedule=cosine"]),
        ("facerec train --set model.name=dlib_resnet_", ["model.name=dlib_resnet_views"]),
        ("facerec train --set runtime.device=cu", ["runtime.device=cuda"]),
        ("facerec cleanup und", ["undo"]),
        ("facerec cleanup comple", ["completions/"]),
        ("facerec cleanup --lin", ["--linkage"]),
        ("facerec cleanup tests --plot bench", ["bench", "benchmarks"]),
        # Shells replace the whole word: the option stays.
        ("facerec recognize image --match=ex", ["--match=exemplar"]),
        ("facerec embed --profile=def", ["--profile=default"]),
        ("facerec train --set=detector.name=y", ["--set=detector.name=yunet"]),
    ],
)
def test_bash_completes_commands_options_and_values(line: str, expected: list[str]) -> None:
    assert complete(line) == expected


@pytest.fixture
def galleries(tmp_path: Path) -> Path:
    """A folder with a gallery under the default name, others, and a profile that names one."""
    odd = ("$HOME", "O'Neil", 'q"x', "tick`s", "IMG 2024:12 a", "ann@home", "grace hopper")
    people = {"gallery.h5": ("grace hopper",), "other.h5": ("obama",), "odd.h5": odd}
    for file, names in people.items():
        gallery = Gallery(load_card("dlib_resnet"))
        for name in names:
            gallery.add(name, [make_face(*np.eye(gallery.card.embedding_size)[0])], "a.jpg")
        gallery.save(tmp_path / file)
    (tmp_path / "mine.yaml").write_text("gallery: {path: other.h5}")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("facerec gallery show ", ["grace hopper"]),
        ("facerec gallery show gr", ["grace hopper"]),
        ("facerec gallery remove -g other.h5 o", ["obama"]),
        ("facerec gallery rename --profile mine.yaml o", ["obama"]),
        ("facerec gallery merge --set gallery.path=other.h5 o", ["obama"]),
        ("facerec gallery merge x --into gr", ["grace hopper"]),
        ("facerec compare a.jpg gr", ["grace hopper"]),
        ("facerec gallery show -g none.h5 ", []),
        ("facerec cleanup oth", ["other.h5"]),
    ],
)
def test_people_are_of_the_gallery_in_use(galleries: Path, line: str, expected: list[str]) -> None:
    assert complete(line, galleries) == expected


def test_cameras_are_numbers_with_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "sys" / "video0").mkdir(parents=True)
    (tmp_path / "sys" / "video0" / "name").write_text("Webcam\n")
    monkeypatch.setattr(cameras, "DEVICES", tmp_path)
    monkeypatch.setattr(cameras, "SYSFS", tmp_path / "sys")
    assert complete_camera("") == [("0", "Webcam")]
    assert complete_camera("1") == []


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("facerec train --set train.lo", ["train.loss=", "train.log_every="]),
        # Bash replaces only what follows the last = or :.
        ("facerec train --set train.loss=ar", ["arcface"]),
        ("facerec gallery show gr", [r"grace\ hopper"]),
        ('facerec gallery show "gr', ["grace hopper"]),
        # A quote that ended before changes nothing.
        ('facerec gallery show -g "odd.h5" gr', [r"grace\ hopper"]),
        ("facerec gallery show -g odd.h5 'grace'\\ h", [r"grace\ hopper"]),
        # Inside a quote, what is special there is escaped; bash replaces what follows the quote.
        ('facerec gallery show -g odd.h5 "$', [r"\$HOME"]),
        (r'facerec gallery show -g odd.h5 "\$H', [r"\$HOME"]),
        ('facerec gallery show -g odd.h5 "q', [r"q\"x"]),
        ('facerec gallery show -g odd.h5 "t', [r"tick\`s"]),
        ("facerec gallery show -g odd.h5 'O", [r"O'\''Neil"]),
        (r"facerec gallery show -g odd.h5 'O'\''N", ["Neil"]),
        ('facerec gallery show -g odd.h5 gra"ce ', ["ce hopper"]),
        ('facerec train --set="train.loss=ar', ["train.loss=arcface"]),
        # Outside, after the last unquoted = or :, or from the last @.
        ("facerec gallery show -g odd.h5 IM", [r"IMG\ 2024:12\ a"]),
        (r"facerec gallery show -g odd.h5 IMG\ 2024:", [r"12\ a"]),
        (r"facerec gallery show -g odd.h5 IMG\ 2024\:", [r"IMG\ 2024:12\ a"]),
        ('facerec gallery show -g odd.h5 "IMG 2024:', ["IMG 2024:12 a"]),
        ("facerec gallery show -g odd.h5 ann@h", ["@home"]),
        ("facerec train --set=train.loss=ar", ["arcface"]),
        ("facerec recognize image --match=ex", ["exemplar"]),
        # Nothing at all: bash then offers files.
        ("facerec detect nob", []),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_bash_script_gives_back_what_replaces_the_word(
    galleries: Path, line: str, replies: list[str]
) -> None:
    program = galleries / "facerec"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m facerec "$@"\n')
    program.chmod(0o755)
    code = (
        'source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _facerec_completion "$3"; '
        'for reply in "${COMPREPLY[@]}"; do printf "%s\\n" "$reply"; done'
    )
    done = subprocess.run(
        ["bash", "-c", code, "bash", FOLDER / FILES["bash"], line, program],
        capture_output=True,
        text=True,
        cwd=galleries,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines() == replies


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_no_space_follows_a_key_or_a_folder(shell: str) -> None:
    assert {"bash": "compopt -o nospace", "zsh": "compadd -l -S ''"}[shell] in script(shell)
