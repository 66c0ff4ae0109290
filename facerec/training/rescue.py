"""A model from a checkpoint of any run, without its data."""

from __future__ import annotations

from pathlib import Path

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.profile.loading import Profile
from facerec.training.checkpoint import newest_checkpoint, read_tensors
from facerec.training.network import create_backbone
from facerec.training.run_folder import PROFILE, read_name, write_artefact


def write_model_of_run(place: Path, target: Path) -> tuple[ModelCard, Path]:
    """Write the network of a checkpoint as a model without thresholds.

    The moving average is taken where the run keeps one.

    Args:
        place: a run's folder, whose newest checkpoint is taken, or a checkpoint's.
        target: the safetensors file to write.

    Returns:
        Its card, and the checkpoint.

    Raises:
        MissingError: there is no checkpoint, or its run cannot be read.
        UsageError: the target cannot be written.
    """
    checkpoint = newest_checkpoint(place)
    folder = checkpoint.resolve().parent.parent
    if not (folder / PROFILE).is_file():
        raise MissingError(f"{folder}: holds no {PROFILE}, which names the network")
    recipe = Profile.load(str(folder / PROFILE)).train
    backbone, card = create_backbone(recipe, read_name(folder) or folder.name)
    state = read_tensors(checkpoint, "average/module." if recipe.ema else "backbone/")
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise MissingError(f"{checkpoint}: is of another network: {reason}") from error
    step = int(read_tensors(checkpoint, "progress")[""][0])
    prose = f"{recipe.loss} (s {recipe.scale:g}), {step} steps, of a checkpoint"
    return write_artefact(target, backbone, card, prose), checkpoint
