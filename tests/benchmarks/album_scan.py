"""`facerec album scan` beside `facerec embed --faces all` on a library of photos.

python -m tests.benchmarks.album_scan lfw-deepfunneled-pairs.tar FOLDER [PHOTOS]

PHOTOS (10,000) JPEG files are made in FOLDER/photos, in folders by month: 1 to 4 LFW images side
by side, seeded, each with the time of an EXIF date. Both commands, as processes, take halves of
them in turns. Then the scan runs again with nothing new, after 100 files were moved and renamed,
and after 100 were added. A Markdown table; processor time is of all cores, memory the largest
process's. FOLDER keeps the photos.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from facerec.imaging.archives import open_source
from facerec.imaging.names import is_photo
from facerec.parallel.ahead import map_ahead
from tests.benchmarks import require_arguments

PHOTOS, LARGEST, TOUCHED = 10_000, 4, 100
FIRST, STEP = datetime(2001, 1, 1, 12), timedelta(hours=17)
_TAKEN, _EXIF_IFD = 0x9003, 0x8769


class Used(NamedTuple):
    """What a process took: seconds of wall clock and processor, megabytes, and what it printed."""

    wall: float
    busy: float
    peak: float
    told: str


def make_photos(archive: Path, folder: Path, count: int, first: int = 0) -> None:
    """Photos number `first` and on; their contents differ, as their dates do."""
    source = open_source(archive)
    names = sorted(name for name in source.names() if is_photo(name, source.read))

    def make(number: int) -> None:
        dice = np.random.default_rng(number)
        chosen = dice.choice(len(names), int(dice.integers(1, LARGEST + 1)), replace=False)
        parts = [Pillow.open(io.BytesIO(source.read(names[one]))) for one in chosen]
        photo = Pillow.new("RGB", (sum(part.width for part in parts), parts[0].height))
        left = 0
        for part in parts:
            photo.paste(part, (left, 0))
            left += part.width
        taken = FIRST + number * STEP
        exif = Pillow.Exif()
        exif.get_ifd(_EXIF_IFD)[_TAKEN] = f"{taken:%Y:%m:%d %H:%M:%S}"
        path = folder / f"{taken:%Y-%m}" / f"IMG_{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, quality=92, exif=exif.tobytes())

    for _ in map_ahead(range(first, first + count), make, workers=os.cpu_count() or 1):
        pass


def run(*arguments: str | Path) -> Used:
    """A command of facerec's, until it ends."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "facerec", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None, "it is a pipe"
    told = process.stderr.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {told}")
    wall = time.perf_counter() - began
    return Used(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, told)


def row(title: str, photos: int, runs: Sequence[Used]) -> None:
    """A line of the table."""
    wall, busy = (sum(getattr(one, name) for one in runs) for name in ("wall", "busy"))
    speed, each = (f"{photos / wall:.1f}", f"{1000 * busy / photos:.1f} ms") if photos else ("", "")
    peak = max(one.peak for one in runs)
    print(
        f"| {title} | {wall:.1f} s | {busy:.1f} s | {speed} | {each} | {peak:.0f} MB |", flush=True
    )


def halves(folder: Path) -> list[list[Path]]:
    """The months' folders, every other one."""
    months = sorted(folder.iterdir())
    return [months[::2], months[1::2]]


def main(archive: Path, folder: Path, count: int = PHOTOS) -> None:
    photos, album, gallery = folder / "photos", folder / "album.db", folder / "all.h5"
    if sum(1 for _ in photos.rglob("*.jpg")) != count:
        shutil.rmtree(photos, ignore_errors=True)
        make_photos(archive, photos, count)
    for left in (*folder.glob("album.db*"), *folder.glob("all.h5*")):
        left.unlink()
    scans, embeds = [], []
    for number, months in enumerate(halves(photos)):
        turns = [
            (scans, ("album", "scan", *months, "-a", album)),
            (embeds, ("embed", *months, "--faces", "all", "-o", gallery)),
        ]
        for kept, command in turns if number == 0 else reversed(turns):
            kept.append(run(*command))
    print(f"{count} photos; load {os.getloadavg()[0]:.1f}\n{scans[-1].told}\n{embeds[-1].told}\n")
    print("| | wall | processor | img/s | processor an image | peak memory |")
    print("|---|---|---|---|---|---|")
    row("`embed --faces all`", count, embeds)
    row("`album scan`", count, scans)
    again = ("album", "scan", photos, "-a", album)
    row("again, nothing new", 0, [run(*again)])
    files = sorted(photos.rglob("*.jpg"))[: min(TOUCHED, count)]
    for number, file in enumerate(files):
        target = photos / "moved" / f"renamed {number}.jpg"
        target.parent.mkdir(exist_ok=True)
        file.rename(target)
    moved = run(*again)
    row(f"{len(files)} moved and renamed", 0, [moved])
    make_photos(archive, photos, TOUCHED, first=count)
    added = run(*again)
    row(f"{TOUCHED} added", 0, [added])
    print(f"\n{moved.told}\n{added.told}")
    counts = subprocess.run(
        [sys.executable, "-m", "facerec", "album", "show", "-a", album, "--json"],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    print(f"{len(counts)} faces, {len({json.loads(one)['photo'] for one in counts})} photos")


if __name__ == "__main__":
    require_arguments(__doc__, 2)
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]))
