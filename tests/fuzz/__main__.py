"""`python -m tests.fuzz [--cases 2000] [--seed N] [--kind images]`: prints outcomes by kind.

Each kind runs in a process of its own. A case that crashes or hangs it is found again by the file
`running`, and the kind goes on after it. Cases that fail are saved in `tests/fuzz/regressions/`.
Exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.cases import RIGHT, Ended, Fuzzer, engines_once, keep

_HANG_SECONDS = 180
_MOST_ADDRESSES = 48 << 30


def main() -> int:
    """Run all kinds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", "--kinds", nargs="+", default=None)
    parser.add_argument("--from", dest="first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        _run_inside(options.kind[0], options.first, options.cases, options.seed, options.inside)
        return 0
    from tests.fuzz.kinds import KINDS

    names = options.kind or list(KINDS)
    each = -(-options.cases // len(names))
    counts = {}
    for name in names:
        started = time.monotonic()
        counts[name] = _run_kind(name, each, options.seed)
        told = ", ".join(f"{outcome} {n}" for outcome, n in sorted(counts[name].items()))
        print(f"{name:10} {each:5} cases {time.monotonic() - started:6.0f} s  {told}", flush=True)
    total = sum(counts.values(), Counter())
    print(f"{'all':10} {sum(total.values()):5} cases           "
          f"{', '.join(f'{outcome} {n}' for outcome, n in sorted(total.items()))}")  # fmt: skip
    return int(any(outcome not in RIGHT for outcome in total))


def _run_kind(name: str, cases: int, seed: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    first = 0
    while first < cases:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            command = [sys.executable, "-m", "tests.fuzz", "--kind", name, "--from", first,
                       "--cases", cases, "--seed", seed, "--inside", root]  # fmt: skip
            done = subprocess.run(list(map(str, command)), stderr=subprocess.PIPE, text=True)
            for line in (root / "ended").read_text().splitlines():
                number, outcome, wrong, case = json.loads(line)
                first = number + 1
                counts[outcome] += 1
                if wrong:
                    print(f"{name} {number} {case}: {outcome}: {wrong}", flush=True)
            running = root / "running"
            if done.returncode == 0:
                break
            if not running.exists():
                raise SystemExit(f"{name} could not begin:\n{done.stderr[-3000:]}")
            case, data = json.loads(running.read_text()), (root / "content").read_bytes()
            outcome = "hang" if "Timeout" in done.stderr else "crash"
            counts[outcome] += 1
            print(f"{name} {first} {case}: {outcome}: exit code {done.returncode}, "
                  f"{keep(name, case, data)}\n{done.stderr[-1500:]}", flush=True)  # fmt: skip
            first += 1
    return counts


def _run_inside(name: str, first: int, cases: int, seed: int, root: Path) -> None:
    from tests.fuzz.kinds import KINDS

    os.environ["FACEREC_RUNTIME_PRECISION"] = "fp32"
    os.environ["FACEREC_RUNTIME_PROCESSES"] = "1"
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fuzzer = Fuzzer(KINDS[name], root / "work", seed)
    log = os.fdopen(os.dup(2), "w")
    told: set[str] = set()
    with engines_once(), (root / "ended").open("a") as ended:
        fuzzer.run(-1, *fuzzer.case(len(fuzzer.seeds)))  # loads what every case needs
        for number in range(first, cases):
            case, data = fuzzer.case(number)
            (root / "content").write_bytes(data)
            (root / "running").write_text(json.dumps(case))
            faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True, file=log)
            end: Ended = fuzzer.run(number, case, data)
            faulthandler.cancel_dump_traceback_later()
            (root / "running").unlink()
            wrong = end.wrong
            if wrong and end.key not in told and number >= fuzzer.hostile:
                told.add(end.key)
                wrong += f" ({keep(name, case, data)})"
            ended.write(json.dumps((number, end.outcome, wrong, case)) + "\n")
            ended.flush()


if __name__ == "__main__":
    sys.exit(main())
