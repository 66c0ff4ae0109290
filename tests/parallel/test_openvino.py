"""OpenVINO as a processor of fewer instructions would run it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OV_CPU_MAX_ISA")
DETECT = """
from facerec import Engine, Profile, read_image
from facerec.imaging.portraits import portrait_files

engine = Engine.from_profile(Profile.load())
image = read_image(portrait_files()["grace_hopper"])
print([face.embedding.shape for face in engine.embed([image])[0]])
"""


@pytest.mark.parametrize("variable", LIMITS)
def test_a_limit_of_instructions_for_one_library_holds_for_both(variable) -> None:
    """OpenVINO limited by the one variable but not by the other has no kernel for pooling."""
    environment = {name: value for name, value in os.environ.items() if name not in LIMITS}
    done = subprocess.run(
        [sys.executable, "-c", DETECT],
        env={**environment, variable: "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[(128,)]\n", done.stderr[-2000:]
