"""The step of CFM written down the plain way, as the yardstick of `step_cost.py`: what the algorithm costs untuned.

It does at every step what the published description says and no more: both sides of every layer are solved with an LU
factorisation, the real one too although it never changes, and autograd differentiates through all of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidd.core.matching import Statistics
from unidd.core.statistics import FeatureTap


def straightforward_loss(
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor,
    real: Statistics,
    previous: Statistics,
    *,
    b: int,
    beta: float,
    eta: float,
    half: torch.dtype | None = None,
) -> Tensor:
    """Classification + η Σ_layers (filter + signal), with the ridge filter and the signal "mean"; with a graph.

    Args:
        teacher: in eval mode.
        images, labels: (B, C, H, W) and (B,).
        real: layer → FFC (d, d) and channel mean (d, 1) of the real images.
        previous: the same of the synthetic images after b − 1 batches; not used at b = 1.
        b: number of the batch in the moving update, from 1.
        half: of the network under autocast.
    """
    autocast = torch.autocast(images.device.type, half, enabled=half is not None)
    with FeatureTap(teacher, list(real)) as tap, autocast:
        logits = teacher(images)
    loss = F.cross_entropy(logits.float() if half else logits, labels)
    for name, (real_ffc, real_mean) in real.items():
        x = tap.features[name].to(real_ffc.dtype)
        x = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        mean = x.mean(0, keepdim=True)
        ffc, flc = (x - mean).T @ (x - mean) / len(x), mean.T
        if b > 1:
            ffc, flc = ((1 - 1 / b) * old + new / b for old, new in zip(previous[name], (ffc, flc), strict=True))
        ridge = beta * torch.eye(len(ffc), dtype=ffc.dtype, device=ffc.device)
        filter_gap = torch.linalg.inv(real_ffc + ridge) - torch.linalg.inv(ffc + ridge)
        signal_gap = torch.linalg.solve(real_ffc + ridge, real_mean) - torch.linalg.solve(ffc + ridge, flc)
        loss = loss + eta * (torch.norm(filter_gap) + torch.norm(signal_gap))
    return loss
