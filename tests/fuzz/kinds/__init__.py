"""The kinds of input, each in the file of what it is about."""

from __future__ import annotations

from tests.fuzz.cases import Kind
from tests.fuzz.kinds import archives, data_sets, galleries, images, metadata, models, texts

KINDS: dict[str, Kind] = {
    kind.name: kind
    for module in (images, archives, texts, galleries, models, data_sets, metadata)
    for kind in module.KINDS
}
