"""Training data: containers, selection, augmentation, batches."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import struct
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerec.alignment.warp import ARCFACE, adapt_chip
from facerec.errors import InputError, MissingError, UsageError
from facerec.profile.schema import DataSection
from facerec.training.data.augmentation import Augmentation, _random_crop
from facerec.training.data.fitting import check_aligned, fit
from facerec.training.data.loader import Loader
from facerec.training.data.opening import open_examples, open_training_data
from facerec.training.data.recordio import RecordFile
from facerec.training.data.selection import Selection, select, split
from facerec.training.data.synthetic import Synthetic
from tests.conftest import ROOT, make_card, noise

FIELD = ROOT.parent / "shared" / "field"

MAGIC = 0xCED7230A
PEOPLE = {"ann": 3, "bob": 2, "çelik": 1}


def png(seed: int, side: int = 16) -> bytes:
    return cv2.imencode(".png", noise(side, side, seed))[1].tobytes()


def contents() -> dict[str, bytes]:
    """Files of a folder per person; the seed of each image is its position."""
    names = [f"{person}/{number}.png" for person, n in PEOPLE.items() for number in range(n)]
    return {name: png(seed) for seed, name in enumerate(names)}


def as_folder(tmp_path: Path) -> Path:
    for name, data in contents().items():
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "faces" / "readme.txt").write_text("no image")
    return tmp_path / "faces"


def as_tar(tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "faces.tar", "w") as archive:
        _fill(archive, {f"faces/{name}": data for name, data in contents().items()})
    return tmp_path / "faces.tar"


def as_zip(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name, data in contents().items():
            archive.writestr(name, data)
    return tmp_path / "faces.zip"


def as_shards(tmp_path: Path) -> Path:
    """Two tars, labels as text in one and as JSON in the other."""
    (tmp_path / "shards").mkdir()
    files = list(contents().items())
    for shard, part in enumerate((files[:3], files[3:])):
        members = {}
        for number, (name, data) in enumerate(part):
            person = name.partition("/")[0]
            members[f"{number:06d}.png"] = data
            if shard == 0:
                members[f"{number:06d}.cls"] = person.encode()
            else:
                members[f"{number:06d}.json"] = json.dumps({"label": person}).encode()
        with tarfile.open(tmp_path / "shards" / f"faces-{shard:04d}.tar", "w") as archive:
            _fill(archive, members)
    return tmp_path / "shards"


def _fill(archive: tarfile.TarFile, members: dict[str, bytes]) -> None:
    for name, data in members.items():
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def as_records(
    tmp_path: Path, *, split_magic: bool = False, people: bool = True, after: int | None = None,
    first: int = 1,
) -> Path:  # fmt: skip
    """insightface's layout: record 0, the images, then a record per person.

    Args:
        split_magic: cut records where they hold the mark of a record, as MXNet does.
        people: write the people's records, and the labels of images as one number.
        after: what record 0 says is the end of the people's records; None: their end.
        first: key of the first image; those of a large set are rounded in ranges and record 0.
    """
    records = []
    ranges = []
    images = list(contents().items())
    for label, person in enumerate(PEOPLE):
        mine = [data for name, data in images if name.startswith(f"{person}/")]
        begin = first + len(records)
        one = struct.pack("<IfQQ", 0, label, 0, 0)
        two = struct.pack("<IfQQ2f", 2, 0, 0, 0, label, 1)
        records += [(one if people else two) + data for data in mine]
        ranges.append((begin, begin + len(mine)))
    end = first + len(records)
    if people:
        records += [struct.pack("<IfQQ2f", 2, 0, 0, 0, *pair) for pair in ranges]
    last = end + len(ranges) if after is None else after
    head = struct.pack("<IfQQ2f", 2, 0, 0, 0, end, last)
    folder = tmp_path / "records"
    folder.mkdir()
    offsets = []
    with (folder / "train.rec").open("wb") as file:
        for record in (head, *records):
            offsets.append(file.tell())
            parts = record.split(struct.pack("<I", MAGIC)) if split_magic else [record]
            for number, part in enumerate(parts):
                flag = 0 if len(parts) == 1 else 1 if number == 0 else 3
                if 0 < number < len(parts) - 1:
                    flag = 2
                file.write(struct.pack("<II", MAGIC, flag << 29 | len(part)) + part)
                file.write(b"\0" * (-len(part) % 4))
    keys = (0, *range(first, first + len(records)))
    index = "".join(f"{key}\t{offset}\n" for key, offset in zip(keys, offsets, strict=True))
    (folder / "train.idx").write_text(index)
    return folder


@pytest.mark.parametrize("make", [as_folder, as_tar, as_zip, as_shards, as_records])
def test_every_container_gives_the_same_images_and_people(make, tmp_path):
    examples = open_examples(str(make(tmp_path)))
    found = {}
    for index, label in enumerate(examples.labels):
        found.setdefault(int(label), []).append(examples.image(index))
    counts = sorted(len(images) for images in found.values())
    assert counts == sorted(PEOPLE.values())
    if make is not as_records:
        assert examples.people == sorted(PEOPLE)
    images_found = {image.tobytes() for images in found.values() for image in images}
    assert images_found == {noise(16, 16, seed)[..., ::-1].tobytes() for seed in range(6)}


@pytest.mark.parametrize("after", [None, 7], ids=["absent", "none"])
def test_records_without_people_are_labelled_by_themselves(after, tmp_path):
    examples = open_examples(str(as_records(tmp_path, people=False, after=after)))
    assert np.bincount(examples.labels).tolist() == list(PEOPLE.values())
    assert examples.image(0).shape == (16, 16, 3)


@pytest.mark.parametrize("people", [True, False])
@pytest.mark.parametrize("first", [2**24 - 3, 2**24, 2**24 + 1, 2**24 + 2, 2**25 + 1, 2**26 - 5])
def test_records_of_a_large_set_are_labelled_by_themselves(first, people, tmp_path):
    examples = open_examples(str(as_records(tmp_path, people=people, first=first)))
    assert examples.labels.tolist() == [0, 0, 0, 1, 1, 2]
    for index in range(6):
        assert examples.name(index).endswith(f":{first + index}")
        assert np.array_equal(examples.image(index), noise(16, 16, index)[..., ::-1])


def test_to_open_records_without_people_no_image_is_read(tmp_path, monkeypatch):
    folder = as_records(tmp_path, people=False)
    read_at, read = RecordFile._read_at, []

    def counted(self, position, length):
        read.append(length)
        return read_at(self, position, length)

    monkeypatch.setattr(RecordFile, "_read_at", counted)
    open_examples(str(folder))
    assert sum(read) < 7 * 60


def test_a_label_whose_record_is_cut_before_it_is_read(tmp_path):
    content = struct.pack("<IfQQf", 1, 0, MAGIC << 32, 0, 5) + png(0)
    first, second = content.split(struct.pack("<I", MAGIC))
    data = b""
    for flag, part in ((1, first), (3, second)):
        data += struct.pack("<II", MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
    (tmp_path / "train.rec").write_bytes(data)
    (tmp_path / "train.idx").write_text("1\t0\n")
    assert open_examples(str(tmp_path)).people == ["5"]


def test_the_records_of_some_people_are_damaged(tmp_path):
    with pytest.raises(MissingError, match="its index has no record"):
        open_examples(str(as_records(tmp_path, after=100)))


def test_the_records_that_people_report_trouble_with_are_read():
    if not (FIELD / "recordio-no-identities").is_dir():
        pytest.skip(f"no test data at {FIELD}")
    examples = open_examples(str(FIELD / "recordio-no-identities" / "train.rec"))
    assert np.bincount(examples.labels).tolist() == [4, 4, 4]
    assert examples.image(11).ndim == 3


def test_a_record_that_holds_the_magic_is_put_together_again(tmp_path):
    folder = as_records(tmp_path)
    data = (folder / "train.rec").read_bytes()
    inner = struct.pack("<I", MAGIC)
    image = png(0)
    text = image[:40] + inner + image[40:]
    parts = (struct.pack("<IfQQ", 0, 0, 0, 0) + text).split(inner)
    assert len(parts) == 2
    at = len(data)
    for flag, part in ((1, parts[0]), (3, parts[1])):
        data += struct.pack("<II", MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
    (folder / "train.rec").write_bytes(data)
    lines = (folder / "train.idx").read_text().split("\n")
    lines[1] = f"1\t{at}"
    (folder / "train.idx").write_text("\n".join(lines))
    examples = open_examples(str(folder))
    assert examples._record(1).endswith(text)


def test_shards_may_be_named_by_a_pattern_or_by_numbers(tmp_path):
    folder = as_shards(tmp_path)
    for where in (f"{folder}/faces-*.tar", f"{folder}/faces-{{0000..0001}}.tar"):
        assert len(open_examples(where).labels) == 6
    assert len(open_examples(f"{folder}/faces-0000.tar").labels) == 3
    with pytest.raises(MissingError, match=r"faces-0002\.tar: no such shard"):
        open_examples(f"{folder}/faces-{{0000..0002}}.tar")


def test_a_folder_of_compressed_shards_is_read(tmp_path):
    folder = as_shards(tmp_path)
    for tar in sorted(folder.glob("*.tar")):
        tar.with_suffix(".tar.gz").write_bytes(gzip.compress(tar.read_bytes()))
        tar.unlink()
    examples = open_examples(str(folder))
    assert examples.people == sorted(PEOPLE)
    assert len(examples.labels) == 6


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "zip"])
def test_a_folder_per_person_may_hold_the_archive_that_it_came_from(suffix, tmp_path):
    folder = as_folder(tmp_path)
    packed = as_zip(tmp_path) if suffix == "zip" else as_tar(tmp_path)
    data = packed.read_bytes()
    plain = suffix in ("tar", "zip")
    (folder / f"faces.{suffix}").write_bytes(data if plain else gzip.compress(data))
    examples = open_examples(str(folder))
    assert examples.people == sorted(PEOPLE)
    assert len(examples.labels) == 6


def test_a_folder_of_an_archive_without_labels_names_both_readings(tmp_path):
    packed = as_tar(tmp_path)
    (tmp_path / "packed").mkdir()
    packed.rename(tmp_path / "packed" / "faces.tar")
    with pytest.raises(MissingError) as raised:
        open_examples(str(tmp_path / "packed"))
    told = str(raised.value)
    assert "no images in folders, one per person, and its archives (faces.tar) no labels" in told
    assert "if people have folders inside faces.tar, give that" in told
    assert len(open_examples(str(tmp_path / "packed" / "faces.tar")).labels) == 6


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("train.lst", b"0\t0\tann/0.jpg\n", "a list of MXNet's im2rec"),
        ("train.idx", b"0\t0\n", "the index of a train.rec"),
        ("faces.csv", b"path,label\nann/0.jpg,0\n", "a table"),
        ("data.mdb", bytes(8192), "an LMDB database"),
        ("data/train-00000-of-00001.parquet", b"PAR1" + bytes(100) + b"PAR1", "a Parquet table"),
    ],
)
def test_training_data_of_other_projects_is_refused_by_its_kind(name, content, kind, tmp_path):
    file = tmp_path / "set" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    (tmp_path / "set" / "README.md").write_text("of another project")
    read = "; training reads a folder per person, a tar or zip of that, insightface's train.rec"
    for where in (file, tmp_path / "set"):
        with pytest.raises(UsageError) as raised:
            open_examples(str(where))
        assert kind in str(raised.value)
        assert read in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_list_beside_the_images_leaves_them_what_they_are(tmp_path):
    folder = as_folder(tmp_path)
    (folder / "train.lst").write_text("0\t0\tann/0.png\n")
    assert len(open_examples(str(folder)).labels) == 6


def test_what_is_no_training_data_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "train.rec").write_bytes(b"nonsense")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(MissingError, match="no training data"):
        open_examples(str(tmp_path / "absent"))
    with pytest.raises(MissingError, match="no images in folders"):
        open_examples(str(tmp_path / "empty"))
    with pytest.raises(MissingError, match=r"train\.idx: no such file"):
        open_examples(str(tmp_path / "train.rec"))
    (tmp_path / "train.idx").write_text("0\t0\n")
    with pytest.raises(MissingError, match="not insightface's image records"):
        open_examples(str(tmp_path / "train.rec"))
    with pytest.raises(UsageError, match="neither a folder nor a readable"):
        open_examples(str(tmp_path / "text.txt"))


def readable(records: Path) -> int:
    """How many images of a train.rec can be read; 0 if it is refused."""
    count = 0
    try:
        examples = open_examples(str(records))
        for index in range(len(examples.labels)):
            with contextlib.suppress(InputError):
                examples.image(index)
                count += 1
    except (MissingError, InputError):
        pass
    return count


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_damaged_records_are_refused_or_give_errors_of_ours(tmp_path_factory, damage):
    folder = tmp_path_factory.mktemp("records")
    (folder / "train.rec").write_bytes(damage)
    (folder / "train.idx").write_text("0\t0\n1\t20\n")
    assert readable(folder / "train.rec") <= 1


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=40), st.floats(0, 1))
def test_damage_to_one_record_leaves_the_others(tmp_path_factory, damage, place):
    folder = as_records(tmp_path_factory.mktemp("damaged"))
    records = folder / "train.rec"
    assert readable(records) == 6
    whole = records.read_bytes()
    # Past the head, and before the people's ranges, on which all depend.
    first, last = (int((folder / "train.idx").read_text().split()[n]) for n in (3, 15))
    at = first + int(place * (last - first - len(damage)))
    records.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
    assert readable(records) >= 4


def test_people_with_few_images_and_people_not_named_are_left_out(tmp_path):
    examples = open_examples(str(as_folder(tmp_path)))
    everybody = select(examples, people=None, min_images=2)
    assert everybody.people == ["ann", "bob"]
    assert np.bincount(everybody.labels).tolist() == [3, 2]
    named = select(examples, people={"bob", "çelik", "nobody"}, min_images=1)
    assert named.people == ["bob", "çelik"]
    assert [examples.labels[index] for index in named.indices] == [1, 1, 2]
    with pytest.raises(UsageError, match="1 of 3 people are left"):
        select(examples, people={"bob"}, min_images=1)


def test_people_are_named_in_a_file_with_a_mark_and_accents_of_either_form(tmp_path):
    names = tmp_path / "people.txt"
    names.write_text(unicodedata.normalize("NFD", "\ufeffbob\n çelik \n"), "utf-8")
    section = DataSection(train=str(as_folder(tmp_path)), people=names)
    data = open_training_data(section, make_card(), 0, print, tmp_path)
    assert data.training.people == ["bob", "çelik"]


def test_one_set_given_twice_is_refused(tmp_path):
    faces = as_folder(tmp_path)
    (tmp_path / "link").symlink_to(faces)
    section = DataSection(train=(str(faces), str(tmp_path / "link")))
    with pytest.raises(UsageError, match="link: given twice"):
        open_training_data(section, make_card(), 0, print, tmp_path)


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_a_split_loses_nothing_and_leaves_everybody_something_to_train_on(counts, share, seed):
    examples = SimpleNamespace(
        labels=np.repeat(np.arange(len(counts)), counts), people=list(map(str, range(len(counts))))
    )
    whole = select(examples, people=None, min_images=1)
    training, validation = split(whole, share, seed)
    together = np.sort(np.concatenate((training.indices, validation.indices)))
    assert together.tolist() == whole.indices.tolist()
    assert np.bincount(training.labels, minlength=len(counts)).min() >= 1
    held = np.bincount(validation.labels, minlength=len(counts))
    for count, back in zip(counts, held, strict=True):
        assert abs(back - count * share) <= 1


def loader(examples, **changes) -> Loader:
    selection = select(examples, people=None, min_images=1)
    options = {
        "template": ARCFACE, "size": (16, 16), "batch": 4,
        "rank": 0, "world": 1, "seed": 0, "workers": 2,
        "augmentation": Augmentation(), **changes,
    }  # fmt: skip
    return Loader(examples, selection, **options)


def made(count: int = 5, each: int = 4) -> Synthetic:
    return Synthetic(count, each, 16, 16, seed=0)


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own():
    batches = list(loader(made()).batches(0, 10))
    first = [name for batch in batches[:5] for name in batch.names]
    second = [name for batch in batches[5:] for name in batch.names]
    assert len(set(first)) == 20
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("per_person", [None, 2])
def test_a_batch_depends_on_seed_and_step_alone(per_person):
    whole = list(loader(made(), per_person=per_person).batches(0, 7))
    (again,) = loader(made(), per_person=per_person, workers=1).batches(6, 7)
    assert np.array_equal(again.images, whole[6].images)
    assert again.names == whole[6].names
    (other,) = loader(made(), per_person=per_person, seed=1).batches(6, 7)
    assert other.names != again.names


@pytest.mark.parametrize("per_person", [None, 2])
def test_ranks_together_take_the_batch_of_one(per_person):
    options = {"per_person": per_person, "augmentation": Augmentation(zoom=0.3)}
    (one,) = loader(made(), batch=4, **options).batches(2, 3)
    two = [
        next(iter(loader(made(), batch=2, rank=r, world=2, **options).batches(2, 3)))
        for r in range(2)
    ]
    assert np.array_equal(np.concatenate([part.images for part in two]), one.images)


@pytest.mark.parametrize(("workers", "world"), [(1, 1), (3, 1), (2, 2)])
def test_an_image_that_comes_twice_in_a_step_is_augmented_anew(workers, world):
    # Of two people in turn the first has one image, which each rank's half holds.
    selection = Selection(np.array([0, 4, 5, 6]), np.array([0, 1, 1, 1]), ["ann", "bob"])
    batches = [
        next(
            Loader(
                made(), selection, template=ARCFACE, size=(16, 16), batch=4 // world, rank=rank,
                world=world, seed=0, workers=workers, augmentation=Augmentation(flip=0, zoom=0.3),
                per_person=1,
            ).batches(0, 1)
        )
        for rank in range(world)
    ]  # fmt: skip
    images = np.concatenate([batch.images for batch in batches])
    indices = np.concatenate([batch.indices for batch in batches])
    first, second = images[indices == 0]
    assert not np.array_equal(first, second)


def test_a_persons_images_are_not_parted_by_accumulation():
    with pytest.raises(UsageError, match=r"data\.per_person 4 does not divide train\.batch 6,"):
        loader(made(), batch=6, accumulate=2, per_person=4)
    (batch,) = loader(made(), batch=4, accumulate=2, per_person=4).batches(0, 1)
    assert (np.ptp(batch.labels.reshape(2, 4), axis=1) == 0).all()


def test_the_last_batch_is_dropped_or_filled_up():
    assert loader(made(), batch=8).steps_per_epoch == 2
    filled = loader(made(), batch=8, drop_last=False)
    assert filled.steps_per_epoch == 3
    names = [name for batch in filled.batches(0, 3) for name in batch.names]
    assert len(names) == 24
    assert len(set(names)) == 20
    with pytest.raises(UsageError, match="20 images, but one step takes 24"):
        loader(made(), batch=24)


def test_a_corrupt_image_is_named_and_another_takes_its_place(tmp_path):
    folder = as_folder(tmp_path)
    (folder / "ann" / "1.png").write_bytes(b"broken")
    batches = list(loader(open_examples(str(folder)), batch=6).batches(0, 1))
    assert len(batches[0].images) == 6
    assert [problem.partition(":")[0] for problem in batches[0].corrupt] == ["ann/1.png"]
    assert not any("ann/1.png" in name for name in batches[0].names)


def test_data_that_cannot_be_read_at_all_ends_the_run_with_a_reason(tmp_path):
    folder = as_folder(tmp_path)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="as are the 5 before it"):
        list(loader(open_examples(str(folder)), batch=2).batches(0, 1))


def test_every_augmentation_keeps_size_and_type_and_changes_the_chip():
    chip = cv2.resize(noise(8, 8), (32, 32))
    for change in ({"flip": 1}, {"zoom": 0.3}, {"crop": 1}, {"low_resolution": 1},
                   {"photometric": 1}, {"grey": 1}, {"blur": 1}):  # fmt: skip
        augmentation = Augmentation(**{"flip": 0, **change})
        varied = [augmentation.apply(chip, np.random.default_rng(seed)) for seed in range(5)]
        assert all(each.shape == chip.shape and each.dtype == np.uint8 for each in varied)
        assert any(not np.array_equal(each, chip) for each in varied)
    assert np.array_equal(Augmentation(flip=0).apply(chip, np.random.default_rng(0)), chip)
    mirrored = Augmentation(flip=1).apply(chip, np.random.default_rng(0))
    assert np.array_equal(mirrored, chip[:, ::-1])


@pytest.mark.parametrize("shape", [(112, 112, 3), (112, 96, 3), (60, 112, 3)])
@pytest.mark.parametrize("least", [0.2, 0.7, 0.99])
def test_a_crop_keeps_its_least_share_of_the_area(shape, least):
    chip, generator = np.empty(shape, np.uint8), np.random.default_rng(0)
    crops = np.array([_random_crop(chip, least, generator) for _ in range(1000)])
    top, left, height, width = crops.T
    rows, columns = shape[:2]
    assert (height * width).min() >= least * rows * columns - max(rows, columns)
    assert (top + height).max() <= rows
    assert (left + width).max() <= columns
    if rows == columns:
        assert (width / height).max() < 4 / 3 + 0.02
        assert (height / width).max() < 4 / 3 + 0.02


def test_grey_chips_have_no_colour_and_blurred_ones_no_edges():
    chip = noise(112, 112)
    grey = Augmentation(flip=0, grey=1).apply(chip, np.random.default_rng(0))
    assert np.ptp(grey, axis=2).max() == 0
    assert np.abs(grey[..., 0] - chip @ [0.299, 0.587, 0.114]).max() <= 1
    blurs = [Augmentation(flip=0, blur=1).apply(chip, np.random.default_rng(n)) for n in range(5)]
    edges = [np.abs(np.diff(image.astype(int), axis=1)).mean() for image in (chip, *blurs)]
    assert max(edges[1:]) <= edges[0]
    assert min(edges[1:]) < edges[0] / 2


def test_a_share_of_the_chips_stays_as_it_is_but_for_flips():
    chip = noise(32, 32)
    augmentation = Augmentation(flip=0.5, grey=1, blur=1, low_resolution=1, clean=0.4)
    made = [augmentation.apply(chip, np.random.default_rng(seed)) for seed in range(200)]
    kept = [any(np.array_equal(image, each) for each in (chip, chip[:, ::-1])) for image in made]
    assert 0.3 < np.mean(kept) < 0.5
    assert all(np.ptp(image, axis=2).max() == 0
               for image, whole in zip(made, kept, strict=True) if not whole)  # fmt: skip


def test_a_batch_says_which_images_it_holds_and_what_they_were():
    data = made()
    asked = loader(data, original=lambda index, image: image if index % 2 else None)
    for batch in asked.batches(0, 5):
        assert [f"synthetic image {index}" for index in batch.indices] == batch.names
        for index, original in zip(batch.indices, batch.originals, strict=True):
            assert (original is None) == (index % 2 == 0)
            assert original is None or np.array_equal(original, data.image(int(index)))
    (plain,) = loader(data).batches(0, 1)
    assert list(plain.originals) == []


def test_a_chip_of_another_size_is_resized_as_a_whole():
    wide = np.zeros((160, 160, 3), np.uint8)
    wide[:, 80:] = 200
    fitted = fit(wide, ARCFACE, (112, 112))
    assert fitted.shape == (112, 112, 3)
    assert fitted[:, :55].max() == 0
    assert fitted[:, 57:].min() == 200


def test_an_arcface_chip_reaches_training_as_it_reaches_recognition():
    chip = noise(112, 112)
    template = make_card().template
    assert np.array_equal(fit(chip, template, (150, 150)), adapt_chip(chip, template, (150, 150)))
    assert fit(chip, ARCFACE, (112, 112)) is chip


@pytest.mark.parametrize(
    ("sizes", "warned"),
    [
        ([(64, 64)] * 4, False),
        ([(112, 112)] * 4, False),
        ([(160, 160)] * 4, False),
        ([(112, 112), (160, 160), (112, 112), (112, 112)], False),
        ([(112, 96)] * 4, True),
        ([(112, 112), (112, 112), (112, 112), (90, 120)], True),
        ([(side, side) for side in (90, 100, 110, 120)], True),
        ([(250, 250)] * 4, True),
    ],
)
def test_faces_that_may_not_be_aligned_are_warned_of(sizes, warned):
    examples = SimpleNamespace(image=lambda index: np.empty((*sizes[index % 4], 3), np.uint8))
    people = Selection(np.arange(8), np.repeat([0, 1], 4), ["ann", "bob"])
    warning = check_aligned(examples, people, 32, "faces")
    assert (warning is not None) is warned
    assert not warned or "faces: images" in warning
