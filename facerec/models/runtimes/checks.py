"""A finished file is compared with the exact network on the machine that runs it, once.

Arithmetic differs between processors: where they have no VNNI, products of bytes are summed in
pairs to 16 bits (VPMADDUBSW), which large weights overflow. A file that is right where it was made
may be wrong elsewhere, and name strangers. So exports carry a few faces and their exact vectors.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from facerec import __version__
from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Image
from facerec.files.parsing import MALFORMED, parse_json
from facerec.models import Embedder
from facerec.weights.folder import cache_folder

CHECK_KEY = "facerec.check"
"""Metadata key of exported files: faces, their exact vectors, and the smallest cosine allowed."""
LEAST_COSINE: dict[str, float] = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999, "int8": 0.99}
"""Smallest cosine of a network's vectors to the exact ones, by precision."""
_FACES = 2
_MOST_BYTES = 1 << 24
_LIMITS = ("OV_CPU_MAX_ISA", "ONEDNN_MAX_CPU_ISA")


def without_averaging(card: ModelCard) -> ModelCard:
    """The card of one pass of the network a face."""
    return card.model_copy(update={"augment": "none"})


def describe_check(exact: Embedder, chips: Image, least: float) -> str:
    """The text that an exported file carries under `CHECK_KEY`.

    Args:
        exact: the model in fp32, without averaging.
        chips: `(N, H, W, 3) uint8` RGB real faces.
        least: smallest cosine to its vectors.
    """
    faces = np.ascontiguousarray(chips[:_FACES])
    vectors = exact.embed(faces).astype("<f4")
    return json.dumps(
        {
            "least": least,
            "shape": faces.shape,
            "faces": base64.b64encode(zlib.compress(faces.tobytes(), 9)).decode(),
            "vectors": base64.b64encode(vectors.tobytes()).decode(),
        }
    )


def require_right_here(embedder: Embedder, text: str, path: Path) -> None:
    """Compare an exported file's vectors with the exact ones that it carries.

    What was found right is remembered in facerec's cache folder, by file, runtime and processor.

    Args:
        embedder: of the file, without averaging.
        text: see `describe_check`; empty in files of other programs.
        path: the file.

    Raises:
        MissingError: the text is damaged.
        UsageError: the vectors differ too much.
    """
    if not text:
        return
    facts = path.stat()
    told = (str(path.resolve()), facts.st_size, facts.st_mtime_ns, embedder.arithmetic, processor())
    mark = hashlib.sha256(json.dumps([*told, __version__, text]).encode()).hexdigest()[:32]
    known = cache_folder() / "runtimes" / "right" / mark
    if known.exists():
        return
    try:
        fields = parse_json(text)
        packed = base64.b64decode(fields["faces"])
        pixels = zlib.decompressobj().decompress(packed, _MOST_BYTES)
        faces = np.frombuffer(pixels, np.uint8).reshape(fields["shape"])
        vectors = np.frombuffer(base64.b64decode(fields["vectors"]), "<f4")
        vectors = vectors.reshape(len(faces), -1)
        # Exact weights may be run in bf16 here.
        running = embedder.arithmetic.rpartition(" ")[2]
        least = min(float(fields["least"]), LEAST_COSINE.get(running, 1.0))
        cosine = float((embedder.embed(faces) * vectors).sum(axis=1).min())
    except MALFORMED as error:
        raise MissingError(f"{path}: the check that it carries is damaged") from error
    if not cosine >= least:
        raise UsageError(
            f"{path}: computes wrongly on this processor: cosine {cosine:.4f} to the exact model, "
            f"which needs {least}; export it here, or use the model itself"
        )
    with suppress(OSError):
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()


def agree(exact: Embedder, other: Embedder) -> bool:
    """Whether two embedders of one network give the same vectors, to what fp32 allows, on two
    chips of noise."""
    card = exact.card
    shape = (2, card.input_height, card.input_width, 3)
    chips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    try:
        cosine = float((exact.embed(chips) * other.embed(chips)).sum(axis=1).min())
    except MissingError:  # an operation that the other cannot run
        return False
    return cosine >= LEAST_COSINE["fp32"]


@cache
def processor() -> str:
    """16 hex digits of this processor's model and instructions, and of the limits set on them."""
    facts = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        for name in ("model name", "flags", "Features"):
            facts += [line for line in lines if line.startswith(name)][:1]
    facts += [os.environ.get(limit, "") for limit in _LIMITS]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
