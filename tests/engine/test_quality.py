"""The quality of a face: what lowers it, what leaves it, where it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec import Engine, Gallery
from facerec.alignment.templates import ARCFACE
from facerec.alignment.warp import only_central_face
from facerec.engine.quality import Aspects, face_aspects, face_quality, quality_chips
from facerec.faces import Face, Image
from facerec.imaging.draw import write_image
from facerec.imaging.reader import read_frame
from tests.conftest import Run, noise


def upright_face(scale: float = 1.0) -> Face:
    """A face on ArcFace's template, `scale` times as large as its crop."""
    points = np.array(ARCFACE.points, np.float32) * np.float32(scale)
    side = 112 * scale
    return Face(np.array([0, 0, side, side], np.float32), 0.99, points)


def textured(side: int = 112) -> Image:
    """Texture lit from one side, with a face's detail and contrast."""
    detail = cv2.resize(noise(28, 28), (side, side), interpolation=cv2.INTER_CUBIC)
    light = np.linspace(30, 150, side, dtype=np.float32)[None, :, None]
    return (light + 0.3 * detail).clip(0, 255).astype(np.uint8)


def aspects(image: Image, face: Face) -> Aspects:
    return face_aspects(quality_chips([(image, face)]), [face])


def test_blur_costs_sharpness_and_little_else() -> None:
    face, image = upright_face(), textured()
    sharp, blurred = aspects(image, face), aspects(cv2.GaussianBlur(image, (0, 0), 4), face)
    assert sharp.sharpness[0] > 0.9 > 0.5 > blurred.sharpness[0]
    assert blurred.size == sharp.size == 1
    assert blurred.pose == sharp.pose == 1


def test_fewer_pixels_cost_size() -> None:
    sizes = [aspects(textured(), upright_face(scale)).size[0] for scale in (2, 1, 0.5, 0.25)]
    assert sizes[0] == sizes[1] == 1
    assert 1 > sizes[2] > sizes[3] > 0.4


def test_a_turned_head_costs_pose() -> None:
    face = upright_face()
    turned = face.landmarks.copy()
    turned[2, 0] = turned[0, 0]
    assert aspects(textured(), replace(face, landmarks=turned)).pose[0] < 0.75


@pytest.mark.parametrize("gain", [0.03, 12.0])
def test_the_dark_and_the_glaring_cost_exposure(gain: float) -> None:
    image = (textured() * np.float32(gain)).clip(0, 255).astype(np.uint8)
    assert aspects(image, upright_face()).exposure[0] < 0.7
    assert aspects(textured(), upright_face()).exposure[0] > 0.95


def test_a_face_whose_points_coincide_has_a_number_too() -> None:
    face = replace(upright_face(), landmarks=np.full((5, 2), 30, np.float32))
    (quality,) = face_quality(quality_chips([(textured(), face)]), [face])
    assert quality == 0


def test_an_aligned_face_is_judged_by_its_pixels(engine: Engine, data: Path) -> None:
    frame = read_frame(data / "photos" / "obama1.jpg", 10**8)
    assert frame.image is not None
    (found,) = engine.embed([frame.image], select=only_central_face)[0]
    chip = engine.align(frame.image, [found])[0]
    (aligned,) = engine.embed([chip], aligned=True)[0]
    assert found.quality == pytest.approx(aligned.quality, abs=0.12)


def test_detection_and_embedding_agree_and_no_faces_have_no_quality(
    engine: Engine, data: Path
) -> None:
    frame = read_frame(data / "photos" / "obama1.jpg", 10**8)
    (_, detected), (_, embedded) = next(engine.detections([frame])), next(engine.faces([frame]))
    assert [face.quality for face in detected] == [face.quality for face in embedded]
    assert frame.image is not None
    found = [(frame.image, face) for face in detected]
    assert engine.quality(found).tolist() == [face.quality for face in detected]
    assert engine.quality([]).shape == (0,)
    assert 0.5 < detected[0].quality <= 1  # type: ignore[operator]


def test_embed_passes_by_and_counts_what_is_below_min_quality(
    run: Run, data: Path, tmp_path: Path
) -> None:
    image = read_frame(data / "photos" / "obama1.jpg", 10**8).image
    assert image is not None
    write_image(tmp_path / "people/obama/good.png", image)
    write_image(tmp_path / "people/obama/poor.png", cv2.GaussianBlur(image, (0, 0), 15))
    out = tmp_path / "g.h5"
    command = ("embed", tmp_path / "people", "-o", out, "--min-quality", "0.5", "--json")
    code, stdout, stderr = run(*command, "--chips", tmp_path / "chips")
    record = json.loads(stdout)
    assert code == 0
    assert (record["enrolled"], record["no_face"]) == (1, [])
    ((poor, qualities),) = record["low_quality"].items()
    assert poor.endswith("poor.png")
    assert qualities[0] < 0.5 < record["quality"]["lowest"]
    assert "passed by 1 face of a quality below 0.5" in stderr
    assert len(list((tmp_path / "chips").rglob("*.png"))) == 1
    kept = Gallery.open(out).person("obama")
    assert kept.quality.round(4).tolist() == pytest.approx([record["quality"]["lowest"]])
    shown = json.loads(run("gallery", "show", "obama", "-g", out, "--json")[1])
    assert shown["quality"] == record["quality"]["lowest"]


def test_photos_tell_the_quality_of_each_face(run: Run, data: Path) -> None:
    record = json.loads(run("detect", data / "photos" / "two_people.jpg", "--json")[1])
    assert len(record["faces"]) == 2
    assert all(0 < face["quality"] <= 1 for face in record["faces"])
