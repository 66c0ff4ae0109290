"""Training: loop, losses, data, checkpoints, in-training evaluation."""
