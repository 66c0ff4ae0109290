from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from facerec.errors import UsageError
from facerec.faces import Face

BOX, POINTS = np.arange(4, dtype=np.float32), np.arange(10, dtype=np.float32).reshape(5, 2)


def arrays(face: Face) -> list[np.ndarray]:
    assert face.embedding is not None
    return [face.box, face.landmarks, face.embedding]


def test_the_arrays_that_a_face_was_made_of_stay_writable() -> None:
    given = [BOX.copy(), POINTS.copy(), np.ones(3, np.float32)]
    face = Face(given[0], 1.0, given[1], given[2])
    assert all(array.flags.writeable for array in given)
    assert not any(array.flags.writeable for array in arrays(face))
    assert all(np.shares_memory(*both) for both in zip(given, arrays(face), strict=True))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda face: pickle.loads(pickle.dumps(face))]
)
def test_a_copied_face_is_read_only_too(copied) -> None:
    face = Face(BOX, 0.5, POINTS, np.ones(3, np.float32), 90, 2, 0.7, 20.0)
    other = copied(face)
    assert not any(array.flags.writeable for array in arrays(other))
    assert all(map(np.array_equal, arrays(face), arrays(other)))
    assert (other.score, other.turn, other.among, other.quality, other.norm) == (
        0.5, 90, 2, 0.7, 20.0,
    )  # fmt: skip


def test_a_face_may_be_made_of_lists() -> None:
    face = Face(BOX.tolist(), 1.0, POINTS.tolist())
    assert face.box.dtype == face.landmarks.dtype == np.float32
    assert np.array_equal(face.enlarged(2).box, BOX * 2 + 0.5)


def test_a_face_of_other_shapes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the box of a face is of shape \(4,\), not \(5,\)"):
        Face(np.zeros(5, np.float32), 1.0, POINTS)
    with pytest.raises(UsageError, match=r"the landmarks .* \(5, 2\), not \(10,\)"):
        Face(BOX, 1.0, POINTS.ravel())
    with pytest.raises(UsageError, match=r"the embedding .* \(D,\), not \(1, 3\)"):
        Face(BOX, 1.0, POINTS, np.ones((1, 3), np.float32))


def test_a_record_is_of_json_values() -> None:
    quality, norm = np.float32(0.5), np.float32(20)
    face = Face(BOX, np.float32(0.25), POINTS, quality=quality, norm=norm)  # type: ignore[arg-type]
    record = json.loads(json.dumps(face.to_record(), allow_nan=False))
    assert record == {
        "box": [0, 1, 2, 3], "score": 0.25, "landmarks": POINTS.tolist(), "quality": 0.5,
        "norm": 20,
    }  # fmt: skip


def test_unknown_landmarks_are_null_in_a_record() -> None:
    record = Face(BOX, 1.0, np.full((5, 2), np.nan, np.float32)).to_record()
    assert json.loads(json.dumps(record, allow_nan=False))["landmarks"] is None
