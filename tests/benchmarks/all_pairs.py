"""TAR at FAR over all pairs of the people that a model was not trained on:
`python -m tests.benchmarks.all_pairs CHIPS PEOPLE MODEL…`, where PEOPLE is the run's `data.people`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from facerec.engine.building import open_embedder
from facerec.imaging.decode import decode_image
from facerec.profile.loading import Profile
from facerec.training.data.fitting import fit
from tests.benchmarks import require_arguments

_RATES = (1e-2, 1e-3, 1e-4)
_MAX_PIXELS = 10**7


def main(chips: Path, people: Path, models: list[str]) -> None:
    """Print one line a model."""
    known = set(people.read_text(encoding="utf-8").splitlines())
    files = sorted(path for path in chips.rglob("*.png") if path.parent.name not in known)
    images = [decode_image(path.read_bytes(), path.name, _MAX_PIXELS) for path in files]
    owners = np.array([path.parent.name for path in files])
    first, second = np.triu_indices(len(files), 1)
    same = owners[first] == owners[second]
    print(f"{len(files)} images, {same.sum()} genuine pairs, {(~same).sum()} impostor pairs")
    for model in models:
        embedder = open_embedder(Profile.load(settings=[f"model.name={model}"]))
        card = embedder.card
        size = card.input_height, card.input_width
        vectors = embedder.embed(np.stack([fit(image, card.template, size) for image in images]))
        similarities = (vectors @ vectors.T)[first, second]
        genuine, impostor = similarities[same], np.sort(similarities[~same])
        tar = [(genuine > impostor[-int(rate * len(impostor)) - 1]).mean() for rate in _RATES]
        auc = (np.searchsorted(impostor, genuine) / len(impostor)).mean()
        figures = ", ".join(f"{100 * each:.2f} %" for each in tar)
        print(f"{model}: TAR at FAR {_RATES}: {figures}; AUC {auc:.5f}", flush=True)


if __name__ == "__main__":
    require_arguments(__doc__, 3)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
