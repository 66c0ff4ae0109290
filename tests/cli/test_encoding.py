"""No name and no locale ends a command, and JSON is valid for every parser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from facerec.cli import console
from facerec.files.text import readable, to_json
from facerec.gallery import Gallery
from facerec.gallery.exchange import ENDINGS, export_gallery, import_gallery
from facerec.imaging.photos import normalise_person
from tests.conftest import Run, make_card, make_face, spawn

RAW = os.fsdecode(b"caf\xe9.jpg")
ASCII = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


def strict(text: str) -> dict:
    """Parse as strict parsers do: in UTF-8, without lone surrogates and NaN."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    record = json.loads(text.encode("utf-8"), parse_constant=refuse)
    json.dumps(record, ensure_ascii=False).encode("utf-8")
    return record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zoë", "Zoë"),
        (RAW, r"caf\xe9.jpg"),
        ("Zo\udcc3\udcab", "Zoë"),
        ("\udcc3\udcab\udcff", r"ë\xff"),
        ("\ud83d", r"\ud83d"),
    ],
)
def test_a_name_of_any_bytes_is_valid_unicode_everywhere(text: str, expected: str) -> None:
    assert readable(text) == console.printable(text) == normalise_person(text) == expected
    assert strict(to_json({"image": text, text: 1})) == {"image": expected, expected: 1}


def test_numbers_that_json_lacks_are_null() -> None:
    record = {"far": float("nan"), "all": [float("inf"), 1.5]}
    assert strict(to_json(record)) == {"far": None, "all": [None, 1.5]}


@pytest.mark.parametrize("environment", ASCII)
def test_every_locale_gets_utf_8_in_a_pipe(environment: dict[str, str], tmp_path: Path) -> None:
    gallery = Gallery(make_card())
    for person in ("李小龍", "[x] Zoë [red]"):
        gallery.add(person, [make_face(1, 0, 0, 0)], f"{person}.jpg")
    gallery.save(tmp_path / "g.h5")
    for form in ("--json", "--table"):
        done = spawn(
            "gallery", "list", "-g", tmp_path / "g.h5", form,
            env={**os.environ, **environment}, text=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert "李小龍" in done.stdout.decode("utf-8")
        assert "[x] Zoë [red]" in done.stdout.decode("utf-8")


def test_a_raw_name_is_one_line_of_utf_8_on_stderr(run: Run, tmp_path: Path) -> None:
    code, _, err = run("align", tmp_path / RAW, tmp_path / "out")
    assert code != 0
    assert r"caf\xe9.jpg" in err


@pytest.mark.parametrize("form", ENDINGS)
def test_a_photo_of_a_raw_name_is_exported(form: str, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    gallery = Gallery(make_card())
    gallery.add("ann", [make_face(1, 0, 0, 0)], RAW)
    path = tmp_path / f"g{ENDINGS[form]}"
    export_gallery(gallery, path, form)
    assert import_gallery(path).entries.source.tolist() == [r"caf\xe9.jpg"]
