"""Galleries as protobuf, npz, CSV and Parquet, and back."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.errors import IncompatibleError, MissingError, UsageError
from facerec.gallery.entries import Entries
from facerec.gallery.exchange import (
    ENDINGS,
    SEED_ENDINGS,
    _dataset_message,
    export_gallery,
    import_gallery,
)
from tests.conftest import Run, make_card, make_face


@pytest.fixture
def gallery() -> Gallery:
    made = Gallery(make_card())
    made.add('Zoë, "Z" 写真', [make_face(1, 0.3, 0.1, 0)], "z/ä,1.jpg", "1" * 64, {"team": "réd"})
    made.add("Ada", [make_face(1, 1, 0, 0), make_face(0, 1, 1, 1, box=(1.1, 2, 3, 4))], "a.jpg")
    return made


@pytest.mark.parametrize("form", ENDINGS)
def test_a_gallery_survives_the_way_out_and_back(
    gallery: Gallery, tmp_path: Path, form: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"g{ENDINGS[form]}"
    export_gallery(gallery, path, form)
    back = import_gallery(path)
    assert (back.people, back.card) == (gallery.people, gallery.card)
    for name in Entries.__slots__:
        np.testing.assert_array_equal(getattr(back.entries, name), getattr(gallery.entries, name))


@pytest.mark.parametrize("form", ENDINGS)
@pytest.mark.parametrize(
    ("source", "meta"),
    [
        ("", {}),
        ("Icon\r", {}),
        ("a\nb.jpg", {"two\nlines": "x\r\ny"}),
        ("a.jpg", {"note": "x" * 200_000}),
    ],
    ids=["none", "return", "lines", "long"],
)
def test_texts_of_all_kinds_come_back(
    tmp_path: Path, form: str, source: str, meta: dict[str, str]
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    gallery = Gallery(make_card())
    gallery.add("007", [make_face(1, 0.3, 0.1, 0)], source, meta=meta)
    gallery.add("Ada", [make_face(1, 1, 0, 0)], "b.jpg")
    path = tmp_path / f"g{ENDINGS[form]}"
    export_gallery(gallery, path, form)
    back = import_gallery(path).entries
    assert back.source.tolist() == gallery.entries.source.tolist()
    assert back.meta.tolist() == gallery.entries.meta.tolist()


def test_an_npz_takes_little_more_than_its_texts(tmp_path: Path) -> None:
    """One long note among many faces took its room for each of them."""
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)] * 2000, "a.jpg")
    gallery.add("Bea", [make_face(0, 1, 0, 0)], "b.jpg", meta={"note": "x" * 40_000})
    tracemalloc.start()
    export_gallery(gallery, tmp_path / "g.npz", "npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
    assert import_gallery(tmp_path / "g.npz").entries.meta[-1] == gallery.entries.meta[-1]


def test_an_npz_with_a_row_per_note_is_read(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    export_gallery(gallery, path, "npz")
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"meta": np.array(gallery.entries.meta, str)}))
    assert import_gallery(path).entries.meta.tolist() == gallery.entries.meta.tolist()


def test_a_csv_that_pandas_or_a_spreadsheet_wrote_anew_is_read(
    gallery: Gallery, tmp_path: Path
) -> None:
    """NaN as an empty cell; the first line in quotes, with a comma for each column."""
    gallery.entries.score[0] = gallery.entries.box[1] = np.nan
    path = tmp_path / "g.csv"
    export_gallery(gallery, path, "csv")
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    cells = io.StringIO()
    csv.writer(cells).writerow([*next(csv.reader([first])), "", ""])
    rest = rest.replace(",nan", ",").replace("\n", "\r\n")
    path.write_text("\ufeff" + cells.getvalue() + rest, encoding="utf-8", newline="")
    back = import_gallery(path)
    assert back.card == gallery.card
    for name in Entries.__slots__:
        np.testing.assert_array_equal(getattr(back.entries, name), getattr(gallery.entries, name))


@pytest.mark.parametrize("form", [*ENDINGS, *SEED_ENDINGS])
def test_a_gallery_of_nobody_is_written_too(gallery: Gallery, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    for person in gallery.people:
        gallery.remove(person)
    path = tmp_path / f"g{(ENDINGS | SEED_ENDINGS)[form]}"
    export_gallery(gallery, path, form)
    assert path.exists()


@pytest.mark.parametrize("form", [*ENDINGS, *SEED_ENDINGS])
def test_a_photo_whose_name_is_no_unicode_is_written(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 1, 0, 0)], "caf\udce9.jpg")
    export_gallery(gallery, tmp_path / "g", form)
    assert b"caf" in (tmp_path / "g").read_bytes() or form == "npz"


@pytest.mark.parametrize("form", ENDINGS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97])
def test_a_cut_off_file_is_named(gallery: Gallery, tmp_path: Path, form: str, share: float) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"g{ENDINGS[form]}"
    export_gallery(gallery, path, form)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises((MissingError, IncompatibleError), match="g\\."):
        import_gallery(path)


def test_the_seeds_own_message_is_read_with_the_profiles_card(tmp_path: Path) -> None:
    dataset = _dataset_message()
    dataset.faceobjects.add(name="Arya", embeddings=[3.0, 4.0, 0.0, 0.0])
    path = tmp_path / "dataset.pb"
    path.write_bytes(dataset.SerializeToString())
    # name = field 1, length 4; embeddings = field 2, packed, four doubles.
    assert path.read_bytes()[2:10] == b"\x0a\x04Arya\x12\x20"
    back = import_gallery(path, assume=make_card())
    np.testing.assert_allclose(back.entries.embeddings, [[0.6, 0.8, 0, 0]], atol=1e-6)
    with pytest.raises(IncompatibleError, match="does not say which model"):
        import_gallery(path)
    with pytest.raises(IncompatibleError, match="4 values, small makes 8"):
        import_gallery(path, assume=make_card(8))


def test_an_unknown_ending_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the ending says the format"):
        import_gallery(tmp_path / "g.xlsx")
    with pytest.raises(MissingError, match="no such file"):
        import_gallery(tmp_path / "g.csv")


def test_an_older_gallery_is_sent_to_convert(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="read by facerec gallery convert"):
        import_gallery(tmp_path / "old.h5")


@pytest.mark.parametrize("name", ["g.protobuf", "G.PB"])
def test_the_endings_that_others_write_are_read(
    gallery: Gallery, tmp_path: Path, name: str
) -> None:
    export_gallery(gallery, tmp_path / name, "protobuf")
    assert import_gallery(tmp_path / name).counts() == gallery.counts()


def test_the_command_line_writes_protobuf_under_the_seeds_ending(
    gallery: Gallery, tmp_path: Path, run: Run
) -> None:
    gallery.save(tmp_path / "g.h5")
    out = tmp_path / "dataset_lanister.protobuf"
    arguments = ("-g", tmp_path / "g.h5", "-o", out)
    assert run("gallery", "export", "--to", "protobuf", *arguments)[0] == 0
    assert run("gallery", "import", out, "-g", tmp_path / "back.h5")[0] == 0
    code, _, err = run("gallery", "export", "--to", "csv", *arguments)
    assert (code, "a csv file ends in .csv" in err) == (2, True)


def test_the_command_line_takes_a_gallery_out_and_in(
    gallery: Gallery, tmp_path: Path, run: Run
) -> None:
    gallery.save(tmp_path / "g.h5")
    assert run("gallery", "export", "--to", "csv", "-g", tmp_path / "g.h5")[0] == 0
    code, _, err = run("gallery", "export", "--to", "csv", "-g", tmp_path / "g.h5")
    assert (code, "--force replaces it" in err) == (2, True)
    means = ("--to", "npz", "--per", "person", "-g", tmp_path / "g.h5")
    code, _, err = run("gallery", "export", *means)
    assert (code, "2 faces of 2 people" in err) == (0, True)
    code, _, err = run("gallery", "import", tmp_path / "g.csv", "-g", tmp_path / "back.h5")
    assert (code, "3 faces of 2 people" in err) == (0, True)
    assert Gallery.open(tmp_path / "back.h5").counts() == gallery.counts()


@pytest.mark.parametrize("form", ENDINGS)
def test_progress_counts_every_entry(gallery: Gallery, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"g{ENDINGS[form]}"
    written: list[int] = []
    read: list[int] = []
    export_gallery(gallery, path, form, written.append)
    import_gallery(path, advance=read.append)
    assert sum(written) == sum(read) == len(gallery)


def test_an_npz_that_claims_terabytes_or_whose_deflate_is_damaged_is_one_line(tmp_path: Path):
    import struct
    import zipfile

    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4), }"
    head = head.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("names.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head)
    with zipfile.ZipFile(tmp_path / "packed.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("names.npy", b"x" * 1000)
    data = bytearray((tmp_path / "packed.npz").read_bytes())
    data[40:44] = b"\xff" * 4
    (tmp_path / "packed.npz").write_bytes(data)
    (tmp_path / "cell.csv").write_bytes(b'"' + b"x" * 200_000 + b'"\n')
    for name in ("huge.npz", "packed.npz", "cell.csv"):
        with pytest.raises(MissingError, match="damaged, or no gallery"):
            import_gallery(tmp_path / name)
