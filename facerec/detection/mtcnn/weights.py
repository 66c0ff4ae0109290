"""MTCNN's weights, from the files of the installed `mtcnn` package."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from numpy.typing import NDArray

from facerec.errors import MissingError
from facerec.weights.packages import package_file

_SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}


def load_mtcnn_weights() -> dict[str, list[NDArray[np.float32]]]:
    """The arrays of `pnet`, `rnet` and `onet`, in the networks' order.

    Each convolution is a kernel `(height, width, in, out)` and a bias `(out,)`, each dense layer
    a matrix `(in, out)` and a bias, each PReLU its slopes, last axis the channel; all float32.

    Raises:
        MissingError: the package or a file is absent, or a file is not the known one.
    """
    return {name: _load(name, digest) for name, digest in _SHA256.items()}


def _load(name: str, digest: str) -> list[NDArray[np.float32]]:
    path = package_file("mtcnn", f"assets/weights/{name}.lz4")
    content = path.read_bytes()
    # joblib unpickles, so only bytes known beforehand may reach it.
    if hashlib.sha256(content).hexdigest() != digest:
        raise MissingError(
            f"{path}: damaged, or not of mtcnn 1.0; "
            "try: pip install --force-reinstall --no-deps mtcnn==1.0.0"
        )
    import joblib

    arrays: list[NDArray[np.float32]] = joblib.load(io.BytesIO(content))
    return arrays
