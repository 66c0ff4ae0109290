"""Opening, filtering and walking the report of many people in Chromium: seconds and memory.

python -m tests.benchmarks.cleanup_report 5000
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.benchmarks import require_arguments
from tests.large_report import write_large_report


def measure(people: int) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as start:
        page = write_large_report(Path(folder), people)
        browser = start.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        started = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_function("document.querySelector('.finding img')?.naturalWidth > 0")
        opened = time.perf_counter()
        tab.select_option("#kind", "near-duplicate")
        tab.wait_for_function("document.querySelector('.finding img')?.naturalWidth > 0")
        filtered = time.perf_counter()
        for _ in range(100):
            tab.keyboard.press("j")
        walked = time.perf_counter()
        memory = tab.evaluate("performance.memory.usedJSHeapSize") / 2**20
        browser.close()
        print(
            f"{people} people, {page.stat().st_size / 2**20:.0f} MiB: opened in "
            f"{opened - started:.1f} s, filtered in {filtered - opened:.1f} s, "
            f"{(walked - filtered) / 100 * 1000:.0f} ms a step, {memory:.0f} MiB of script memory"
        )


if __name__ == "__main__":
    require_arguments(__doc__, 1)
    measure(int(sys.argv[1]))
