"""IJB as insightface lays it out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from facerec import Engine, Profile, read_image
from facerec.evaluation.embedding import embed_images
from facerec.evaluation.protocols.ijb import read_ijb
from facerec.evaluation.templates import compare_templates, locate_templates
from facerec.imaging.archives import open_source
from tests.conftest import Run


def test_ijbs_own_points_align_its_faces_and_its_scores_weigh_them(
    run: Run, data: Path, tmp_path: Path
) -> None:
    """insightface's `*_name_5pts_score.txt`: nothing is detected, and what a score of 0 says is
    left out (a picture of another person in the probes' template)."""
    photo = data / "photos" / "obama_and_biden.jpg"
    engine = Engine.from_profile("default")
    one, other = sorted(engine.detect([read_image(photo)])[0], key=lambda face: -face.size)[:2]
    (tmp_path / "loose_crop").mkdir()
    lines, rows = [], []
    images = [(one, 1, 0.9), (other, 2, 0.9), (one, 3, 0.9), (other, 3, 0)]
    for row, (face, template, score) in enumerate(images):
        shutil.copy(photo, tmp_path / "loose_crop" / f"{row}.jpg")
        points = " ".join(f"{value:.3f}" for value in face.landmarks.reshape(-1))
        lines.append(f"{row}.jpg {points} {score}")
        rows.append(f"{row}.jpg {template} {row}")
    meta = tmp_path / "meta"
    meta.mkdir()
    (meta / "ijbc_name_5pts_score.txt").write_text("\n".join(lines))
    (meta / "ijbc_face_tid_mid.txt").write_text("\n".join(rows))
    pairs = "1 3 1\n2 3 0\n1 2 0\n"
    (meta / "ijbc_template_pair_label.txt").write_text(pairs)
    protocol = read_ijb(open_source(tmp_path))
    files = locate_templates(open_source(tmp_path), protocol)
    profile = Profile.load("default")
    embedded = embed_images(
        engine, open_source(tmp_path), protocol.keys, files, profile.runtime, aligned=False,
        cache=None, observe=lambda: None, landmarks=protocol.landmarks,
    )  # fmt: skip
    assert not embedded.missing
    figures = compare_templates(embedded.vectors, protocol)
    assert figures.pairs is not None
    same, crossed, apart = figures.pairs.similarities
    assert same == pytest.approx(1, abs=1e-5)
    assert crossed == pytest.approx(apart, abs=1e-5)
    assert apart < 0.9

    code, out, _ = run("evaluate", "ijb", "--data", tmp_path, "--json", "--no-cache")
    assert (code, json.loads(out)["detector"], json.loads(out)["missing"]) == (0, None, 0)

    (meta / "ijbc_name_5pts_score.txt").write_text("\n".join(lines[1:]))
    code, _, err = run("evaluate", "ijb", "--data", tmp_path)
    assert (code, "holds no 0.jpg" in err) == (2, True)
    (meta / "ijbc_name_5pts_score.txt").write_text("0.jpg 1 2 3\n")
    code, _, err = run("evaluate", "ijb", "--data", tmp_path)
    assert (code, "five points and a score" in err) == (2, True)
