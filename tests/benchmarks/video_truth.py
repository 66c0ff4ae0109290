"""Who is where in the two videos, as seen by eye: `(frame, x, y)` on a face, straight in between.

In hamilton.mp4 the singer and the pianist; in faces.mp4 those five whose faces are turned to the
camera. All others are strangers there, as are hair and shadows that detectors take for faces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerec.faces import Face

Path = Sequence[tuple[int, int, int]]
PATHS: dict[str, dict[str, Sequence[Path]]] = {
    "hamilton.mp4": {
        "Miranda": [
            [(0, 543, 73), (8, 546, 74), (16, 537, 75), (19, 538, 76)],
            [(82, 173, 104), (90, 199, 114), (98, 233, 133), (106, 255, 114), (114, 259, 140),
             (122, 245, 89), (130, 228, 69), (138, 203, 90), (146, 224, 69), (154, 276, 93),
             (162, 281, 80), (170, 256, 104), (178, 242, 100), (186, 254, 73), (194, 278, 80),
             (202, 312, 86), (210, 318, 91)],
        ],
        "Lacamoire": [
            [(0, 67, 201), (8, 63, 201), (16, 62, 199), (19, 66, 198)],
            [(20, 530, 110), (22, 492, 138), (25, 448, 189), (30, 365, 212), (32, 383, 238),
             (36, 395, 250), (41, 446, 260), (44, 470, 246), (47, 531, 161)],
            [(78, 508, 226), (81, 501, 247)],
        ],
    },
    "faces.mp4": {
        "child": [
            [(0, 944, 673), (8, 951, 674), (16, 1005, 705), (24, 1014, 735), (32, 1016, 727),
             (40, 1044, 765), (48, 1005, 759), (56, 957, 717), (64, 952, 732), (72, 909, 720),
             (80, 848, 704), (88, 834, 737), (96, 798, 732), (104, 795, 699)],
        ],
        "red hair": [
            [(0, 705, 597), (8, 753, 615), (16, 753, 636), (24, 684, 628), (32, 660, 656),
             (40, 652, 670), (48, 617, 682), (56, 571, 656), (64, 560, 685), (72, 552, 652),
             (80, 489, 678), (89, 490, 636), (100, 427, 608), (104, 401, 605)],
        ],
        "glasses": [
            [(0, 1100, 638), (8, 1109, 654), (16, 1122, 662), (24, 1111, 682), (53, 1104, 691),
             (61, 1097, 701), (69, 1094, 690), (77, 1121, 698), (85, 1144, 686), (93, 1144, 696),
             (104, 1138, 693)],
        ],
        "white hair": [
            [(0, 307, 658), (8, 311, 690), (16, 314, 695), (24, 305, 715), (32, 281, 718),
             (40, 264, 709), (48, 248, 725), (56, 234, 705), (64, 234, 705), (72, 227, 720),
             (80, 226, 694), (88, 248, 715), (93, 256, 706)],
        ],
        "black coat": [
            [(48, 1156, 728), (56, 1151, 735), (64, 1156, 720), (72, 1190, 723), (80, 1200, 719),
             (88, 1182, 713), (96, 1191, 726), (104, 1205, 712)],
        ],
    },
}  # fmt: skip


def true_name(video: str, frame: int, face: Face) -> str | None:
    """Who that face is: whose point its box is around, nearest to its middle; None for a stranger.

    Raises:
        KeyError: nothing is known of that video.
    """
    middle = (face.box[:2] + face.box[2:]) / 2
    found = [
        (float(np.hypot(*(point - middle))), name)
        for name, paths in PATHS[video].items()
        for point in _points(paths, frame)
        if (face.box[:2] <= point).all() and (point <= face.box[2:]).all()
    ]
    return min(found)[1] if found else None


def _points(paths: Sequence[Path], frame: int) -> list[np.ndarray]:
    known = (np.array(path) for path in paths)
    return [
        np.array([np.interp(frame, path[:, 0], path[:, axis]) for axis in (1, 2)])
        for path in known
        if path[0, 0] <= frame <= path[-1, 0]
    ]
