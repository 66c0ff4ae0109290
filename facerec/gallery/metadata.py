"""Metadata of an entry: a few texts by name, such as team=red."""

from __future__ import annotations

import json
from collections.abc import Mapping


def format_meta(meta: Mapping[str, str]) -> str:
    """The metadata as it is kept: a JSON object with sorted keys, or "" for none."""
    return json.dumps(dict(meta), ensure_ascii=False, sort_keys=True) if meta else ""


def parse_meta(text: str) -> dict[str, str]:
    """The inverse of `format_meta`.

    Raises:
        ValueError: the text is no JSON object of texts.
    """
    if not text:
        return {}
    meta = json.loads(text)
    if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
        raise ValueError(f"{text[:60]!r} is no metadata")
    return meta


def matches(meta: Mapping[str, str], where: Mapping[str, str]) -> bool:
    """Whether metadata carry every key of `where` with its value."""
    return all(meta.get(key) == value for key, value in where.items())
