"""A loss of another package: CosFace with a margin of its own options."""

from pydantic import BaseModel

from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES
from facerec.training.losses.margins import CombinedMargin


class ToyOptions(BaseModel, extra="forbid"):
    margin: float = 0.2


@LOSSES.register("toy", help="A toy.", options=ToyOptions)
def toy(section: TrainSection, options: ToyOptions) -> CombinedMargin:
    return CombinedMargin(m3=options.margin)
