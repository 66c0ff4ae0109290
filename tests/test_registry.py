"""Registries by name, without importing what they list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from facerec.errors import MissingError
from facerec.registry import Registry


def test_a_registered_thing_is_found_by_name() -> None:
    registry: Registry[object] = Registry("toy", "TOYS", "facerec.registry")
    target = registry.register("ball", help="Round.", weight=3)(object())
    assert registry.get("ball").target is target
    assert registry.get("ball").facts == {"weight": 3}
    assert registry.summaries() == {"ball": "Round."}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    registry: Registry[object] = Registry("toy", "TOYS", "facerec.registry")
    registry.register("ball", help="Round.")(object())
    with pytest.raises(MissingError, match="no toy is called bal; did you mean ball"):
        registry.get("bal")


def test_facts_of_shipped_things_are_read_without_importing_them() -> None:
    script = (
        "import sys; from facerec.registry import DETECTORS\n"
        "print(DETECTORS.fact('yunet', 'weights'), DETECTORS.fact('mtcnn', 'weights'))\n"
        "assert not {'torch', 'cv2', 'facerec.detection'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "yunet None\n"


def test_another_package_registers_through_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "toybox.py").write_text(
        "from facerec.registry import DETECTORS\n"
        "@DETECTORS.register('toy', help='A toy.')\n"
        "def toy(): ...\n"
    )
    info = tmp_path / "toybox-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toybox\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[facerec.detectors]\ntoy = toybox\n")
    script = (
        "import sys; from facerec.registry import DETECTORS\n"
        "assert 'toy' in DETECTORS.names() and 'toybox' not in sys.modules\n"
        "print(DETECTORS.get('toy').help)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"},
    )  # fmt: skip
    assert done.stdout == "A toy.\n"
