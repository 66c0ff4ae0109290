"""The cache of embeddings, which evaluation and cleanup share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facerec.engine.cache import EmbeddingCache
from facerec.errors import MissingError, UsageError

VECTOR = np.array([0.6, 0.8], np.float32)


def open_cache(path: Path, origin: str | None = "a model") -> EmbeddingCache:
    return EmbeddingCache(path, origin, remedy="give --no-cache")


def test_what_was_put_comes_back_at_once_and_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.sqlite"
    with open_cache(path) as cache:
        cache.put("face", VECTOR, '{"faces": 1}', b"webp")
        cache.put("none", None)
        assert "face" in cache and "other" not in cache
        assert cache.get("face")[0].tolist() == VECTOR.tolist()
        assert cache.thumbnail("face") == b"webp"
    with open_cache(path) as cache:
        vector, facts = cache.get("face")
        assert (vector.dtype, vector.tolist(), facts) == (
            np.float32,
            VECTOR.tolist(),
            '{"faces": 1}',
        )
        assert cache.thumbnail("face") == b"webp"
        assert "none" in cache and cache.get("none") == (None, "")
        assert cache.thumbnail("none") == cache.thumbnail("other") == b""


def test_a_run_that_fails_keeps_what_it_had(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_cache(tmp_path / "c") as cache:
        cache.put("face", VECTOR)
        raise ZeroDivisionError
    with open_cache(tmp_path / "c") as cache:
        assert "face" in cache


def test_a_killed_run_keeps_its_whole_batches(tmp_path: Path) -> None:
    script = (
        "import os, numpy as np\nfrom pathlib import Path\n"
        "from tests.test_cache import open_cache\n"
        f"cache = open_cache(Path({str(tmp_path / 'c')!r}))\n"
        "for number in range(150): cache.put(str(number), np.ones(2, np.float32))\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    with open_cache(tmp_path / "c") as cache:
        assert [str(number) in cache for number in (0, 127, 128)] == [True, True, False]


def test_vectors_of_another_origin_are_forgotten(tmp_path: Path) -> None:
    with open_cache(tmp_path / "c", "one model") as cache:
        cache.put("face", VECTOR)
    with open_cache(tmp_path / "c", None) as cache:
        assert "face" in cache
    with open_cache(tmp_path / "c", "another") as cache:
        assert "face" not in cache
    with open_cache(tmp_path / "c", "one model") as cache:
        assert "face" not in cache


def test_the_survey_of_an_older_cleanup_is_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "survey.sqlite") as database:
        database.execute("CREATE TABLE origin (text TEXT)")
        database.execute("INSERT INTO origin VALUES ('a model')")
        database.execute(
            "CREATE TABLE images (sha256 TEXT PRIMARY KEY, vector BLOB, facts TEXT, thumbnail BLOB)"
        )
        row = ("face", VECTOR.tobytes(), '{"faces": 1}', b"webp")
        database.execute("INSERT INTO images VALUES (?, ?, ?, ?)", row)
    with open_cache(tmp_path / "survey.sqlite") as cache:
        assert cache.get("face")[0].tolist() == VECTOR.tolist()
        assert (cache.get("face")[1], cache.thumbnail("face")) == ('{"faces": 1}', b"webp")


def test_two_runs_share_a_file(tmp_path: Path) -> None:
    with open_cache(tmp_path / "c") as first, open_cache(tmp_path / "c") as second:
        for number in range(100):
            first.put(f"first {number}", VECTOR)
            second.put(f"second {number}", VECTOR)
            first.put("both", VECTOR)
            second.put("both", VECTOR)
    with open_cache(tmp_path / "c") as cache:
        assert "both" in cache
        assert all(f"{name} {n}" in cache for name in ("first", "second") for n in range(100))


@pytest.mark.parametrize("error", [MissingError, UsageError])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, error: type[Exception]) -> None:
    (tmp_path / "c").write_bytes(b"no database" * 100)
    with pytest.raises(error, match=r"c: .* cannot be used \(.*\); delete it, or give --no-cache"):
        EmbeddingCache(tmp_path / "c", "a model", remedy="give --no-cache", error=error)


def test_a_file_damaged_in_its_middle_says_what_to_do(tmp_path: Path) -> None:
    with open_cache(tmp_path / "c") as cache:
        for number in range(64):
            cache.put(str(number), np.ones(512, np.float32))
    data = bytearray((tmp_path / "c").read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    (tmp_path / "c").write_bytes(data)
    with (
        pytest.raises(MissingError, match="delete it, or give --no-cache"),
        open_cache(tmp_path / "c") as cache,
    ):
        for number in range(64):
            cache.get(str(number))


def test_a_run_whose_vectors_another_origin_deleted_says_so(tmp_path: Path) -> None:
    with open_cache(tmp_path / "c") as cache:
        cache.put("face", VECTOR)
    with open_cache(tmp_path / "c") as cache:
        open_cache(tmp_path / "c", "another").close()
        with pytest.raises(MissingError, match="another run"):
            cache.get("face")


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MissingError, match="delete it, or give --no-cache"):
        open_cache(tmp_path / "file" / "c")
