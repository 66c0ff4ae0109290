"""Labels of WebDataset shards: `000017.cls` or `000017.json` beside `000017.jpg`."""

from __future__ import annotations

from facerec.errors import InputError, UsageError
from facerec.imaging.archives import Source, photo_names
from facerec.parsing import parse_json
from facerec.text import decode_text

_LABEL_SUFFIXES = (".cls", ".json")
_LABEL_KEYS = ("cls", "label", "class", "person", "identity")


def holds_labels(source: Source) -> bool:
    """Whether a source has WebDataset labels."""
    return any(name.endswith(_LABEL_SUFFIXES) for name in source.names())


def read_labels(source: Source) -> dict[str, str]:
    """The label of each image that has one, by file name.

    The files of a sample share a key, as `000017.jpg` and `000017.cls` do.

    Raises:
        InputError: a label cannot be read.
    """
    names = source.names()
    label_files = {_key(name): name for name in names if name.endswith(_LABEL_SUFFIXES)}
    return {
        name: _read_label(source, label_files[_key(name)])
        for name in (photo_names(source) if label_files else ())
        if _key(name) in label_files
    }


def _key(name: str) -> str:
    """A sample's key: its path up to the first dot of the last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _read_label(source: Source, name: str) -> str:
    try:
        text = decode_text(source.read(name), f"{source.name}/{name}").strip()
    except UsageError as error:
        raise InputError(str(error)) from error
    if not name.endswith(".json"):
        return text
    try:
        fields = parse_json(text)
        return str(next(fields[key] for key in _LABEL_KEYS if key in fields))
    except (ValueError, TypeError, StopIteration) as error:
        known = ", ".join(_LABEL_KEYS)
        raise InputError(f"{source.name}/{name}: has none of {known}") from error
