"""Plot of one person's images: dendrogram and principal axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerec.cleanup.examine import link_person
from facerec.cleanup.findings import Finding
from facerec.cleanup.linkage import cut
from facerec.cleanup.photos import Photos
from facerec.errors import UsageError
from facerec.files.text import counted
from facerec.files.writing import replacing
from facerec.profile.schema import CleanupSection

_LEAVES = 60
"""Leaves that stay legible; the rest is truncated."""
_LABELLED = 60
_LEAST_HEIGHT = 1e-9


def draw_person(
    report: Path, person: str, photos: Photos, findings: Sequence[Finding],
    section: CleanupSection, threshold: float,
) -> Path:  # fmt: skip
    """Write `plot.svg`: the dendrogram with the threshold, and a scatter plot on the first two
    principal axes, coloured by cluster; images with a finding are crosses.

    Raises:
        UsageError: there is no such person, or the person has fewer than two embedded images.
    """
    if person not in photos.people:
        raise UsageError(f"--plot {person}: no such person here")
    rows = np.flatnonzero(photos.person == photos.people.index(person))
    rows = rows[~np.isnan(photos.vector[rows, 0])]
    if len(rows) < 2:
        raise UsageError(f"--plot {person}: fewer than two images with a face")
    vectors = photos.vector[rows]
    tree = link_person(vectors, section)
    cluster = cut(tree, threshold)
    names = [str(photos.file[row]).rpartition("/")[2] for row in rows]
    found = {file for finding in findings for file in finding.files}
    marked = np.array([photos.file[row] in found for row in rows])

    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from scipy.cluster.hierarchy import dendrogram

    figure = Figure(figsize=(14, 6.5), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2)
    # Copies of one image are at distance 0, which would leave the axis without a range.
    drawn = tree.copy()
    drawn[:, 2] = np.maximum(drawn[:, 2], _LEAST_HEIGHT)
    dendrogram(
        drawn, p=_LEAVES, truncate_mode="lastp", ax=left, color_threshold=threshold,
        above_threshold_color="0.4", leaf_rotation=90, leaf_font_size=7,
        labels=[_shown(name) for name in names],
    )  # fmt: skip
    left.axhline(threshold, color="0.4", linestyle="--", linewidth=1)
    left.set_ylim(0, 1.05 * max(float(tree[:, 2].max()), threshold))
    left.set_ylabel(f"{section.metric} distance, {section.linkage} linkage")
    left.set_title(_shown(f"{person}: {counted(len(rows), 'image')}, threshold {threshold:.4f}"))
    places = _principal_axes(vectors)
    for marker, chosen in (("o", ~marked), ("X", marked)):
        right.scatter(
            *places[chosen].T, c=cluster[chosen], cmap="tab20", marker=marker, s=45,
            vmin=0, vmax=max(int(cluster.max()), 1),
            label="with a finding" if marker == "X" else "without",
        )  # fmt: skip
    if len(rows) <= _LABELLED:
        for name, place in zip(names, places, strict=True):
            right.annotate(
                _shown(name), place, fontsize=6, xytext=(4, 3), textcoords="offset points"
            )
    right.set_title("two principal axes, coloured by cluster")
    right.legend()
    path = report / "plot.svg"
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg")
    return path


def _principal_axes(vectors: np.ndarray) -> np.ndarray:
    """`(n, 2)` coordinates on the axes of largest variance (PCA; Pearson 1901)."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ axes[:, :-3:-1])


def _shown(text: str) -> str:
    """A name that Matplotlib draws literally: printable, without math text."""
    readable = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else "?" for c in readable).replace("$", r"\$")
