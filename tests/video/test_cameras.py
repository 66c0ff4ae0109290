"""Cameras by name, from folders as Linux lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from facerec.errors import MissingError
from facerec.video import cameras
from facerec.video.cameras import find_camera

CAMERAS = {
    "video0": ("Integrated Camera: Integrated C", "0"),
    "video1": ("Integrated Camera: Integrated C", "1"),
    "video2": ("HD Pro Webcam C920", "0"),
    "video10": ("HD Pro Webcam C920", "0"),
}


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cameras of one kind, and one that has a second device for its metadata."""
    sysfs, dev = tmp_path / "sys", tmp_path / "dev"
    (dev / "v4l" / "by-id").mkdir(parents=True)
    for device, (name, index) in CAMERAS.items():
        (sysfs / device).mkdir(parents=True)
        (sysfs / device / "name").write_text(f"{name}\n")
        (sysfs / device / "index").write_text(f"{index}\n")
        (dev / device).touch()
    for number, device in ((7, "video2"), (8, "video10")):
        link = dev / "v4l" / "by-id" / f"usb-046d_C920_{number}-video-index0"
        link.symlink_to(f"../../{device}")
    monkeypatch.setattr(cameras, "SYSFS", sysfs)
    monkeypatch.setattr(cameras, "DEVICES", dev)
    return dev


def test_a_camera_is_found_by_part_of_its_name_without_its_metadata_device(devices):
    assert find_camera("integrated camera") == str(devices / "video0")


def test_a_camera_is_found_by_its_id(devices):
    assert find_camera("usb-046d_C920_8-video-index0") == str(devices / "video10")


@pytest.mark.parametrize(
    ("name", "told"),
    [("C920", "more than one camera has that name"), ("front door", "no camera has that name")],
)
def test_what_is_no_single_camera_is_told_with_what_there_is(name, told, devices):
    with pytest.raises(MissingError) as raised:
        find_camera(name)
    message = str(raised.value)
    assert message.startswith(told)
    assert f"HD Pro Webcam C920 ({devices / 'video2'})" in message
    assert str(devices / "v4l" / "by-id") in message


def test_a_named_camera_that_does_not_answer_is_refused_with_its_name(run, devices, monkeypatch):
    monkeypatch.chdir(devices)
    code, out, err = run("recognize", "cam", "Integrated Camera", "--no-window")
    assert (code, out) == (4, "")
    assert "Integrated Camera: no such camera, or it does not answer" in err
