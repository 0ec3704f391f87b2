"""The step of CFM written down the plain way, as the yardstick of `step_cost.py`: what the algorithm costs untuned.

It does at every step what the published description says and no more: both sides of every layer are solved with an LU
factorisation, the real one too although it never changes, and autograd differentiates through all of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidd.models import tapped_layers


class Straightforward:
    """Loss of one step: classification + η Σ_layers (filter + signal), ridge filter, signal "mean".

    Args:
        real: layer → real FFC (d, d) and channel mean (d, 1).
    """

    def __init__(self, teacher: nn.Module, real: dict[str, tuple[Tensor, Tensor]], beta: float, eta: float = 0.1):
        self.teacher, self.real, self.beta, self.eta = teacher, real, beta, eta
        self.features: dict[str, Tensor] = {}
        known = dict(teacher.named_modules())
        self._handles = [
            known[name].register_forward_pre_hook(lambda _, x, name=name: self.features.__setitem__(name, x[0]))
            for name in tapped_layers(teacher)
        ]

    def __call__(self, images: Tensor, labels: Tensor, previous: dict, b: int) -> Tensor:
        loss = F.cross_entropy(self.teacher(images), labels)
        for name, (real_ffc, real_mean) in self.real.items():
            x = self.features[name].permute(0, 2, 3, 1).reshape(-1, self.features[name].shape[1])
            mean = x.mean(0, keepdim=True)
            ffc = (x - mean).T @ (x - mean) / len(x)
            flc = mean.T
            if b > 1:
                before, signal_before = previous[name]
                ffc, flc = (1 - 1 / b) * before + ffc / b, (1 - 1 / b) * signal_before + flc / b
            identity = torch.eye(len(ffc), device=ffc.device)
            real_inverse = torch.linalg.inv(real_ffc + self.beta * identity)
            inverse = torch.linalg.inv(ffc + self.beta * identity)
            signal_gap = torch.linalg.solve(real_ffc + self.beta * identity, real_mean) - torch.linalg.solve(
                ffc + self.beta * identity, flc
            )
            loss = loss + self.eta * (torch.norm(real_inverse - inverse) + torch.norm(signal_gap))
        return loss

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
