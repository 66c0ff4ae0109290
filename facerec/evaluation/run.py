"""One model on one evaluation set, from the profile to the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from facerec.engine.cache import EmbeddingCache, cache_path
from facerec.engine.engine import Engine
from facerec.errors import InputError, UsageError
from facerec.evaluation.embedding import Embedded, Observe, Region, embed_images
from facerec.evaluation.folds import pair_similarities
from facerec.evaluation.identification import Search, search
from facerec.evaluation.protocols.identification import IdentificationProtocol
from facerec.evaluation.protocols.ijb import TemplateList, TemplateProtocol
from facerec.evaluation.templates import template_features
from facerec.evaluation.verification import Verification, verify_scores
from facerec.faces import Floats
from facerec.imaging.archives import Source, locate
from facerec.profile.loading import Profile
from facerec.weights.folder import cache_folder


@dataclass(frozen=True, slots=True)
class Setting:
    """How images become vectors.

    Attributes:
        profile: model, detector and runtime.
        aligned: the images are aligned faces.
        use_cache: look up and keep vectors in facerec's cache folder.
        fail_on_missing: an image without a vector is an error, not a wrong decision.
    """

    profile: Profile
    aligned: bool
    use_cache: bool
    fail_on_missing: bool


def embed_set(
    engine: Engine, source: Source, keys: Sequence[str], files: Mapping[str, str],
    setting: Setting, observe: Observe, regions: Mapping[str, Region] | None = None,
) -> Embedded:  # fmt: skip
    """Vectors of a set's images; see `embed_images`.

    Raises:
        InputError: some have none and `fail_on_missing` is set.
        UsageError: none has one.
    """
    path = cache_path(
        cache_folder(), engine.card, engine.arithmetic, setting.profile.detector,
        aligned=setting.aligned,
    )  # fmt: skip
    opened = (
        EmbeddingCache(path, path.stem, remedy="give --no-cache")
        if setting.use_cache
        else nullcontext()
    )
    with opened as cache:
        embedded = embed_images(
            engine, source, keys, files, setting.profile.runtime,
            aligned=setting.aligned, cache=cache, observe=observe, regions=regions,
        )  # fmt: skip
    missing = embedded.missing
    if not missing:
        return embedded
    key, reason = next(iter(missing.items()))
    told = f"{len(missing)} of {len(keys)} images have no vector, the first {key}: {reason}"
    if len(missing) == len(keys):
        raise UsageError(told)
    if setting.fail_on_missing:
        raise InputError(f"{told}; --on-missing score-as-different goes on")
    return embedded


def identify(vectors: Floats, protocol: IdentificationProtocol) -> Search:
    """Search the gallery for each probe; an image without a vector is unlike everybody.

    Args:
        vectors: `(I, D) float32` unit vectors or rows of NaN.

    Raises:
        UsageError: no gallery image has a vector.
    """
    usable = np.isfinite(vectors[protocol.gallery]).all(axis=1)
    found = search(
        vectors[protocol.gallery[usable]],
        protocol.gallery_people[usable],
        np.nan_to_num(vectors[protocol.probes]),
        protocol.probe_people,
    )
    unseen = np.isnan(vectors[protocol.probes]).any(axis=1)
    enrolled = np.isin(protocol.probe_people, protocol.gallery_people)
    # A known probe without a vector, or whose person has none left, is found after everybody.
    lost = enrolled & (unseen | (found.rank == 0))
    people = found.people + int(lost.any())
    nothing = np.float32(-1)
    return Search(
        np.where(lost, people, found.rank),
        np.where(lost, nothing, found.mate),
        np.where(unseen, nothing, found.best),
        people,
    )


@dataclass(frozen=True, slots=True, eq=False)
class TemplateFigures:
    """What a template set gave.

    Attributes:
        pairs: 1:1; None without a list of pairs.
        searches: 1:N by gallery.
    """

    pairs: Verification | None
    searches: dict[str, Search]


def compare_templates(vectors: Floats, protocol: TemplateProtocol) -> TemplateFigures:
    """1:1 and 1:N on template features; images without a vector are left out of their template.

    A template none of whose images has a vector is unlike every other.

    Args:
        vectors: `(I, D) float32` unit vectors or rows of NaN.
    """
    usable = np.isfinite(vectors).all(axis=1)
    names, features = template_features(
        vectors[usable], protocol.image_templates[usable], protocol.media[usable]
    )
    # One row more, of NaN, for templates without a vector.
    features = np.vstack((features, np.full((1, vectors.shape[1]), np.nan, np.float32)))

    def rows(templates: Any) -> Any:
        places = np.minimum(np.searchsorted(names, templates), len(names) - 1)
        return np.where(names[places] == templates, places, len(names))

    pairs = None
    if len(protocol.pairs):
        similarities = pair_similarities(features, rows(protocol.pairs))
        pairs = verify_scores(similarities, protocol.same, None)
    searches = {}
    if protocol.probes is not None:
        for gallery in protocol.galleries:
            searches[gallery.name] = identify(
                features, _as_identification(gallery, protocol.probes, rows)
            )
    return TemplateFigures(pairs, searches)


def _as_identification(
    gallery: TemplateList, probes: TemplateList, rows: Any
) -> IdentificationProtocol:
    return IdentificationProtocol(
        (), rows(gallery.templates), gallery.subjects, rows(probes.templates), probes.subjects
    )


def locate_templates(source: Source, protocol: TemplateProtocol) -> dict[str, str]:
    """The file of each image of a template set, below any folder such as `loose_crop`.

    Raises:
        UsageError: none is found.
    """
    found = locate(source, dict.fromkeys(protocol.files))
    return {
        key: found[file]
        for key, file in zip(protocol.keys, protocol.files, strict=True)
        if file in found
    }


def describe(engine: Engine, setting: Setting) -> dict[str, Any]:
    """The part of a record that says what was measured."""
    card = engine.card
    return {
        "model": card.name,
        "fingerprint": card.fingerprint(),
        "augment": card.augment,
        "arithmetic": engine.arithmetic,
        "aligned": setting.aligned,
        "detector": None if setting.aligned else setting.profile.detector.name,
    }
