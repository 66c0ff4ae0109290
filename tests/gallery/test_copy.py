"""`facerec gallery copy` between galleries of any kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from facerec.card import Calibration
from facerec.gallery import copying
from facerec.gallery.addresses import changing, open_gallery
from tests.conftest import Run, make_card, spawn
from tests.gallery.test_contract import ADDRESSES
from tests.gallery.test_milvus import ENTRIES, SIZE, random_batch


def everything(address: str) -> list[tuple]:
    numbers = ("embeddings", "box", "landmarks", "score", "quality")
    return [
        (
            batch.person[row],
            batch.source[row],
            batch.sha256[row],
            dict(batch.meta[row]),
            *(getattr(batch, name)[row].tobytes() for name in numbers),
        )
        for batch in open_gallery(address).batches()
        for row in range(len(batch))
    ]


@pytest.fixture
def source(tmp_path: Path) -> str:
    address = str(tmp_path / "source.h5")
    with changing(address, create=make_card(SIZE)) as store:
        store.append(random_batch())
    return address


@pytest.mark.parametrize("there", ADDRESSES)
@pytest.mark.parametrize("back", ADDRESSES)
def test_a_copy_of_a_copy_is_the_gallery(
    run: Run, source: str, tmp_path: Path, there: str, back: str
) -> None:
    first, second = ADDRESSES[there](tmp_path / "1"), ADDRESSES[back](tmp_path / "2")
    assert run("gallery", "copy", source, first)[0] == 0
    assert run("gallery", "copy", first, second)[0] == 0
    assert everything(second) == everything(source)
    assert open_gallery(second).card == make_card(SIZE).for_gallery()


@pytest.mark.parametrize("kind", ADDRESSES)
def test_a_copy_made_again_has_the_thresholds_calibrated_since(
    run: Run, source: str, tmp_path: Path, kind: str
) -> None:
    target = ADDRESSES[kind](tmp_path)
    assert run("gallery", "copy", source, target)[0] == 0
    with changing(source) as store:
        calibration = Calibration(data="mine", pairs=900, thresholds={"1e-2": 0.5})
        store.card = store.card.model_copy(update={"calibration": calibration})
    code, _, err = run("gallery", "copy", source, target)
    assert (code, "has the model card of" in err) == (0, True)
    assert open_gallery(target).card == open_gallery(source).card
    assert "card" not in run("gallery", "copy", source, target)[2]


@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize("whose", ["gallery", None])
def test_a_first_copy_has_the_thresholds_written_into_the_gallery(
    run: Run, source: str, tmp_path: Path, whose: str | None, kind: str
) -> None:
    with changing(source) as store:
        store.card = make_card(SIZE, calibrated_for=whose)
    target = ADDRESSES[kind](tmp_path)
    code, _, err = run("gallery", "copy", source, target)
    assert (code, "card" in err) == (0, False)
    assert open_gallery(target).card == make_card(SIZE, calibrated_for=whose)


@pytest.mark.parametrize("kind", ADDRESSES)
def test_a_copy_that_was_interrupted_goes_on_where_it_stopped(
    source: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = ADDRESSES[kind](tmp_path)
    monkeypatch.setattr(copying, "_ROWS", 100)
    monkeypatch.setattr("facerec.gallery.addresses._SHARE", 1e9)
    seen = 0

    def stop_after_five(count: int) -> None:
        nonlocal seen
        seen += count
        if seen >= 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), changing(target, create=make_card(SIZE)) as store:
        copying.continue_copy(open_gallery(source), store, stop_after_five)
    assert len(open_gallery(target)) == 500
    with changing(target) as store:
        assert copying.continue_copy(open_gallery(source), store, lambda _: None) == 400
    assert everything(target) == everything(source)


@pytest.mark.parametrize("kind", ADDRESSES)
def test_a_gallery_of_other_entries_is_replaced_only_by_force(
    run: Run, source: str, tmp_path: Path, kind: str
) -> None:
    target = ADDRESSES[kind](tmp_path)
    with changing(target, create=make_card(SIZE)) as store:
        store.append(random_batch(5))
    code, _, err = run("gallery", "copy", source, target)
    assert (code, "--force replaces them" in err) == (2, True)
    assert everything(target) != everything(source)
    assert run("gallery", "copy", source, target, "--force")[0] == 0
    assert everything(target) == everything(source)


def test_a_copy_in_milvus_is_there_for_the_next_process(source: str, tmp_path: Path) -> None:
    target = f"milvus+lite://{tmp_path}/g.db"
    assert spawn("gallery", "copy", source, target).returncode == 0
    done = spawn("gallery", "verify", "-g", target, "--json")
    assert (done.returncode, json.loads(done.stdout)["faces"]) == (0, ENTRIES)
    assert done.stderr == f"facerec: {target}: sound\n"


def test_a_gallery_of_another_model_is_replaced_only_by_force(
    run: Run, source: str, tmp_path: Path
) -> None:
    target = str(tmp_path / "other.h5")
    with changing(target, create=make_card(8)):
        pass
    assert run("gallery", "copy", source, target)[0] == 2
    assert run("gallery", "copy", source, target, "--force")[0] == 0


def test_a_gallery_is_not_copied_onto_itself(run: Run, source: str) -> None:
    assert run("gallery", "copy", source, source, "--force")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADDRESSES)
def test_killing_a_copy_loses_and_doubles_nothing(tmp_path: Path, kind: str) -> None:
    source, target = str(tmp_path / "source.h5"), ADDRESSES[kind](tmp_path)
    with changing(source, create=make_card(SIZE)) as store:
        for seed in range(12):
            store.append(random_batch(seed))
    code = f"""
from facerec.card import Calibration
from facerec.gallery import copying
from facerec.gallery import addresses
from facerec.gallery.addresses import changing, open_gallery
from tests.conftest import make_card
copying._ROWS, addresses._SHARE = 300, 1e9
with changing({target!r}, create=make_card({SIZE})) as store:
    copying.continue_copy(open_gallery({source!r}), store, lambda _: print(flush=True))
"""
    for chunks in (1, 4, 9, 17):
        copy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert copy.stdout is not None
        for _ in range(chunks):
            copy.stdout.readline()
        copy.kill()
        copy.wait()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert everything(target) == everything(source)
