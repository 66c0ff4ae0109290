"""One model on one evaluation set: from the profile to vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from facerec.alignment.warp import only_central_face
from facerec.engine.cache import EmbeddingCache, cache_path
from facerec.engine.engine import Engine
from facerec.engine.pool import Select
from facerec.errors import InputError, UsageError
from facerec.evaluation.embedding import Embedded, Observe, Region, embed_images
from facerec.faces import Floats
from facerec.files.text import counted
from facerec.imaging.archives import Source
from facerec.profile.loading import Profile
from facerec.weights.folder import cache_folder


@dataclass(frozen=True, slots=True)
class Setting:
    """How an evaluation set is embedded.

    Attributes:
        profile: model, detector and runtime.
        aligned: the images are aligned faces.
        use_cache: look up and keep vectors in facerec's cache folder.
        fail_on_missing: an image without a vector is an error, not a wrong decision.
        quality: the faces' quality is wanted, too.
    """

    profile: Profile
    aligned: bool
    use_cache: bool
    fail_on_missing: bool
    quality: bool = False


def embed_set(
    engine: Engine, source: Source, keys: Sequence[str], files: Mapping[str, str],
    setting: Setting, observe: Observe, regions: Mapping[str, Region] | None = None,
    select: Select = only_central_face, landmarks: Mapping[str, Floats] | None = None,
) -> Embedded:  # fmt: skip
    """Vectors of a set's images; see `embed_images`.

    Raises:
        InputError: some have none and `fail_on_missing` is set.
        UsageError: none has one.
    """
    apart = engine.apart()
    path = cache_path(
        cache_folder(), apart.card, engine.arithmetic, setting.profile.detector,
        aligned=setting.aligned, template=setting.profile.alignment.template,
    )  # fmt: skip
    opened = (
        EmbeddingCache(path, path.stem, remedy="give --no-cache")
        if setting.use_cache
        else nullcontext()
    )
    with opened as cache:
        embedded = embed_images(
            apart, source, keys, files, setting.profile.runtime,
            aligned=setting.aligned, cache=cache, observe=observe, regions=regions,
            quality=setting.quality, select=select, landmarks=landmarks,
        )  # fmt: skip
    embedded = dataclasses.replace(embedded, vectors=engine.fuse(embedded.raw))
    missing = embedded.missing
    if not missing:
        return embedded
    key, reason = next(iter(missing.items()))
    every = f"of {len(keys)} images"
    told = counted(len(missing), f"{every} has", f"{every} have")
    told = f"{told} no vector, the first {key}: {reason}"
    if len(missing) == len(keys):
        raise UsageError(told)
    if setting.fail_on_missing:
        raise InputError(f"{told}; --on-missing score-as-different goes on")
    return embedded


def describe(engine: Engine, setting: Setting) -> dict[str, Any]:
    """A record's fields on the model and how it was run."""
    card = engine.card
    return {
        "model": card.name,
        "fingerprint": card.fingerprint(),
        "augment": card.augment,
        "arithmetic": engine.arithmetic,
        "aligned": setting.aligned,
        "detector": None if setting.aligned else setting.profile.detector.name,
    }
