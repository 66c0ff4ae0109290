"""Hostile bodies are refused in one line: 4xx, never a traceback, and the server goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.serving.conftest import MakeClient
from tests.serving.hostile import hostile_bodies


@pytest.mark.parametrize(
    "count", [pytest.param(200, id="200"), pytest.param(2000, id="2000", marks=pytest.mark.slow)]
)
def test_hostile_bodies_are_refused(
    make_client: MakeClient, portrait_bytes: dict[str, bytes], tmp_path: Path, count: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    place = tmp_path / "people.h5"
    client = make_client(place)
    photo = portrait_bytes["grace_hopper"]
    client.post("/v1/people/ann/faces", content=photo)
    before = place.read_bytes()
    statuses: dict[int, int] = {}
    with caplog.at_level(logging.ERROR):
        for sent in hostile_bodies(count, photo):
            headers = {"content-type": sent.kind.encode("latin-1", "replace")} if sent.kind else {}
            answered = client.request(sent.method, sent.path, content=sent.body, headers=headers)
            statuses[answered.status_code] = statuses.get(answered.status_code, 0) + 1
            if answered.status_code != 200:
                error = answered.json()["error"]
                assert 400 <= answered.status_code < 500, (sent, error)
                assert error["message"] and "\n" not in error["message"]
                assert "Traceback" not in error["message"]
    # An empty list of photos is answered by an empty list.
    assert statuses.pop(200, 0) <= count // 50
    assert not caplog.records
    assert place.read_bytes() == before
    assert client.post("/v1/recognize", content=photo).json()["faces"][0]["name"] == "ann"
    print(dict(sorted(statuses.items())))
