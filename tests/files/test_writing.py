"""Every output is written by `files.writing.replacing`, or for a reason that is told here."""

from __future__ import annotations

import ast
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import facerec
from facerec.errors import UsageError
from facerec.files.writing import replacing

PACKAGE = Path(facerec.__file__).parent

# Calls that make, fill or move a file, by the last part of their name.
_WRITERS = {
    "write_text", "write_bytes", "savefig", "imwrite", "save_file", "copyfile", "copyfileobj",
    "copy2", "copytree", "move", "savez", "savez_compressed", "tofile", "to_csv", "to_parquet",
    "symlink_to", "hardlink_to", "SummaryWriter",
    "mkstemp", "NamedTemporaryFile", "write_table", "ParquetWriter",
}  # fmt: skip
_PROGRAMS_OWN = ("sqlite3.connect", "cv2.VideoWriter", "os.link", "os.symlink")
_SAVERS = {"torch", "jit", "onnx", "np", "numpy", "Pillow", "program"}

# (file, function): why it writes otherwise.
REASONS = {
    ("files/writing.py", "replacing"): "is the mechanism",
    ("files/writing.py", "_create_beside"): "is its temporary file",
    ("files/writing.py", "_flush"): "opens it for fsync",
    ("files/locking.py", "_acquire"): "a lock has no content",
    ("aligned_tree.py", "align_tree"): "appends a line per photo; a partial last line is dropped",
    ("serving/audit.py", "_open"): "appends a line per change",
    ("training/callbacks.py", "__enter__"): "appends a line per event; resuming goes on with it",
    ("gallery/files/journal.py", "append_changes"): "appends; a partial last record is dropped",
    ("cleanup/trees.py", "_place"): "a link is made by one system call, or not",
    ("cleanup/trees.py", "undo"): "renames a manifest that is whole",
    ("training/checkpoint.py", "_write_and_rename"): "a folder: written beside, flushed, renamed",
    ("training/checkpoint.py", "_flush"): "opens its files for fsync",
    ("weights/archives.py", "extract"): "a folder: written beside, renamed",
    ("weights/archives.py", "_extract_into"): "below that folder",
    ("weights/downloads.py", "_obtain_file"): "a partial download goes on; renamed once checked",
    ("weights/downloads.py", "lay_out"): "renames a download that is whole and checked",
    ("weights/downloads.py", "fetch"): "copies to the partial file, checked and renamed as that",
    ("weights/transfer.py", "_note_origin"): "beside the partial file; a wrong one restarts it",
    ("album/metadata/digikam.py", "_read"): "opened to be read alone",
    ("album/store.py", "_connect"): "SQLite keeps its own promise",
    ("engine/cache.py", "__init__"): "SQLite keeps its own promise",
    ("evaluation/scalars.py", "open_writer"): "TensorBoard appends, to a new file per run",
    ("models/exporting.py", "_embed"): "into a temporary folder, moved by `replacing`",
    ("models/exporting.py", "export_torchscript"): "into a temporary folder, moved by `replacing`",
    ("models/runtimes/graphs.py", "_halve"): "into a temporary folder",
    ("models/runtimes/graphs.py", "write_onnx"): "into a temporary folder",
    ("bench/photos.py", "write_photos"): "into a temporary folder",
    ("imaging/remote.py", "open"): "into an unnamed temporary file",
    ("evaluation/report/charts.py", "as_svg"): "into memory",
    ("training/run.py", "_update"): "moves tensors",
    ("video/writing.py", "_open"): "into the file of a `replacing` that lasts as long as the film",
    ("cli/help.py", "_format_help"): "writes to the terminal",
    ("detection/yunet_network.py", "_build"): "connects nodes of a graph",
}


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _mode(call: ast.Call) -> str:
    """The mode of an `open`, of a path or of the built-in."""
    values = [word.value for word in call.keywords if word.arg == "mode"] or call.args
    texts = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return next((text for text in texts if set(text) <= set("rwaxbt+")), "r")


def writes(call: ast.Call) -> bool:
    name = _name(call)
    if name == "open" or name == "File":
        flags = any("O_CREAT" in ast.unparse(argument) for argument in call.args)
        return flags or bool(set("wax+") & set(_mode(call)))
    if name == "save":
        return isinstance(call.func, ast.Attribute) and (
            ast.unparse(call.func.value).split(".")[-1].split("(")[0] in _SAVERS
            or "fromarray" in ast.unparse(call.func.value)
        )
    # A path's, not a text's.
    if name in ("replace", "rename") and isinstance(call.func, ast.Attribute):
        return len(call.args) == 1 and not call.keywords
    return name in _WRITERS or ast.unparse(call.func) in _PROGRAMS_OWN


def unprotected(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The function and the call of each write outside of `with replacing(…)`."""

    def visit(node: ast.AST, function: str, protected: bool) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.With):
            named = [ast.unparse(item.context_expr) for item in node.items]
            inner = protected or any(
                text.startswith(("replacing(", "writing.replacing(")) for text in named
            )
            for child in (*node.items, *node.body):
                yield from visit(child, function, inner)
            return
        if isinstance(node, ast.Call) and not protected and writes(node):
            yield function, _name(node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function, protected)

    yield from visit(tree, "", False)


def test_every_file_is_written_beside_its_place_and_renamed() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), function, call)
        for path in sorted(PACKAGE.rglob("*.py"))
        for function, call in unprotected(ast.parse(path.read_text("utf-8")))
    }
    places = {place[:2] for place in found}
    missing = sorted(place for place in found if place[:2] not in REASONS)
    assert not missing, "\n".join(map(str, missing))
    assert not set(REASONS) - places


def test_what_could_not_be_read_is_named_where_it_is_copied(tmp_path: Path) -> None:
    target, source = tmp_path / "new" / "copy.jpg", tmp_path / "elsewhere" / "gone.jpg"
    told = r"copy\.jpg: .*elsewhere/gone\.jpg: No such file"
    with pytest.raises(UsageError, match=told), replacing(target) as temporary:
        shutil.copyfile(source, temporary)


needs_attributes = pytest.mark.skipif(
    not hasattr(os, "listxattr"), reason="Python knows extended attributes on Linux alone"
)


def tagged(path: Path) -> Path:
    """A file with a file manager's tags, where the file system holds any."""
    path.write_text("before")
    try:
        os.setxattr(path, "user.xdg.tags", b"beach,best")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    return path


@needs_attributes
def test_a_file_that_is_replaced_keeps_its_extended_attributes(tmp_path: Path) -> None:
    path = tagged(tmp_path / "photo.jpg")
    os.setxattr(path, "user.rating", b"\0\xff")
    with replacing(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "after"
    assert os.getxattr(path, "user.xdg.tags") == b"beach,best"
    assert os.getxattr(path, "user.rating") == b"\0\xff"


NO_ATTRIBUTE = [
    getattr(errno, name)
    for name in ("ENOTSUP", "EPERM", "ENODATA", "ENOSPC", "EDQUOT", "E2BIG", "ERANGE", "EINVAL")
    if hasattr(errno, name)
]


@needs_attributes
@pytest.mark.parametrize("code", NO_ATTRIBUTE)
@pytest.mark.parametrize("call", ["listxattr", "getxattr", "setxattr"])
def test_attributes_that_cannot_be_copied_hinder_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tagged(tmp_path / "photo.jpg")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with replacing(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "after"
