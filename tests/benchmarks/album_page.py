"""`facerec album web` with 5,000 people and 100,000 faces: first grid, scrolling, changes.

python -m tests.benchmarks.album_page
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from tests.album.made import Group, make_album
from tests.album.web.conftest import served

_SHOWN = """[...document.querySelectorAll('.card img')].filter(one => {
  const { top, bottom } = one.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}).every(one => one.complete && one.naturalWidth)"""
_SCROLL = f"""async () => {{
  const main = document.getElementById('main'), frames = [], leaps = [];
  const frame = () => new Promise(requestAnimationFrame);
  const height = main.scrollHeight;
  let most = 0, last = performance.now();
  const count = () => {{ most = Math.max(most, document.querySelectorAll('#main *').length); }};
  for (let n = 0; n < 120; n++) {{
    main.scrollTop += 200;
    await frame();
    frames.push(performance.now() - last);
    last = performance.now();
    count();
  }}
  for (let n = 0; n < 12; n++) {{
    const begun = performance.now();
    main.scrollTop = height * ((n * 7) % 12) / 12;
    await frame();
    await frame();
    while (document.querySelector('.leaping, .card.empty') || !{_SHOWN})
      await new Promise(done => setTimeout(done, 5));
    leaps.push(performance.now() - begun);
    count();
  }}
  for (const times of [frames, leaps]) times.sort((a, b) => a - b);
  return {{ frame: frames[60], slow: frames[114], leap: leaps[6], longest: leaps[11], most }};
}}"""
_CHANGE = """async (person) => {
  const post = async (action, values) => (await fetch('api/' + action, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(values),
  })).json();
  const times = [performance.now()];
  const { step } = await post('name', { person, name: 'Somebody new' });
  times.push(performance.now());
  await (await fetch('api/people?limit=120')).json();
  times.push(performance.now());
  await post('undo', { step: step.id });
  times.push(performance.now());
  for (const again of [1, 2]) {
    await (await fetch('api/suggestions?limit=30')).json();
    times.push(performance.now());
  }
  return times.slice(1).map((time, n) => time - times[n]);
}"""


def main() -> None:
    """Print one line a figure, with the load of the machine."""
    rng = np.random.default_rng(1)
    weights = rng.pareto(1.2, 5000) + 0.3
    counts = np.maximum(1, (weights / weights.sum() * 102_500).astype(int))
    groups = [Group(int(n), f"Name {i}" if i < 300 else None) for i, n in enumerate(counts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "album.db"
        make_album(path, [*groups, Group(1000, nobody=True)], size=128)
        print(f"{len(counts)} people, {counts.sum() + 1000} faces, largest {counts.max()}")
        with served(path) as address, sync_playwright() as start:
            browser = start.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            for _ in range(3):
                _first_grid(page, address)
            _scroll(page, address, "people")
            _scroll(page, address, f"person/{1 + int(counts.argmax())}")
            change = page.evaluate(_CHANGE, 2000)
            told = ("name", "list again", "undo", "first suggestions", "more suggestions")
            print(", ".join(f"{what} {ms:.0f} ms" for what, ms in zip(told, change, strict=True)))
            browser.close()
    print("load", *os.getloadavg())


def _first_grid(page: Any, address: str) -> None:
    begun = time.perf_counter()
    page.goto(address)
    page.locator(".card:focus").wait_for()
    grid = time.perf_counter() - begun
    while not page.evaluate(_SHOWN):
        page.wait_for_timeout(5)
    print(f"first grid {grid:.2f} s, its pictures {time.perf_counter() - begun:.2f} s")


def _scroll(page: Any, address: str, view: str) -> None:
    page.goto(f"{address}#/{view}")
    page.locator(".card:focus").wait_for()
    found = page.evaluate(_SCROLL)
    print(
        f"{view}: frame {found['frame']:.0f} ms (95 % {found['slow']:.0f}), leap to pictures "
        f"{found['leap']:.0f} ms (longest {found['longest']:.0f}), elements {found['most']}"
    )


if __name__ == "__main__":
    main()
