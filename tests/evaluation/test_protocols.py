"""Protocol readers on small made files, and on LFW's own list."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from facerec.alignment.warp import only_central_face
from facerec.errors import InputError, MissingError, UsageError
from facerec.evaluation.protocols.agedb import read_agedb
from facerec.evaluation.protocols.bin import read_bin
from facerec.evaluation.protocols.calfw import read_calfw
from facerec.evaluation.protocols.cfp import read_cfp
from facerec.evaluation.protocols.identification import read_identification
from facerec.evaluation.protocols.lfw import only_lfw_face, read_lfw
from facerec.evaluation.protocols.pair_list import read_pair_list
from facerec.evaluation.protocols.pairs import open_protocol, split_folds
from facerec.imaging.archives import locate, open_source
from facerec.registry import PROTOCOLS
from tests.conftest import make_face

LFW = b"2\t2\nA\t1\t2\nB\t1\t3\nA\t1\tB\t2\nA\t2\tC\t10\nD\t1\t2\nD\t3\t4\nD\t1\tE\t1\nD\t2\tE\t1\n"


def listed(protocol):
    return [
        (protocol.keys[first], protocol.keys[second], bool(same), int(fold))
        for (first, second), same, fold in zip(
            protocol.pairs, protocol.same, protocol.folds, strict=True
        )
    ]


def test_lfw_pairs_and_folds():
    assert listed(read_lfw(LFW, "pairs.txt"))[:4] == [
        ("A/A_0001.jpg", "A/A_0002.jpg", True, 0),
        ("B/B_0001.jpg", "B/B_0003.jpg", True, 0),
        ("A/A_0001.jpg", "B/B_0002.jpg", False, 0),
        ("A/A_0002.jpg", "C/C_0010.jpg", False, 0),
    ]
    assert read_lfw(LFW, "pairs.txt").folds.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pairs.txt:1: expected a heading"),
        ("A\t1\t2\n", "pairs.txt:1: expected a heading"),
        ("1 1\nA\t1\t2\nA\t1\n", "pairs.txt:3: expected 'name n1 n2'"),
        ("1 1\nA\t1\tx\nA\t1\tB\t1\n", "pairs.txt:2: the image numbers"),
        ("1 2\nA\t1\t2\nA\t1\tB\t1\n", "the heading says 1 fold of 2 x 2 pairs, there are 2"),
    ],
)
def test_a_bad_lfw_list_is_refused_with_its_line(text, message):
    with pytest.raises(UsageError, match=message):
        read_lfw(text.encode(), "pairs.txt")


def test_kaggles_csv_of_lfw_is_lfws_list(data):
    """jessicali9530/lfw-dataset's `pairs.csv`: a heading of columns, an empty fourth one."""
    path = data / "lfw" / "pairs.txt"
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    lines = [",".join(row if len(row) == 4 else [*row, ""]) for row in rows]
    text = "\r\n".join(["name,imagenum1,imagenum2,", *lines])
    assert listed(read_lfw(text.encode(), "p")) == listed(read_lfw(path.read_bytes(), "p"))


def test_two_lines_a_pair():
    text = b"a.jpg 1\nb.jpg 1\nc.jpg 0\nd.jpg 0\n"
    assert [row[:3] for row in listed(read_calfw(text, "p"))] == [
        ("a.jpg", "b.jpg", True),
        ("c.jpg", "d.jpg", False),
    ]
    with pytest.raises(UsageError, match="odd number"):
        read_calfw(b"a.jpg 1\n", "p")
    with pytest.raises(UsageError, match="p:1: this line and the next disagree"):
        read_calfw(b"a.jpg 1\nb.jpg 0\n", "p")


def test_blocks_of_one_kind_are_split_so_that_folds_hold_both():
    same = np.arange(600) < 300
    folds = split_folds(same)
    assert all(same[folds == fold].sum() == 30 for fold in range(10))
    assert all((~same[folds == fold]).sum() == 30 for fold in range(10))


def test_mixed_blocks_stay_as_they_are():
    same = np.tile([True, False], 55)
    np.testing.assert_array_equal(split_folds(same), np.repeat(np.arange(10), 11))


def test_few_pairs_give_fewer_folds():
    assert set(split_folds(np.array([True, True, True, False, False]))) == {0, 1}


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_pair_list_with_and_without_labels(separator):
    lines = [["p/1.jpg", "p/2.jpg"], ["p/1.jpg", "q/1.jpg"], ["x.jpg", "y.jpg", "1"]]
    text = "# made\n" + "\n".join(separator.join(line) for line in lines)
    assert [row[2] for row in listed(read_pair_list(text.encode(), "pairs"))] == [True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "image1,image2,same\n{0},{1},1\n{0},{2},0\n",
        "# of 1/2/2024\nimage1,image2,same/other\n{0},{1},1\n{0},{2},0\n",
        "{0} {1}\np/1.jpg {2}\n",
        "image1,image2,same\r\n{0},{1},1.0\r\n{0},{2},0.0\r\n",
        '"image1","image2","same"\n"{0}","{1}","1"\n"{0}","{2}","0"\n',
        '"{0}","{1}"\n"{0}","{2}"\n',
        "{0}\t{1}\tTrue\n{0}\t{2}\tFalse\n",
    ],
)
@pytest.mark.parametrize(
    "images",
    [("p/1.jpg", "p/2.jpg", "q/1.jpg"), ("p\\1.jpg", "p\\2.jpg", "q\\1.jpg")],
    ids=["", "Windows"],
)
def test_pair_lists_are_read_as_tables_write_them(text, images):
    pairs = listed(read_pair_list(text.format(*images).encode(), "pairs"))
    assert [row[:3] for row in pairs] == [
        ("p/1.jpg", "p/2.jpg", True),
        ("p/1.jpg", "q/1.jpg", False),
    ]


def test_a_comma_in_quotes_is_part_of_a_name():
    pairs = read_pair_list(b'"Doe, John/1.jpg","Doe, John/2.jpg"\na/1.jpg,b/1.jpg\n', "pairs")
    assert pairs.keys[:2] == ("Doe, John/1.jpg", "Doe, John/2.jpg")


def test_paths_of_windows_name_who_is_to_be_identified():
    text = "# by hand/tool\n{0},{1}\np/2.jpg,Doe\\John\n"
    named = read_identification(text.format("p\\1.jpg", "q/w"), "g", "q\\1.jpg\n", "p")
    assert named.keys == ("p/1.jpg", "p/2.jpg", "q/1.jpg")


@pytest.mark.parametrize("heading", ["", "image,person\n", '"file","name"\n', "# image person\n"])
def test_a_heading_is_no_person_to_identify(heading):
    gallery = heading + 'a/1.jpg,a\nb/1.jpg,"Doe, John"\n'
    probes = heading + 'a/2.jpg,a\nb/2.jpg,"Doe, John"\nc/1.jpg,c\n'
    protocol = read_identification(gallery, "gallery", probes, "probes")
    assert protocol.keys == ("a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.jpg", "c/1.jpg")
    assert protocol.gallery_people.tolist() == [0, 1]
    assert protocol.probe_people.tolist() == [0, 1, 2]


def test_a_list_of_names_without_endings_has_no_heading():
    protocol = read_identification("one a\ntwo b\n", "gallery", "three a\n", "probes")
    assert protocol.keys == ("one", "two", "three")


def test_pair_list_needs_a_way_to_tell_people():
    with pytest.raises(UsageError, match="pairs:1: two columns need person/photo"):
        read_pair_list(b"a.jpg b.jpg", "pairs")
    with pytest.raises(UsageError, match="pairs:1: expected"):
        read_pair_list(b"a b c d", "pairs")
    with pytest.raises(UsageError, match="holds no pairs"):
        read_pair_list(b"\n", "pairs")


def make_cfp(root):
    (root / "Protocol").mkdir(parents=True)
    for view, folder in (("F", "frontal"), ("P", "profile")):
        lines = [f"{k} ../Data/Images/{k:03d}/{folder}/01.jpg" for k in (1, 2)]
        (root / "Protocol" / f"Pair_list_{view}.txt").write_text("\n".join(lines))
    for kind in ("FF", "FP"):
        for split in ("01", "02"):
            folder = root / "Protocol" / "Split" / kind / split
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text("1,1\n")
            (folder / "diff.txt").write_text("1,2\n")


def test_cfp_takes_the_second_image_from_the_profiles(tmp_path):
    make_cfp(tmp_path / "cfp")
    source = open_source(tmp_path / "cfp")
    assert listed(read_cfp(source, "FP"))[:2] == [
        ("Data/Images/001/frontal/01.jpg", "Data/Images/002/profile/01.jpg", False, 0),
        ("Data/Images/001/frontal/01.jpg", "Data/Images/001/profile/01.jpg", True, 0),
    ]
    assert read_cfp(source, "FF").keys == (
        "Data/Images/001/frontal/01.jpg", "Data/Images/002/frontal/01.jpg",
    )  # fmt: skip
    assert set(read_cfp(source, "FF").folds) == {0, 1}


def test_cfp_names_what_is_missing(tmp_path):
    with pytest.raises(MissingError, match=r"Pair_list_F\.txt"):
        read_cfp(open_source(tmp_path), "FF")
    make_cfp(tmp_path / "cfp")
    (tmp_path / "cfp/Protocol/Split/FF/01/same.txt").write_text("1,9\n")
    with pytest.raises(UsageError, match=r"same\.txt:1: there is no image number 9"):
        read_cfp(open_source(tmp_path / "cfp"), "FF")


def nested(name):
    inner = np.empty((1, 1), dtype=[("name", object), ("age", object)])
    inner[0, 0] = (np.array([name]), np.array([[30]]))
    return inner


def test_agedb_from_its_matlab_file(tmp_path):
    splits = np.empty((2, 1), dtype=object)
    for fold in range(2):
        columns = np.empty((2, 2), dtype=object)
        columns[:, 0] = nested("1_MariaCallas_30_f"), nested("1_MariaCallas_60_f")
        columns[:, 1] = nested("1_MariaCallas_30_f"), nested("2_Bob_60_m")
        cell = np.empty((1, 1), dtype=object)
        cell[0, 0] = columns
        splits[fold, 0] = cell
    savemat(tmp_path / "p.mat", {"splits": splits})
    data = (tmp_path / "p.mat").read_bytes()
    assert listed(read_agedb(data, "p.mat")) == [
        ("1_MariaCallas_30_f.jpg", second, same, fold)
        for fold in range(2)
        for second, same in (("1_MariaCallas_60_f.jpg", True), ("2_Bob_60_m.jpg", False))
    ]


def test_agedb_from_text(tmp_path):
    protocol = read_agedb(b"0_Maria_35_f.jpg 1_Maria_70_f.jpg 1\n2.jpg 3.jpg 0\n", "a.txt")
    assert protocol.same.tolist() == [True, False]
    assert read_agedb(LFW, "a.txt").folds.tolist() == [0] * 4 + [1] * 4
    with pytest.raises(UsageError, match="not a MATLAB file"):
        read_agedb(b"nonsense", "a.mat")


IMAGES = [b"\xff\xd8first", b"\xff\xd8second\x80", b"\xff\xd8third", b"\xff\xd8fourth"]


def bin_variants():
    arrays = [np.frombuffer(image, np.uint8) for image in IMAGES]
    columns = [np.frombuffer(image, np.uint8).reshape(-1, 1) for image in IMAGES]
    flags = [np.bool_(True), np.bool_(False)]
    for protocol in range(2, 6):
        yield pickle.dumps((IMAGES, [True, False]), protocol)
        yield pickle.dumps((IMAGES, flags), protocol)
        yield pickle.dumps((arrays, np.array([True, False])), protocol)
        yield pickle.dumps((columns, [1, 0]), protocol)
    # Python 2 wrote bytes as strings: SHORT_BINSTRING.
    strings = b"".join(b"U" + bytes([len(image)]) + image for image in IMAGES)
    yield b"\x80\x02](" + strings + b"e](\x88\x89e\x86."


@pytest.mark.parametrize("data", list(bin_variants()))
def test_bin_sets_of_all_writers(tmp_path, data):
    path = tmp_path / "lfw.bin"
    path.write_bytes(data)
    protocol, source = read_bin(path)
    assert [source.read(key) for key in protocol.keys] == IMAGES
    assert protocol.same.tolist() == [True, False]


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (self.target.touch, ())


def test_a_bin_set_runs_no_code(tmp_path):
    target = tmp_path / "touched"
    for protocol in range(6):
        path = tmp_path / "evil.bin"
        path.write_bytes(pickle.dumps((Hostile(target), []), protocol))
        with pytest.raises(UsageError, match="not a verification set"):
            read_bin(path)
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(target).encode() + b"'\ntR.")
    with pytest.raises(UsageError, match=r"it would call os\.system"):
        read_bin(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x02", b"garbage", pickle.dumps(([b"a"], [True])), pickle.dumps(5),
     pickle.dumps(([b"a", b"b"], ["yes"])), b"\x80\x02]h\x05.", b"\x80\x04\x8e" + b"\xff" * 8],
)  # fmt: skip
def test_a_damaged_bin_set_is_refused(tmp_path, data):
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"x\.bin: "):
        read_bin(path)


FILES = {"lfw/A/A_0001.jpg": b"one", "lfw/A/A_0002.png": b"two", "lfw/notes.txt": b"text"}


@pytest.fixture(params=["folder", "tar", "tar.gz", "zip"])
def archive(request, tmp_path):
    if request.param == "folder":
        for name, data in FILES.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "data"
    path = tmp_path / f"data.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in FILES.items():
                packed.writestr(name, data)
        return path
    mode = "w:gz" if request.param == "tar.gz" else "w"
    with tarfile.open(path, mode) as packed:
        for name, data in FILES.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("lfw/A/A_0003.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    return path


def test_a_source_finds_images_below_its_own_folder_and_of_another_format(archive):
    source = open_source(archive)
    found = locate(source, ["A/A_0001.jpg", "A/A_0002.jpg", "A/A_0003.jpg"])
    assert found == {"A/A_0001.jpg": "lfw/A/A_0001.jpg", "A/A_0002.jpg": "lfw/A/A_0002.png"}
    assert source.read(found["A/A_0002.jpg"]) == b"two"
    with pytest.raises(InputError):
        source.read("lfw/A/A_0009.jpg")


def test_a_source_of_something_else_is_refused(archive):
    with pytest.raises(UsageError, match="holds none of 1 image"):
        locate(open_source(archive), ["Zoe/Zoe_0001.jpg"])


def test_a_folder_is_not_left(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="outside"):
        open_source(tmp_path / "inside").read("../secret.jpg")


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(UsageError, match="neither a folder nor a readable tar or zip"):
        open_source(path)
    with pytest.raises(MissingError, match="no such folder or archive"):
        open_source(tmp_path / "absent")


def test_lfw_has_ten_folds_of_300_and_300(data):
    path = data / "lfw" / "pairs.txt"
    protocol = read_lfw(path.read_bytes(), str(path))
    assert len(protocol.keys) == 7701
    assert np.bincount(protocol.folds).tolist() == [600] * 10
    assert np.bincount(protocol.folds[protocol.same]).tolist() == [300] * 10
    source = open_source(data / "lfw" / "lfw-deepfunneled-pairs.tar")
    assert len(locate(source, protocol.keys)) == 7701


def write_list(folder, name, content):
    (folder / name).write_bytes(content)
    return folder


def write_bin(folder):
    (folder / "set.bin").write_bytes(pickle.dumps(([b"a", b"b", b"c", b"d"], [True, False])))
    return folder / "set.bin"


def write_cfp(folder):
    make_cfp(folder)
    return folder


SAMPLES = {
    "agedb": lambda folder: write_list(
        folder, "agedb_30_pair.txt", b"a.jpg b.jpg 1\na.jpg c.jpg 0\n"
    ),
    "bin": write_bin,
    "calfw": lambda folder: write_list(folder, "pairs_CALFW.txt", b"a 1\nb 1\na 0\nc 0\n"),
    "cplfw": lambda folder: write_list(folder, "pairs_CPLFW.txt", b"a 1\nb 1\na 0\nc 0\n"),
    "cfp-ff": write_cfp,
    "cfp-fp": write_cfp,
    "lfw": lambda folder: write_list(folder, "pairs.txt", LFW),
    "pairs": lambda folder: write_list(folder, "pairs.csv", b"p/1.jpg,p/2.jpg\np/1.jpg,q/1.jpg\n"),
}
"""Of each registered protocol, the smallest data set that it opens."""


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_a_registered_protocol_opens_its_data(name, tmp_path):
    protocol, _ = open_protocol(name, SAMPLES[name](tmp_path), None)
    assert protocol.name.partition(":")[0] == name
    assert set(protocol.same.tolist()) == {True, False}
    assert len(protocol.pairs) == len(protocol.same) == len(protocol.folds)
    assert protocol.pairs.max() < len(protocol.keys) == len(set(protocol.keys))


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_insightfaces_bin_is_read_for_every_protocol(name, tmp_path):
    protocol, source = open_protocol(name, write_bin(tmp_path), None)
    assert protocol.name == ("bin:set" if name == "bin" else name)
    assert protocol.same.tolist() == [True, False]
    assert [source.read(key) for key in protocol.keys] == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_a_list_of_pairs_is_taken_where_the_protocol_has_one(name, tmp_path):
    data = SAMPLES[name](tmp_path)
    names = PROTOCOLS.get(name).facts.get("lists", ())
    if not names:
        with pytest.raises(UsageError, match=f"--pairs: {name} brings its own"):
            open_protocol(name, data, tmp_path / "other.txt")
        return
    (found,) = (data / file for file in names if (data / file).exists())
    moved = found.rename(tmp_path / f"other{found.suffix}")
    with pytest.raises(MissingError, match="name it with --pairs"):
        open_protocol(name, data, None)
    assert len(open_protocol(name, data, moved)[0].pairs)
    moved.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="other"):
        open_protocol(name, data, moved)


def test_an_unknown_protocol_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(MissingError, match="no protocol is called cafw; did you mean calfw"):
        open_protocol("cafw", tmp_path, None)


def test_a_protocol_of_another_package_is_opened_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(PROTOCOLS, "_entries", dict(PROTOCOLS._entries))

    @PROTOCOLS.register("test_tabs", help="Tabs.", lists=("tabs.tsv",))
    def read_tabs(data, where):
        return read_pair_list(data, where, "test_tabs")

    write_list(tmp_path, "tabs.tsv", b"p/1.jpg\tp/2.jpg\np/1.jpg\tq/1.jpg\n")
    assert open_protocol("test_tabs", tmp_path, None)[0].name == "test_tabs"


def test_an_image_of_lfw_shows_whom_it_names_at_the_centre() -> None:
    # John_McEnroe_0001: the other man's face is larger, and not far from the centre either.
    other, named = make_face(1, 0, box=(52, 66, 138, 184)), make_face(1, 0, box=(105, 67, 184, 171))
    image = np.zeros((250, 250, 3), np.uint8)
    assert only_central_face(image, [other, named]) == [other]
    assert only_lfw_face(image, [other, named]) == [named]
    assert read_lfw(LFW, "pairs.txt").select is only_lfw_face
    assert read_agedb(LFW, "agedb_30_pair.txt").select is only_central_face
    photo = np.zeros((260, 250, 3), np.uint8)
    assert only_lfw_face(photo, [other, named]) == only_central_face(photo, [other, named])
