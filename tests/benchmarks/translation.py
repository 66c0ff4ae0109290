"""What translating vectors costs: `python -m tests.benchmarks.translation DATA CARD`.

LFW's View 2 by the default network and by `MobileFaceNet.onnx` (of the folder DATA, with CARD),
both by YuNet's landmarks. Of each fold's pairs the vectors are translated by a map learned on the
people of the other nine, in both directions. Prints for pairs of two native vectors, of two
translated ones, and of one of each: accuracy over the folds, and true and false accepts at the
threshold at which native pairs have 1 % false accepts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from facerec.album.translation import fit_translation
from facerec.engine.engine import Engine
from facerec.evaluation.curve import score_curve
from facerec.evaluation.metrics import tar_at_far
from facerec.evaluation.protocols.pairs import PairProtocol, open_protocol
from facerec.evaluation.run import Setting, embed_set
from facerec.evaluation.verification import verify_scores
from facerec.faces import Floats
from facerec.imaging.archives import locate
from facerec.profile.loading import resolve

FACES = (200, 500, 1000, None)
FAR = 1e-2


def embed(data: Path, *settings: str) -> tuple[Floats, PairProtocol]:
    yunet = ("detector.name=yunet", f"detector.weights={data}/models/yunet_n_dynamic.onnx")
    profile = resolve(settings=[*yunet, *settings]).profile
    lfw = data / "lfw"
    protocol, source = open_protocol("lfw", lfw / "lfw-deepfunneled-pairs.tar", lfw / "pairs.txt")
    setting = Setting(profile, aligned=False, use_cache=True, fail_on_missing=True)
    engine, files = Engine.from_profile(profile), locate(source, protocol.keys)
    done = embed_set(engine, source, protocol.keys, files, setting, lambda: None)
    return done.vectors, protocol


def translate(old: Floats, new: Floats, protocol: PairProtocol, faces: int | None) -> Floats:
    """All vectors, each translated by a map that was fitted without its fold."""
    folds = np.full(len(old), -1)
    folds[protocol.pairs] = protocol.folds[:, None]
    people = np.unique([key.split("/")[0] for key in protocol.keys], return_inverse=True)[1]
    moved = np.zeros_like(new)
    for fold in np.unique(protocol.folds):
        others = np.flatnonzero(folds != fold)
        if faces is not None:
            others = np.random.default_rng(fold).permutation(others)[:faces]
        fitted = fit_translation(old[others], new[others], people[others])
        moved[folds == fold] = fitted.apply(old[folds == fold])
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("card", type=Path)
    arguments = parser.parse_args()
    data = arguments.data
    model = f"model.name={data}/models/MobileFaceNet.onnx"
    first, protocol = embed(data)
    second, _ = embed(data, model, f"model.card={arguments.card}")
    for name, old, new in (("to MobileFaceNet", first, second), ("to dlib_resnet", second, first)):
        native = compare(new, new, protocol)
        threshold = tar_at_far(score_curve(native, protocol.same), FAR).threshold
        print(f"{name}: native {told(native, protocol, threshold)}")
        for faces in FACES:
            moved = translate(old, new, protocol, faces)
            print(f"  learned from {faces or 'the other nine folds'}")
            for kind, one in (("two translated", moved), ("one translated", new)):
                print(f"    {kind}: {told(compare(moved, one, protocol), protocol, threshold)}")


def compare(one: Floats, other: Floats, protocol: PairProtocol) -> Floats:
    scores: Floats = (one[protocol.pairs[:, 0]] * other[protocol.pairs[:, 1]]).sum(axis=1)
    return scores


def told(scores: Floats, protocol: PairProtocol, threshold: float) -> str:
    accuracy = verify_scores(scores, protocol.same, protocol.folds).accuracy
    accepted, same = scores >= threshold, protocol.same
    return (
        f"{100 * accuracy:.2f} %, TAR {100 * accepted[same].mean():.2f} %, "
        f"FAR {100 * accepted[~same].mean():.2f} %"
    )


if __name__ == "__main__":
    main()
