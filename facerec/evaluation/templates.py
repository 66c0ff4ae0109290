"""Template features: one vector from all images of a person's template, each medium counting once.

Whitelam et al. 2017 (IJB-B) define templates and media; averaging within a medium first is that of
Crosswhite et al. 2017, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.folds import normalised


def template_features(
    embeddings: NDArray[np.float32], templates: NDArray[np.int64], media: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Average the images of each medium, add up a template's media, normalise.

    Args:
        embeddings: `(I, D) float32` unit vectors.
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
