"""`--isa` of the benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from facerec.models.precision import multiplies_bf16

SHOW = """
import sys
sys.argv = ["-m", "--isa", "avx2", "--rounds", "3"]
import tests.benchmarks, torch
print(sys.argv[1:], torch.backends.cpu.get_cpu_capability())
"""


def test_a_benchmark_computes_as_a_processor_of_that_kind() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    assert done.stdout.split("] ")[0] == "['--rounds', '3'"
    assert done.stdout.split()[-1] in ("AVX2", "DEFAULT")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.start_up", "--isa", "sse9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "--isa sse9: one of avx2, avx512, bf16")


@pytest.mark.parametrize("most", ["AVX2", "avx512_core", "AVX512_CORE_VNNI"])
def test_bf16_is_not_chosen_where_onednn_may_not_use_it(most, monkeypatch) -> None:
    monkeypatch.setitem(os.environ, "ONEDNN_MAX_CPU_ISA", most)
    assert not multiplies_bf16()


def test_a_benchmark_without_its_arguments_describes_itself() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.cleanup_report", "--isa", "avx2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "python -m tests.benchmarks.cleanup_report 5000" in done.stderr
