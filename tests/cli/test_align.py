"""`facerec align` on real portraits."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from tests.conftest import Run


def test_align_names_archives_in_a_folder_and_ends_with_3(
    run: Run, people: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(people / "more.zip", "w") as archive:
        archive.write(next(people.rglob("*.*")), "a.jpg")
    code, out, err = run("align", people, tmp_path / "chips", "--json")
    assert (code, json.loads(out)["failed"]) == (3, 1)
    assert f"{people / 'more.zip'}: is an archive in {people}, which is not unpacked" in err
