"""Forked children have none of their parent's threads, and must not wait for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

ENGINE = """
from facerec import Engine, Profile, read_image
from facerec.imaging.portraits import portrait_files

engine = Engine.from_profile(Profile.load(settings={settings}))
image = read_image(portrait_files()["grace_hopper"])

def work():
    (face,) = engine.embed([image])[0]
    return face.embedding
"""
BYTES = """
import numpy as np
from facerec.gallery.search.exact import _Quantised

vectors = np.eye(4096, 64, dtype=np.float32) + np.float32(0.1)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
quantised = _Quantised(vectors)

def work():
    queries = vectors[:3]
    rows = quantised.survivors(queries, np.full(3, 0.5, np.float32), 0, len(vectors))
    return np.concatenate(rows)
"""
PRODUCTS = """
import numpy as np
from facerec.parallel.products import products

vectors = np.ones((1000, 64), np.float32)

def work():
    return products(vectors, vectors)
"""
FORK = """
import os
import numpy as np

before = work()
child = os.fork()
if not child:
    raise SystemExit(0 if np.allclose(work(), before, atol=1e-6) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), np.array_equal(work(), before))
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(ENGINE.format(settings=[]), id="openvino"),
        pytest.param(ENGINE.format(settings=["runtime.engine=torch"]), id="torch"),
        pytest.param(ENGINE.format(settings=["runtime.precision=int8"]), id="int8"),
        pytest.param(ENGINE.format(settings=["detector.name=centerface"]), id="centerface"),
        pytest.param(BYTES, id="exact search in bytes"),
        pytest.param(PRODUCTS, id="products"),
    ],
)
def test_a_forked_child_does_what_its_parent_did(program: str) -> None:
    """As workers of gunicorn with `--preload` do, or of Celery."""
    done = subprocess.run(
        [sys.executable, "-c", program + FORK],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.returncode) == ("0 True\n", 0), done.stderr[-2000:]
