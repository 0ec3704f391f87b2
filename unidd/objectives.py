"""The two terms of UniDD: ‖f(Ψ) g(Φ) − f(Ψ_s) g(Φ_s)‖_F with g = I ("filter") or g = Φ ("signal").

Norms, not squares, as in CFM. Source: UniDD (arXiv 2503.01212), §3; the chapter "Every method is a filter".
"""

import torch
from torch import Tensor

from .filters import Filter


def filter_loss(filter: Filter, ffc: Tensor, ffc_synthetic: Tensor) -> Tensor:
    """‖f(Ψ) − f(Ψ_s)‖_F for FFCs (d, d): a scalar."""
    return torch.linalg.vector_norm(filter.matrix(ffc) - filter.matrix(ffc_synthetic))


def signal_loss(filter: Filter, ffc: Tensor, flc: Tensor, ffc_synthetic: Tensor, flc_synthetic: Tensor) -> Tensor:
    """‖f(Ψ)Φ − f(Ψ_s)Φ_s‖_F for FFCs (d, d) and FLCs (d, k): a scalar."""
    return torch.linalg.vector_norm(filter.apply(ffc, flc) - filter.apply(ffc_synthetic, flc_synthetic))
