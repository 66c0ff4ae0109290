"""IJB templates: one vector from the images of a template, each medium counting once; 1:1 and 1:N.

Whitelam et al. 2017 (IJB-B) define templates and media; averaging within a medium first is that of
Crosswhite et al. 2017, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.folds import normalised, pair_similarities
from facerec.evaluation.identification import Search, identify
from facerec.evaluation.protocols.identification import IdentificationProtocol
from facerec.evaluation.protocols.ijb import TemplateList, TemplateProtocol
from facerec.evaluation.verification import Verification, verify_scores
from facerec.faces import Floats
from facerec.imaging.archives import Source, locate


def template_features(
    embeddings: NDArray[np.float32], templates: NDArray[np.int64], media: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Average the images of each medium, add up a template's media, normalise.

    Args:
        embeddings: `(I, D) float32` unit vectors, or such times how much each counts.
        templates: `(I,) int64`, template of each image.
        media: `(I,) int64`, medium (a still, or the video a frame is of) of each image.

    Returns:
        `(T,) int64` distinct templates, ascending, and their `(T, D) float32` unit vectors.
    """
    order = np.lexsort((media, templates))
    templates, media = templates[order], media[order]
    new_template = np.append(True, templates[1:] != templates[:-1])
    starts = np.flatnonzero(new_template | np.append(True, media[1:] != media[:-1]))
    sizes = np.diff(np.append(starts, len(order)))
    medium_means = np.add.reduceat(embeddings[order], starts, axis=0) / sizes[:, None]
    template_starts = np.flatnonzero(new_template[starts])
    sums = np.add.reduceat(medium_means, template_starts, axis=0)
    return templates[starts[template_starts]], normalised(sums.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class TemplateFigures:
    """Figures' inputs of a template set.

    Attributes:
        pairs: 1:1; None without a list of pairs.
        searches: 1:N by gallery.
    """

    pairs: Verification | None
    searches: dict[str, Search]


def compare_templates(vectors: Floats, protocol: TemplateProtocol) -> TemplateFigures:
    """1:1 and 1:N on template features; images without a vector are left out of their template.

    A template without any vector matches none.

    Args:
        vectors: `(I, D) float32` unit vectors or rows of NaN.
    """
    usable = np.isfinite(vectors).all(axis=1)
    names, features = template_features(
        vectors[usable] * protocol.scores[usable, None],
        protocol.image_templates[usable],
        protocol.media[usable],
    )
    # The last row, NaN, stands for templates without a vector.
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
