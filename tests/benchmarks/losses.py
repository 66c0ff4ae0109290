"""How far each loss's gradient is from finite differences: `python -m tests.benchmarks.losses`.

The whole classifier in float64, central differences of 1e-6, over all features and centres.
"""

from __future__ import annotations

import torch

from facerec.training.losses.classifier import Classifier
from tests.training.test_losses import MARGINS

_STEP = 1e-6


def main() -> None:
    """Print one line a loss."""
    print(f"{'loss':16} largest difference   largest gradient")
    for name, create in MARGINS.items():
        torch.manual_seed(0)
        made = Classifier(5, 4, create(), scale=16).double().eval()
        with torch.no_grad():
            made.weight.normal_()
        # AdaFace lets no gradient through a feature's length: these are all cut to its longest.
        length = 400 if name == "adaface" else 20
        features = (torch.randn(6, 4, dtype=torch.double) * length).requires_grad_()
        labels = torch.arange(6) % 5
        made(features, labels).loss.backward()
        worst, largest = 0.0, 0.0
        for values in (features, made.weight):
            numeric = _differences(values, lambda: made(features, labels).loss)  # noqa: B023
            assert values.grad is not None
            worst = max(worst, float((numeric - values.grad).abs().max()))
            largest = max(largest, float(values.grad.abs().max()))
        print(f"{name:16} {worst:18.1e} {largest:18.3f}")


@torch.no_grad()
def _differences(values: torch.Tensor, loss) -> torch.Tensor:
    numeric = torch.zeros_like(values)
    for index in range(values.numel()):
        place = values.view(-1)
        kept = place[index].item()
        place[index] = kept + _STEP
        above = loss()
        place[index] = kept - _STEP
        below = loss()
        place[index] = kept
        numeric.view(-1)[index] = (above - below) / (2 * _STEP)
    return numeric


if __name__ == "__main__":
    main()
