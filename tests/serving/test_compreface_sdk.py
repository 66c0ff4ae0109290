"""The pip package `compreface-sdk`, unchanged, against a running server."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import urllib3.contrib

from tests.serving.processes import serving
from tests.serving.running import running

# The SDK asks for requests-toolbelt 0.9.1, which imports a module that urllib3 2 has no more, for
# Google's App Engine.
sys.modules.setdefault("urllib3.contrib.appengine", types.ModuleType("appengine"))
urllib3.contrib.appengine = sys.modules["urllib3.contrib.appengine"]  # type: ignore[attr-defined]
compreface = pytest.importorskip("compreface", reason="compreface-sdk is not installed")

KEY = "00000000-0000-0000-0000-000000000002"


def use_all_of_it(url: str, portraits: dict[str, Path], picture: Path, key: str = KEY) -> None:
    """Each call of the SDK, as its README shows them."""
    domain, port = url.rsplit(":", 1)
    client = compreface.CompreFace(domain, port, {"limit": 0, "det_prob_threshold": 0.8})
    recognition = client.init_face_recognition(key)
    verification = client.init_face_verification(key)
    detection = client.init_face_detection(key)
    faces, subjects = recognition.get_face_collection(), recognition.get_subjects()

    assert subjects.add("Zoë Ünal") == {"subject": "Zoë Ünal"}
    assert subjects.list() == {"subjects": ["Zoë Ünal"]}
    assert subjects.update("Zoë Ünal", "Zoë") == {"updated": True}
    assert subjects.delete("Zoë") == {"subject": "Zoë"}

    ids = {}
    for name, file in portraits.items():
        # By its path, and by its bytes.
        photo = str(file) if not ids else file.read_bytes()
        ids[name] = faces.add(photo, name, {"det_prob_threshold": 0.5})["image_id"]
    listed = faces.list()
    assert {face["image_id"]: face["subject"] for face in listed["faces"]} == {
        face: name for name, face in ids.items()
    }
    assert subjects.list() == {"subjects": list(portraits)}

    found = recognition.recognize(str(picture))["result"]
    assert {face["subjects"][0]["subject"] for face in found} == set(portraits)
    options = {"limit": 1, "prediction_count": 2, "status": "true", "det_prob_threshold": 0.8,
               "face_plugins": "calculator,age,gender,landmarks"}  # fmt: skip
    (face,) = recognition.recognize(str(picture), options)["result"]
    assert len(face["subjects"]) == 2 and {"embedding", "landmarks", "execution_time"} <= set(face)

    first, second = portraits
    checked = faces.verify(str(picture), ids[first])["result"]
    assert sum(face["similarity"] > 0.5 for face in checked) == 1
    assert len(detection.detect(str(picture))["result"]) == 2
    same = verification.verify(str(portraits[first]), str(portraits[first]))["result"][0]
    assert same["face_matches"][0]["similarity"] == 1.0
    other = verification.verify(str(portraits[first]), str(portraits[second]))["result"][0]
    assert other["face_matches"][0]["similarity"] < 0.5

    assert faces.delete(ids[first]) == {"image_id": ids[first], "subject": first}
    assert faces.delete_all(second) == {"deleted": 1}
    assert subjects.delete_all() == {"deleted": 0}
    assert recognition.recognize(str(portraits[first]))["result"][0]["subjects"] == []
    assert faces.delete(ids[first])["code"] == 44


def test_the_sdk_runs_unchanged(make_client, portraits, picture, tmp_path):
    with running(make_client(tmp_path / "g.h5").app) as url:
        use_all_of_it(url, portraits, picture)


def test_home_assistant_names_who_is_before_the_camera(make_client, portraits, tmp_path):
    """frnyb-home-assistant/CompreFace, `sensor.py`: the first face's first subject, beyond 0.8."""
    first, second = portraits
    with running(make_client(tmp_path / "g.h5").app) as url:
        client = compreface.CompreFace(*url.rsplit(":", 1))
        recognition = client.init_face_recognition(KEY)

        def person(photo: Path) -> str:
            try:
                subject = recognition.recognize(str(photo))["result"][0]["subjects"][0]
            except (KeyError, TypeError, IndexError):
                return "none"
            return subject["subject"] if subject["similarity"] > 0.8 else "none"

        assert person(portraits[first]) == "none"
        recognition.get_face_collection().add(str(portraits[first]), first)
        assert person(portraits[first]) == first
        assert person(portraits[second]) == "none"


@pytest.mark.slow
def test_the_sdk_runs_unchanged_against_a_process(portraits, picture, tmp_path):
    with serving("-g", tmp_path / "g.h5") as server:
        use_all_of_it(server.url, portraits, picture)
