"""ArcFace's alignment template."""

from __future__ import annotations

from facerec.card import Template

ARCFACE_SIZE = 112

ARCFACE = Template(
    name="arcface",
    points=(
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ),
)
"""insightface's five-point template on 112x112 (Deng et al. 2019, released code)."""


def arcface_template(side: int) -> Template:
    """ArcFace's template scaled to a chip of another side, in pixels."""
    if side == ARCFACE_SIZE:
        return ARCFACE
    scale = side / ARCFACE_SIZE
    points = [(x * scale, y * scale) for x, y in ARCFACE.points]
    return Template.model_validate({"name": f"arcface-{side}", "points": points})
