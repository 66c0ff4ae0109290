"""Texts: profiles, model cards, lists of pairs, manifests, decisions, paths on stdin."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from unittest import mock

from facerec.profile.loading import shipped_profiles
from tests.conftest import make_card
from tests.fuzz.cases import Action, Kind, Seed
from tests.fuzz.kinds.images import encoded, portrait
from tests.fuzz.mutations import TEXT

_LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (96 + n, 96 + n, b",".join([b"*%c" % (95 + n)] * 9)) for n in range(2, 12)
)
_YAML = {
    "laughs.yaml": _LAUGHS,
    "deep.yaml": b"detector: " + b"[" * 20_000,
    "deeper.yaml": b"detector: " + b"{a: " * 20_000,
    "dashes.yaml": b"- " * 20_000,
    "self.yaml": b"detector: &a\n  options: *a\n",
    "self_list.yaml": b"detector: &a [*a]\n",
    "python.yaml": b"!!python/object/apply:os.system ['touch escaped']\n",
    "python_value.yaml": b"model:\n  name: !!python/object/apply:os.system ['touch escaped']\n",
    "merge.yaml": b"a: &a {<<: *a}\n",
    "wide.yaml": "detector:\n  min_face: 20\n".encode("utf-16"),
    "binary.yaml": bytes(range(256)) * 4,
    "tabs.yaml": b"detector:\n\tmin_face: 20\n",
    "documents.yaml": b"a: 1\n---\nb: 2\n",
    "extends.yaml": b"extends: extends.yaml\n",
    "passwd.yaml": b"extends: ../../../../../etc/passwd\n",
    "extends_list.yaml": b"extends: [a, b]\n",
    "keys.yaml": b"? [a, b]\n: c\n",
    "nothing.yaml": b"",
    "word.yaml": b"hello\n",
    "time.yaml": b"detector:\n  min_face: 2001-13-45\n",
    "base60.yaml": b"runtime:\n  batch: 190:20:30\n",
    "number.yaml": b"runtime:\n  batch: " + b"9" * 5000 + b"\n",
    "octal.yaml": b"runtime:\n  batch: 0o99\n",
    "float.yaml": b"runtime:\n  batch: 1e400\n",
    "set.yaml": b"recognize:\n  where: !!set {a, b}\n",
    "binary_value.yaml": b"model:\n  name: !!binary x\n",
    "long_key.yaml": b"x" * 100_000 + b": 1\n",
    "nul.yaml": b"model:\n  name: \"a\\0b\"\n",
}  # fmt: skip


def _profiles(_: Path) -> Mapping[str, Seed]:
    shipped = {path.name: Seed(path.read_bytes()) for path in shipped_profiles().values()}
    return shipped | {name: Seed(data, hostile=True) for name, data in _YAML.items()}


def _read_profile(path: Path, dice: Random) -> Action:
    if dice.random() < 0.1:
        return ["detect", "none.jpg", "-p", path.name]
    return ["profile", "show", path.name, "--json"]


def _cards(folder: Path) -> Mapping[str, Seed]:
    from facerec.weights.cards import write_card

    seeds = {"card.json": Seed(make_card().to_json().encode())}
    for name in ("card.yaml", "plain.json"):
        write_card(folder / name, make_card())
        seeds[name] = Seed((folder / name).read_bytes())
    hostile = {**_YAML, "deep.json": b"[" * 100_000, "number.json": b'{"embedding_size": 1e999}',
               "list.json": b"[1]", "bom.json": b"\xef\xbb\xbf" + make_card().to_json().encode()}  # fmt: skip
    return seeds | {name: Seed(data, hostile=True) for name, data in hostile.items()}


def _read_card(path: Path, dice: Random) -> Action:
    from facerec.weights.cards import read_card

    if dice.random() < 0.3:
        return ["compare", "a.png", "a.png", "--aligned", "--set", f"model.card={path.name}"]
    return lambda: read_card(path)


def _photo(folder: Path) -> None:
    (folder / "a.png").write_bytes(encoded(portrait(150), "PNG"))


_LFW = (
    b"2\t2\nA\t1\t2\nB\t1\t3\nA\t1\tB\t2\nA\t2\tC\t10\nD\t1\t2\nD\t3\t4\nD\t1\tE\t1\nD\t2\tE\t1\n"
)
_LISTS = {
    "lfw": _LFW,
    "pairs": b"a/1.jpg a/2.jpg 1\na/1.jpg\tb/1.jpg\t0\n# c\na/1.jpg,b/2.jpg,false\n",
    "calfw": b"A/1.jpg 1\nA/2.jpg 1\nB/1.jpg 0\nC/1.jpg 0\n",
    "cplfw": b"A/1.jpg 1\nA/2.jpg 1\nB/1.jpg 0\nC/1.jpg 0\n",
    "agedb": b"A/1.jpg B/2.jpg 1\nA/1.jpg C/2.jpg 0\n",
    "fddb": b"2002/08/11/big/img_591\n1\n123.583300 85.549500 1.265839 269.693400 161.781200  1\n",
    "wider": b"0--Parade/a.jpg\n2\n449 330 122 149 0 0 0 0 0 0\n1 2 3 4 0 0 0 1 0 0\nb.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n",
    "groups": b"a/1.jpg,young\nb,old\n",
    "people": b"\xef\xbb\xbfann\nbob\n",
}  # fmt: skip


def _lists(folder: Path) -> Mapping[str, Seed]:
    from scipy.io import savemat

    seeds = {f"{name}.txt": Seed(data) for name, data in _LISTS.items()}
    names = [["A/1.jpg", "B/1.jpg", 1], ["A/2.jpg", "C/1.jpg", 0]]
    import numpy as np

    savemat(folder / "agedb.mat", {"splits": np.array(names, object)})
    seeds["agedb.mat"] = Seed((folder / "agedb.mat").read_bytes())
    odd = {"wide": _LFW.decode().encode("utf-16"), "huge": b"99999999999999999999 300\n", "empty": b"",
           "count": b"a.jpg\n999999999999999999999\n1 2 3 4\n", "nan": b"a.jpg\n1\nnan nan inf -inf 1e999\n",
           "minus": b"a.jpg\n-1\n1 2 3 4\n"}  # fmt: skip
    for name, data in odd.items():
        for of in ("lfw", "pairs", "agedb", "wider", "fddb", "groups", "people"):
            seeds[f"{of}-{name}.txt"] = Seed(data, hostile=True)
    return seeds


def _read_list(path: Path, dice: Random) -> Action:
    from facerec.evaluation.detection import read_fddb, read_wider_face
    from facerec.evaluation.protocols.pairs import open_protocol
    from facerec.imaging.archives import open_source
    from facerec.training.data.opening import _read_people

    name = path.stem.partition("-")[0]
    if name == "fddb":
        folds = path.parent / "FDDB-folds"
        folds.mkdir()
        path.rename(folds / "FDDB-fold-01-ellipseList.txt")
        return lambda: read_fddb(open_source(path.parent))
    if name == "wider":
        return lambda: read_wider_face(path)
    if name == "people":
        return lambda: _read_people(path)
    command = ["evaluate", name if name != "groups" else "pairs", "--data", "tree", "--aligned",
               "--json"]  # fmt: skip
    if name == "groups":
        return [*command, "--pairs", "good.txt", "--groups", path.name]
    if dice.random() < 0.2:
        return [*command, "--pairs", path.name]
    return lambda: open_protocol(name, "tree", path)


def _tree(folder: Path) -> None:
    for place in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        (folder / "tree" / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / place).write_bytes(encoded(portrait(150), "JPEG"))
    (folder / "good.txt").write_bytes(_LISTS["pairs"])


_FINDING = {"kind": "wrong-person", "files": ["a/2.jpg"], "person": "a", "confidence": 0.9,
            "target": "b", "evidence": {}}  # fmt: skip


def _reports(folder: Path) -> Mapping[str, Seed]:
    """What a cleanup and an alignment leave beside the images, at the paths of a case."""
    from facerec.cleanup.findings import Finding

    finding = Finding.from_record(_FINDING)
    header = {"facerec_cleanup": 1, "clean": "clean", "dirt": "dirt", "means": "copy",
              "folders": ["clean", "dirt"]}  # fmt: skip

    def place(to: str, **changes: object) -> dict[str, object]:
        return {"path": "tree/a/1.jpg", "sha256": "", "file": "a/1.jpg", "decision": "clean",
                "to": to, "reason": "", "score": 0.0} | changes  # fmt: skip

    def lines(*records: object) -> bytes:
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    return {
        # A manifest says where its trees are; only what is placed in them is tried.
        "manifest.jsonl": Seed(
            lines(place("a/1.jpg"), place("a/2.jpg", file="a/2.jpg")),
            lambda data: lines(header) + data,
            whole=False,
        ),
        "findings.jsonl": Seed(lines(finding.to_record())),
        "decisions.json": Seed(json.dumps({"decisions": {finding.id: "accept"}}).encode()),
        "aligned.jsonl": Seed(lines({"settings": {}}, {"source": "a/1.jpg", "faces": []})),
        "deep.decisions.json": Seed(b"[" * 100_000, hostile=True),
        "deep.manifest.jsonl": Seed(b"[" * 100_000, hostile=True),
        "deep.findings.jsonl": Seed(b"[" * 100_000, hostile=True),
        "deep.aligned.jsonl": Seed(b"[" * 100_000, hostile=True),
        "utf.aligned.jsonl": Seed(b"\xff\xfe\n", hostile=True),
        "list.aligned.jsonl": Seed(b"[]\n{}\n", hostile=True),
        "source.aligned.jsonl": Seed(b'{"settings": null}\n[]\n', hostile=True),
        "up.manifest.jsonl": Seed(
            lines(header, place("../../../../untouched/file2")), hostile=True
        ),
        "types_head.manifest.jsonl": Seed(lines({**header, "means": 3, "clean": []}), hostile=True),
        "null.manifest.jsonl": Seed(lines(header, place("a\0b")), hostile=True),
        "types.manifest.jsonl": Seed(
            lines({**header, "folders": 3}, place("a", path=3, sha256=[])), hostile=True
        ),
        "types.findings.jsonl": Seed(
            lines({**_FINDING, "files": 3, "confidence": "x", "target": []}), hostile=True
        ),
    }


def _use_report(path: Path, dice: Random) -> Action:
    """The file takes the place of a good one."""
    kind = (
        path.name.removeprefix(f"{path.name.partition('.')[0]}.")
        if path.name.count(".") > 1
        else path.name
    )
    if kind == "aligned.jsonl":
        (path.parent / "out").mkdir()
        path.rename(path.parent / "out" / "manifest.jsonl")
        return ["align", "tree", "out"]
    if kind != "decisions.json":
        path.rename(path.parent / "report" / kind)
    elif path.name != kind:
        path.rename(path.parent / kind)
    if kind == "manifest.jsonl" and dice.random() < 0.5:
        return ["cleanup", "undo", "--report", "report"]
    return ["cleanup", "apply", "decisions.json", "--report", "report"]


def _report(folder: Path) -> None:
    _tree(folder)
    (folder / "report").mkdir()
    for name, seed in _reports(folder).items():
        if name in ("manifest.jsonl", "findings.jsonl"):
            data = seed.data if seed.pack is None else seed.pack(seed.data)
            (folder / "report" / name).write_bytes(data)
    (folder / "decisions.json").write_bytes(_reports(folder)["decisions.json"].data)


def _stdin(_: Path) -> Mapping[str, Seed]:
    return {
        "paths.txt": Seed(b"tree/a/1.jpg\ntree/b/1.jpg\r\n\ntree\nnone.jpg\n"),
        "nul.txt": Seed(b"tree/a/1.jpg\0tree/b/1.jpg\0", hostile=True),
        "wide.txt": Seed("tree/a/1.jpg\n".encode("utf-16"), hostile=True),
        "bom.txt": Seed(b"\xef\xbb\xbftree/a/1.jpg\n", hostile=True),
        "endless.txt": Seed(b"x" * 3_000_000, hostile=True),
        "device.txt": Seed(b"/dev/zero\n/dev/stdin\n/proc/self/mem\n.\n", hostile=True),
    }


def _list_on_stdin(path: Path, dice: Random) -> Action:
    content = path.read_bytes()
    separated = ("-0",) if dice.random() < 0.3 else ()

    def call() -> object:
        from tests.fuzz.cases import _perform

        with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(content))):
            code, error = _perform(["detect", "-", "--json", *separated])
        if error is not None:
            raise error
        return code

    return call


KINDS = (
    Kind("profiles", _profiles, _read_profile, TEXT),
    Kind("cards", _cards, _read_card, TEXT, _photo),
    Kind("pairs", _lists, _read_list, TEXT, _tree),
    Kind("reports", _reports, _use_report, TEXT, _report),
    Kind("stdin", _stdin, _list_on_stdin, TEXT, _tree),
)
