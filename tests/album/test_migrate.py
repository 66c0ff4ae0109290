"""Another model: vectors change, everything else stays."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from facerec.album.decisions import confirm_faces
from facerec.album.faces import read_columns, read_faces
from facerec.album.forget import forget_person
from facerec.album.migrate import Migration, is_migrated, migrate, plan_migration
from facerec.album.people import add_person
from facerec.album.store import Album, open_album
from facerec.album.translation import fit_translation
from facerec.errors import IncompatibleError
from facerec.faces import Face, Floats, Image
from facerec.files.locking import locked
from tests.album.faking import SIDE, FakeEngine, OtherEngine, scan, write_photo
from tests.album.test_kill import content, points
from tests.conftest import Run, make_card

PEOPLE = 100


def other_vector(person: int) -> Floats:
    return OtherEngine().vector(person)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(PEOPLE):
        write_photo(folder / f"{number:03d}.png", [1 + number, 1 + (number + 7) % 200])
    return folder


@pytest.fixture
def album(tmp_path: Path, photos: Path) -> Iterator[Album]:
    with open_album(tmp_path / "album.db", create=True) as opened:
        scan(opened, photos)
        yield opened


def run_migration(album: Album, engine: FakeEngine | None = None) -> Migration:
    return migrate(album, engine or OtherEngine(), 10**6)  # type: ignore[arg-type]


def planned(album: Album) -> tuple[int, int]:
    plan = plan_migration(album, make_card(6))
    return plan.embedded, plan.translated


def people_shown(album: Album) -> list[int]:
    """Whom each face shows, by its drawing."""
    return [
        1 + (int(Path(face.path).stem) + 7 * (face.box[0] > 0)) % 200
        for face in read_faces(album)
        if face.path
    ]


def test_all_is_embedded_again_and_nothing_else_changes(album: Album) -> None:
    album.execute("INSERT INTO people (id, name) VALUES (7, 'Anna')")
    album.execute("UPDATE faces SET person = 7, state = 'confirmed' WHERE id = 5")
    album.execute("INSERT INTO decisions (kind, face, person) VALUES ('is', 5, 7)")
    before = list(read_faces(album))
    decisions = list(album.rows("SELECT * FROM decisions"))
    assert planned(album) == (2 * PEOPLE, 0)
    report = run_migration(album)
    assert (report.faces, report.embedded, report.translated) == (200, 200, 0)
    assert list(read_faces(album)) == before
    assert list(album.rows("SELECT * FROM decisions")) == decisions
    columns = read_columns(album)
    expected = [other_vector(person) for person in people_shown(album)]
    assert np.allclose(columns.vectors, expected)
    assert not columns.translated.any()
    assert album.meta("model") == make_card(6).fingerprint()
    assert scan(album, Path(str(before[0].path)).parent, engine=OtherEngine()).new == 0


def test_another_model_is_refused_in_one_line_that_names_migrate(
    album: Album, photos: Path
) -> None:
    write_photo(photos / "new.png", [3], number=3)
    with pytest.raises(IncompatibleError, match="facerec album migrate moves it there"):
        scan(album, photos, engine=OtherEngine())


def test_what_has_no_photo_is_translated_until_it_has(
    album: Album, photos: Path, tmp_path: Path
) -> None:
    for number in range(8):
        photo = photos / f"{number:03d}.png"
        shutil.move(photo, tmp_path / photo.name)
    for number in range(PEOPLE, PEOPLE + 20):
        write_photo(photos / f"{number:03d}.png", [1 + number, 1 + (number + 7) % 200])
    scan(album, photos / "100.png", *(photos / f"{n}.png" for n in range(101, 120)))
    assert planned(album) == (224, 16)
    report = run_migration(album)
    assert (report.embedded, report.translated, report.left) == (224, 16, 0)
    assert report.translation is not None
    assert report.translation.likeness > 0.999
    columns = read_columns(album)
    assert columns.translated.sum() == 16
    assert np.allclose(columns.vectors, list(map(other_vector, people_shown(album))), atol=0.02)
    for number in range(8):
        shutil.move(tmp_path / f"{number:03d}.png", photos)
    engine = OtherEngine()
    report = run_migration(album, engine)
    assert (engine.embedded, report.embedded, report.translated) == (16, 16, 0)
    assert not read_columns(album).translated.any()


def test_too_few_to_learn_from_leave_the_album_as_it_was(album: Album, photos: Path) -> None:
    (photos / "000.png").unlink()
    before, model = read_columns(album), album.meta("model")
    report = run_migration(album)
    assert (report.left, report.embedded, report.translation) == (2, 198, None)
    assert album.meta("model") == model
    assert np.array_equal(read_columns(album).vectors, before.vectors)


def test_a_run_that_was_stopped_goes_on(album: Album) -> None:
    class Stopping(OtherEngine):
        def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
            if self.embedded >= 128:
                raise KeyboardInterrupt
            return super().embed_found(found)

    before = read_columns(album)
    with pytest.raises(KeyboardInterrupt):
        run_migration(album, Stopping())
    assert np.array_equal(read_columns(album).vectors, before.vectors)
    assert planned(album) == (72, 0)
    engine = OtherEngine()
    assert run_migration(album, engine).embedded == 200
    assert engine.embedded == 72
    assert len(read_columns(album).ids) == 200


def test_a_killed_run_leaves_the_old_model_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.album.migrate._BATCH", 2)
    folder, path = tmp_path / "photos", tmp_path / "album.db"
    for number in range(3):
        write_photo(folder / f"{number}.png", [1 + number, 7], number)
    with open_album(path, create=True) as album:
        scan(album, folder)
    before = content(path)
    states = []
    for place in points(path, run_migration):
        states.append(content(place))
        with open_album(place) as album:
            engine = OtherEngine()
            if not is_migrated(album, engine.card):
                run_migration(album, engine)
            assert np.allclose(
                read_columns(album).vectors, [other_vector(one) for one in (1, 7, 2, 7, 3, 7)]
            )
    with open_album(path) as album:
        run_migration(album)
    assert all(state in (before, content(path)) for state in states)
    assert before in states


def test_what_another_migration_gathered_is_not_used(album: Album) -> None:
    album.set_meta("migrating", "some other model")
    album.execute("INSERT INTO migrated VALUES (1, ?)", (b"\0" * 24,))
    engine = OtherEngine()
    run_migration(album, engine)
    assert engine.embedded == 200


def test_photos_in_archives_are_found_and_changed_ones_are_not_used(
    tmp_path: Path, photos: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as packed:
        for photo in sorted(photos.iterdir())[:3]:
            packed.write(photo, photo.name)
    with open_album(tmp_path / "packed.db", create=True) as album:
        scan(album, tmp_path / "some.zip", photos / "050.png")
        write_photo(photos / "050.png", [9, 9])
        report = run_migration(album)
        assert (report.embedded, report.left, report.failed) == (6, 2, {})
        (tmp_path / "some.zip").write_bytes(b"PK\3\4 damaged")
        album.set_meta("migrating", None)
        report = run_migration(album)
        assert (report.embedded, report.left, list(report.failed)) == (
            0, 8, [str(tmp_path / "some.zip")])  # fmt: skip


def test_an_unreadable_photo_is_named(album: Album, photos: Path, monkeypatch) -> None:
    from facerec.album import migrate as module
    from facerec.errors import InputError

    def refuse(data: bytes, name: str, _: int) -> Image:
        if name.endswith("003.png"):
            raise InputError(f"{name}: is damaged")
        return real(data, name)

    real = module.decode_image
    monkeypatch.setattr(module, "decode_image", refuse)
    report = run_migration(album)
    assert list(report.failed.values()) == [f"{photos / '003.png'}: is damaged"]


def test_the_map_of_two_models_is_found_in_noise() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(600, 16)) + 1
    new = old @ rng.normal(size=(16, 24)) + 0.3 * rng.normal(size=(600, 24))
    old, new = (
        (one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in (old, new)
    )
    fitted = fit_translation(old[:500], new[:500], np.arange(500) // 2)
    moved = fitted.apply(old[500:])
    assert moved.dtype == np.float32
    assert np.allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-6)
    likeness = float((moved * new[500:]).sum(axis=1).mean())
    assert likeness > 0.98
    assert fitted.likeness == pytest.approx(likeness, abs=0.01)


def test_a_dry_run_says_what_would_be_done(
    album: Album, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.cli.album.migrate.load_engine", lambda _: OtherEngine())
    (photos / "000.png").unlink()
    model = album.meta("model")
    code, out, err = run("album", "migrate", "--dry-run", "-a", album.path, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert (record["dry_run"], record["embedded"], record["translated"]) == (True, 198, 2)
    assert "would embed 198 faces from their photos, and translate 2" in err
    assert album.meta("model") == model
    code, _, err = run("album", "migrate", "-a", album.path, "--json")
    assert code == 3
    assert "198 faces are too few to learn a translation from (at least 200)" in err


def test_it_does_not_run_beside_a_scan(
    album: Album, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.cli.album.migrate.load_engine", lambda _: OtherEngine())
    model = album.meta("model")
    with locked(album.path):
        code, _, err = run("album", "migrate", "-a", album.path)
        assert (code, "another facerec is writing it" in err) == (2, True)
        assert album.meta("model") == model
        assert run("album", "migrate", "-a", album.path, "--dry-run")[0] == 0
    assert run("album", "migrate", "-a", album.path)[0] == 0


def test_a_vector_of_the_old_model_is_seen_and_embedded(album: Album) -> None:
    old = album.row("SELECT vector, model FROM vectors WHERE face = 5")
    assert old is not None
    run_migration(album)
    album.execute("UPDATE vectors SET vector = ?, model = ? WHERE face = 5", old)
    assert not is_migrated(album, make_card(6))
    assert planned(album) == (1, 0)
    assert run_migration(album).embedded == 1
    assert is_migrated(album, make_card(6))
    assert len(read_columns(album).ids) == 2 * PEOPLE


def test_who_is_forgotten_meanwhile_stays_forgotten(album: Album) -> None:
    confirm_faces(album, [1, 2], add_person(album, "Anna"))

    class Slow(OtherEngine):
        def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
            if not self.embedded:
                forget_person(album, 1)
            return super().embed_found(found)

    run_migration(album, Slow())
    assert len(read_columns(album).ids) == 2 * PEOPLE - 2
    assert is_migrated(album, make_card(6))


def test_large_photos_do_not_wait_for_one_another(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.album.migrate._BATCH_BYTES", 3 * 2 * 16 * 32 * 3)
    counts: list[int] = []

    class Counting(OtherEngine):
        def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
            counts.append(len(found))
            return super().embed_found(found)

    assert run_migration(album, Counting()).embedded == 2 * PEOPLE
    assert (max(counts), sum(counts)) == (12, 2 * PEOPLE)


def test_without_another_model_there_is_nothing_to_do(
    album: Album, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.cli.album.migrate.load_engine", lambda _: FakeEngine())
    code, _, err = run("album", "migrate", "-a", album.path)
    assert (code, "all faces have vectors of" in err) == (0, True)


assert SIDE == 16, "the drawings that `people_shown` reads"
