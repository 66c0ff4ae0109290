"""How long a user waits: help, and one photo recognised, beside `import torch` alone.

Run: python -m tests.benchmarks.start_up [PHOTO]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7


def seconds(command: list[str]) -> float:
    """Wall time of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians of commands run in turn."""
    facerec = [sys.executable, "-m", "facerec"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*facerec, "demo", "-o", f"{folder}/demo"], check=True, capture_output=True)
        photo = sys.argv[1] if len(sys.argv) > 1 else f"{folder}/demo/picture.jpg"
        gallery = str(Path(folder) / "demo" / "gallery.h5")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import torch": [sys.executable, "-c", "import torch"],
            "facerec --help": [*facerec, "--help"],
            "facerec recognize image (one photo)": [
                *facerec, "recognize", "image", photo, "-g", gallery,
            ],
        }  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                times[name].append(seconds(command))
    torch = statistics.median(times["import torch"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:38} {median:6.2f} s  {median / torch:5.2f} x import torch")


if __name__ == "__main__":
    main()
