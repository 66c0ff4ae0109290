"""The collections of a gallery in Milvus.

`NAME` holds the entries: `id` (their order), `person`, `source`,
`sha256`, `meta` (JSON), `face` (box, landmarks, score and, since it is measured, quality, base64 of
15 or 16 little-endian float32) and
`embedding`. `NAME_people` holds each person's mean vector, under the `id` of their first entry.
`NAME_state` holds one row: the model card, and the `id` that the next entry gets.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from facerec.faces import Floats
from facerec.gallery.base import Batch, Where
from facerec.gallery.checks import check_meta
from facerec.gallery.entries import meta_texts

Row = dict[str, Any]

VERSION = 1
ENTRY_FIELDS = ["id", "person", "source", "sha256", "meta", "face", "embedding"]
_SHORT, _LONG = 4096, 65535
_NUMBERS = 16
"""Of an entry's `face`."""


def create_collections(client: Any, name: str, size: int) -> None:
    """Make a gallery's collections, empty, for embeddings of `size` values."""
    from pymilvus import DataType

    texts = {"person": _SHORT, "source": _LONG, "sha256": 128, "face": 128}
    collections: dict[str, tuple[dict[str, int], int]] = {
        name: (texts, size),
        f"{name}_people": ({"person": _SHORT}, size),
        # Milvus requires a vector in every collection.
        f"{name}_state": ({"state": _LONG}, 2),
    }
    for collection, (lengths, dimension) in collections.items():
        if client.has_collection(collection):
            # Left by a writer killed before its first commit.
            client.drop_collection(collection)
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        for text, length in lengths.items():
            schema.add_field(text, DataType.VARCHAR, max_length=length)
        if collection == name:
            schema.add_field("meta", DataType.JSON)
        elif collection == f"{name}_people":
            schema.add_field("faces", DataType.INT64)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
        index = client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="COSINE")
        client.create_collection(collection, schema=schema, consistency_level="Strong")
        # The index of an empty collection is ready at once.
        client.create_index(collection, index, sync=False)
        client.load_collection(collection)


def read_state(client: Any, collection: str) -> Row | None:
    """A gallery's state; None without a gallery."""
    name = f"{collection}_state"
    if not client.has_collection(name):
        return None
    # Milvus Lite unloads collections with the process that loaded them.
    client.load_collection(name)
    rows = client.query(name, filter="id == 0", output_fields=["state"])
    return json.loads(rows[0]["state"]) if rows else None


def pack_face(box: Floats, landmarks: Floats, score: float, quality: float) -> str:
    """Box `(4,)`, landmarks `(5, 2)`, score and quality as an entry's `face`."""
    numbers = np.concatenate([box, landmarks.reshape(-1), [score, quality]]).astype("<f4")
    return base64.b64encode(numbers.tobytes()).decode()


def _unpack_face(text: str) -> Floats:
    numbers = np.full(_NUMBERS, np.nan, np.float32)
    stored = np.frombuffer(base64.b64decode(text), "<f4")
    numbers[: len(stored)] = stored
    return numbers


def escape_text(text: str) -> str:
    """A path with bytes that are not UTF-8 escaped, as Milvus stores only text."""
    return text.encode("utf-8", "backslashreplace").decode()


def literal(value: str | list[str]) -> str:
    """A string or list as a literal of a filter expression."""
    return json.dumps(value, ensure_ascii=False)


def conditions_of(where: Where) -> str:
    """The filter's conditions on metadata, to be appended."""
    return "".join(
        f" and meta[{literal(key)}] == {literal(value)}"
        for key, value in check_meta(where, "where").items()
    )


def batch_of(rows: Sequence[Row], size: int) -> Batch:
    """Rows as a batch, with embeddings of `size` values."""
    faces = np.array([_unpack_face(row["face"]) for row in rows], np.float32).reshape(-1, _NUMBERS)
    return Batch(
        [row["person"] for row in rows],
        [row["source"] for row in rows],
        [row["sha256"] for row in rows],
        [meta_texts(row["meta"] or {}) for row in rows],
        np.array([row["embedding"] for row in rows], np.float32).reshape(-1, size),
        faces[:, :4],
        faces[:, 4:14].reshape(-1, 5, 2),
        faces[:, 14],
        faces[:, 15],
    )
