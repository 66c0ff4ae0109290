"""Galleries in Milvus, beyond what every backend does alike: against a real Milvus Lite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.errors import MissingError, UsageError
from facerec.gallery.addresses import changing, open_gallery
from facerec.gallery.base import Batch
from facerec.gallery.match import Matcher
from facerec.gallery.milvus.backend import MilvusBackend
from facerec.gallery.milvus.client import parse_address
from facerec.gallery.milvus.schema import pack_face
from facerec.profile.schema import RecognizeSection
from tests.conftest import Run, make_card, make_face, spawn

SIZE, PEOPLE, ENTRIES = 16, 60, 900


def random_batch(seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(ENTRIES, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = generator.integers(PEOPLE, size=ENTRIES)
    return Batch(
        [f"O\"Brien 'ü' {number}" for number in numbers],
        [f"a\\b/{row}.jpg" for row in range(ENTRIES)],
        [f"{row:064x}" for row in range(ENTRIES)],
        [{"team": "red" if row % 3 else "blue"} for row in range(ENTRIES)],
        vectors,
        generator.uniform(0, 100, (ENTRIES, 4)).astype(np.float32),
        np.full((ENTRIES, 5, 2), np.nan, np.float32),
        generator.uniform(0, 1, ENTRIES).astype(np.float32),
        generator.uniform(0, 1, ENTRIES).astype(np.float32),
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same entries in HDF5 and in Milvus Lite."""
    folder = tmp_path_factory.mktemp("both")
    addresses = str(folder / "g.h5"), f"milvus+lite://{folder}/g.db"
    for address in addresses:
        with changing(address, create=make_card(SIZE)) as store:
            store.append(random_batch())
    return addresses


@pytest.fixture
def address(tmp_path: Path) -> str:
    place = f"milvus+lite://{tmp_path}/g.db"
    with changing(place, create=make_card()) as store:
        store.add("Ada", [make_face(1, 0, 0, 0)], "ada.jpg", "a")
        store.add("Bob", [make_face(0, 1, 0, 0)], "bob.jpg", "b")
    return place


@pytest.mark.parametrize("match", ["template", "exemplar"])
@pytest.mark.parametrize("where", [None, {"team": "blue"}])
def test_answers_are_those_of_the_file(both: tuple[str, str], match: str, where: dict) -> None:
    queries = random_batch(1).embeddings[:100]
    ours, theirs = (
        open_gallery(address).search(queries, 7, match=match, least=0.1, where=where)  # type: ignore[arg-type]
        for address in both
    )
    assert [[hit.name for hit in hits] for hits in ours] == [
        [hit.name for hit in hits] for hits in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        assert [hit.similarity for hit in one] == pytest.approx(
            [hit.similarity for hit in other], abs=1e-6
        )


def test_decisions_are_those_of_the_file(both: tuple[str, str]) -> None:
    section = RecognizeSection(threshold=0.6, candidates=4)
    queries = random_batch(2).embeddings[:50]
    file, database = (
        Matcher(open_gallery(address), section, make_card(SIZE)).match(queries) for address in both
    )
    assert [match.name for match in file] == [match.name for match in database]
    assert any(match.name for match in file)


def test_vectors_and_boxes_come_back_to_the_bit(both: tuple[str, str]) -> None:
    stored = random_batch()
    (batch,) = open_gallery(both[1]).batches()
    for name in ("embeddings", "box", "landmarks", "score", "quality"):
        assert getattr(batch, name).tobytes() == getattr(stored, name).tobytes()


def test_a_writer_killed_while_adding_leaves_what_was_there(address: str) -> None:
    rows = [
        {"id": number, "person": "Eve", "source": "e", "sha256": "", "meta": {},
         "face": pack_face(np.zeros(4), np.zeros((5, 2)), 1.0, 0.5), "embedding": [0, 0, 1, 0]}
        for number in (2, 3)
    ]  # fmt: skip
    store = MilvusBackend().open(address, None)
    store._write_state(unfinished=True)
    store._client.insert("facerec", rows)
    store._client.insert(
        "facerec_people", [{"id": 2, "person": "Eve", "faces": 2, "embedding": [0, 0, 1, 0]}]
    )

    assert [batch.person for batch in open_gallery(address).batches()] == [["Ada", "Bob"]]
    with changing(address) as writer:
        writer.add("Cid", [make_face(0, 0, 0, 1)], "c.jpg", "c")
    opened = MilvusBackend().verify(address)
    assert opened.counts() == {"Ada": 1, "Bob": 1, "Cid": 1}


def test_a_writer_killed_while_removing_is_made_good_by_the_next(address: str) -> None:
    store = MilvusBackend().open(address, None)
    store._write_state(unfinished=True)
    store._client.delete("facerec", filter="id == 0")
    with pytest.raises(MissingError, match="any further change brings them in line"):
        MilvusBackend().verify(address)
    with changing(address) as writer:
        writer.rename("Bob", "Robert")
    assert MilvusBackend().verify(address).counts() == {"Robert": 1}


def test_a_gallery_that_changed_has_another_version(address: str) -> None:
    before = MilvusBackend().version(address)
    with changing(address) as store:
        store.rename("Bob", "Robert")
    assert MilvusBackend().version(address) != before


def test_a_second_writer_is_refused_while_one_writes(address: str) -> None:
    """As on a server, which has no lock."""
    one, other = (MilvusBackend().open(address, None) for _ in range(2))
    one._write_state(unfinished=True)
    other.add("Cid", [make_face(0, 0, 0, 1)], "c.jpg", "c")
    with pytest.raises(UsageError, match="another facerec is writing it"):
        other.commit()


def test_of_two_that_begin_to_write_at_once_one_says_so(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (MilvusBackend().open(address, None) for _ in range(2))
    one.add("Cid", [make_face(0, 0, 0, 1)], "c.jpg", "c")
    write = one._write_state

    def write_before_the_other(*, unfinished: bool) -> None:
        write(unfinished=unfinished)
        other._write_state(unfinished=True)

    monkeypatch.setattr(one, "_write_state", write_before_the_other)
    with pytest.raises(UsageError, match="at the same time"):
        one.commit()
    assert MilvusBackend().verify(address).counts() == {"Ada": 1, "Bob": 1}


def test_a_gallery_made_by_two_at_once_is_made_by_one(tmp_path: Path) -> None:
    place = f"milvus+lite://{tmp_path}/g.db"
    one, other = (MilvusBackend().create(place, make_card()) for _ in range(2))
    one.add("Ada", [make_face(1, 0, 0, 0)], "a.jpg", "a")
    one.commit()
    other.add("Bob", [make_face(0, 1, 0, 0)], "b.jpg", "b")
    with pytest.raises(UsageError, match="changed by another"):
        other.commit()
    assert open_gallery(place).counts() == {"Ada": 1}


def test_another_process_that_has_it_open_is_named_in_one_line(address: str) -> None:
    assert len(open_gallery(address)) == 2
    done = spawn("gallery", "list", "-g", address)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Milvus Lite serves one process at a time" in done.stderr


@pytest.mark.parametrize(
    ("address", "uri", "collection"),
    [
        ("milvus://host/people", "http://host:19530", "people"),
        ("milvus://10.0.0.7:19531/people_2", "http://10.0.0.7:19531", "people_2"),
        ("milvus+lite://a/b.db", "a/b.db", "facerec"),
    ],
)
def test_addresses_name_a_place(address: str, uri: str, collection: str) -> None:
    place = parse_address(address)
    assert (place.uri, place.collection) == (uri, collection)


@pytest.mark.parametrize(
    "address", ["milvus://", "milvus://host", "milvus://host:1/a b", "milvus+lite://people"]
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"end in \.db|no address of a gallery"):
        open_gallery(address)


def test_a_server_that_does_not_answer_is_missing_in_one_line(run: Run) -> None:
    code, _, err = run("gallery", "list", "-g", "milvus://127.0.0.1:9/people")
    assert (code, err.count("\n")) == (4, 1)
    assert "no Milvus answers there" in err


@pytest.mark.parametrize("command", ["compact", "index"])
def test_what_only_files_need_is_refused(run: Run, address: str, command: str) -> None:
    code, _, err = run("gallery", command, "-g", address)
    assert (code, "is no file" in err) == (2, True)


def test_without_pymilvus_one_line_says_what_to_install(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingError, match=r"pip install 'facerec\[milvus\]'"):
        open_gallery(address)


def test_every_command_takes_the_address(
    run: Run, people: Path, picture: Path, tmp_path: Path
) -> None:
    place = f"milvus+lite://{tmp_path}/g.db"
    code, out, _ = run("embed", people, "-o", place, "--json")
    assert (code, json.loads(out)["people"]) == (0, {"eileen_collins": 1, "grace_hopper": 1})
    assert json.loads(run("embed", people, "-o", place, "--json")[1])["skipped"] == 2

    _, out, _ = run("recognize", "image", picture, "-g", place, "--json")
    assert {face["name"] for face in json.loads(out)["faces"]} >= {"eileen_collins", "grace_hopper"}
    photo = people / "grace_hopper" / "grace_hopper.jpg"
    assert run("compare", photo, "grace_hopper", "-g", place)[0] == 0
    assert run("compare", photo, "eileen_collins", "-g", place)[0] == 1

    _, out, _ = run("gallery", "show", "grace_hopper", "-g", place, "--json")
    assert json.loads(out)["source"] == "people/grace_hopper/grace_hopper.jpg"
    assert run("gallery", "verify", "-g", place)[0] == 0
    assert run("gallery", "export", "--to", "npz", "-g", place)[0] == 0
    assert (tmp_path / "g.npz").exists()
    run("embed", people, "-o", tmp_path / "file.h5")
    assert run("gallery", "merge", tmp_path / "file.h5", "-g", place)[0] == 0
    assert run("gallery", "rename", "grace_hopper", "Grace", "-g", place)[0] == 0
    assert run("gallery", "remove", "eileen_collins", "--force", "-g", place)[0] == 0
    _, out, _ = run("gallery", "list", "-g", place, "--json")
    assert [json.loads(line) for line in out.splitlines()] == [{"person": "Grace", "faces": 1}]
    file = Gallery.open(tmp_path / "file.h5").entries.embeddings[1]
    assert next(iter(open_gallery(place).batches())).embeddings[0].tobytes() == file.tobytes()


@pytest.mark.slow
def test_killing_a_writer_at_any_point_loses_nothing_and_leaves_no_half(tmp_path: Path) -> None:
    place = f"milvus+lite://{tmp_path}/g.db"
    code = f"""
import numpy as np
from facerec.gallery.addresses import changing
from tests.conftest import make_card, make_face
for number in range(1000):
    with changing({place!r}, create=make_card()) as store:
        people = store.counts()
        store.add(f"P{{number % 7}}", [make_face(1, number, 0, 0)] * 3, f"{{number % 13}}.jpg")
        if number % 5 == 4 and "P3" in people:
            store.remove("P3")
    print(number, flush=True)
"""
    generator = np.random.default_rng(0)
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(int(generator.integers(1, 25))):
            writer.stdout.readline()
        writer.kill()
        writer.wait()
        check = (
            "from facerec.gallery.addresses import changing\n"
            "from facerec.gallery.milvus.backend import MilvusBackend\n"
            "from tests.conftest import make_face\n"
            f"with changing({place!r}) as store:\n"
            "    store.add('last', [make_face(1, 0, 0, 0)], 'last.jpg')\n"
            f"opened = MilvusBackend().verify({place!r})\n"
            "assert {n % 3 for p, n in opened.counts().items() if p != 'last'} <= {0}\n"
        )
        subprocess.run([sys.executable, "-c", check], check=True)
