"""Another installed package's detector, found through its entry point."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import ROOT, spawn

TOY = Path(__file__).parent / "toy_package"
WITH_TOY = {**os.environ, "PYTHONPATH": f"{TOY}:{ROOT}"}


def boxes(stdout: str) -> list[list[float]]:
    return [face["box"] for face in json.loads(stdout)["faces"]]


@pytest.mark.parametrize("how", [("--detector", "toy"), ("--set", "detector.name=toy")])
def test_its_detector_is_used_by_name(picture: Path, how: tuple[str, str]) -> None:
    done = spawn("detect", picture, *how, "--json", env=WITH_TOY)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    height, width = record["height"], record["width"]
    assert boxes(done.stdout) == [[width / 4, height / 4, width * 3 / 4, height * 3 / 4]]


def test_its_options_are_given_in_the_profile(picture: Path, tmp_path: Path) -> None:
    profile = tmp_path / "toy.yaml"
    profile.write_text("detector:\n  name: toy\n  options: {share: 1}\n")
    done = spawn("detect", picture, "-p", profile, "--json", env=WITH_TOY)
    record = json.loads(done.stdout)
    assert boxes(done.stdout) == [[0, 0, record["width"], record["height"]]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ("detector.name=toy", "detector.options={shar: 1}"),
            "option shar; did you mean share?",
        ),
        (("detector.name=toy", "detector.options={share: 2}"), "detector.options.share: "),
        (("detector.options={share: 1}",), "detector.options: mtcnn has none"),
        (("detector.name=toi",), "no detector is called toi; did you mean toy?"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(
    picture: Path, settings: tuple[str, ...], message: str
) -> None:
    given = [word for setting in settings for word in ("--set", setting)]
    done = spawn("detect", picture, *given, env=WITH_TOY)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_it_is_in_the_schema_the_help_and_the_completion() -> None:
    schema = json.loads(spawn("profile", "schema", env=WITH_TOY).stdout)
    assert "toy" in schema["$defs"]["DetectorSection"]["properties"]["name"]["enum"]
    assert "yunet|toy" in spawn("detect", "--help", env=WITH_TOY).stdout
    words = {
        "COMP_WORDS": "facerec detect --detector to", "COMP_CWORD": "3",
        "_FACEREC_COMPLETE": "complete_bash",
    }  # fmt: skip
    assert spawn(env={**WITH_TOY, **words}).stdout.split() == ["toy"]
