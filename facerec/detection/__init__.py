"""Face detection: boxes, scores and five landmarks.

A detector is a class registered in its own file, which holds all that it needs to be built:

    @DETECTORS.register("mine", help="One line for lists.")
    class Mine:
        @classmethod
        def from_section(cls, section: DetectorSection, *, device: str) -> Mine: ...

Facts that it may register with:

- `options`: a pydantic model of the profile's `detector.options`, for what `DetectorSection` lacks.
- `weights`: the catalogue name of the file that `facerec download` fetches for it.
- `packaged`: that of a pip package's file, used until the other is downloaded.
- `cascade`: True where faces must exceed `detector.thresholds[2]`; video lowers it to keep tracks.
- `landmarks`: `mtcnn` where its faces get the landmarks of MTCNN's third network unless the profile
  says otherwise.
- `certain`: score above which a face is upright, where the detector takes some upside-down faces
  for upright ones.
- `turn_margin`: log-odds by which the face of a turned image must be surer than that of the image
  as it is, where it is not MTCNN's 3.
- `reads`: those of the profile's keys `min_face`, `thresholds`, `scale_factor`, `max_candidates`,
  `score` and `weights` that it reads; another that is set is refused. Without it none is.
- `uses_all_cores`: True where one process keeps all cores busy, so that a stream is not divided
  among worker processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from facerec.faces import Face, Image


class Detector(Protocol):
    """What every detector does.

    The result for an image never depends on the other images of the call.
    """

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each image, highest score first; an empty list where there is none.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.
        """
        ...

    def reduction(self, height: int, width: int) -> int:
        """JPEG downscale factor (1, 2, 4 or 8) at which the smallest face sought stays detectable;
        1 where decoding at full size costs little."""
        ...

    def reduced(self, factor: int) -> Detector:
        """This detector for images downscaled by the factor."""
        ...
