"""The step of curriculum frequency matching a second time: slow, obvious and in float64.

Nothing here imports `unidd`. Rows, images, classes and layers are plain loops, the ridge filter is an
explicit inverse, any other spectral function an explicit eigendecomposition, and the image gradient is
autograd's. Where this file and the package disagree, one of the two is wrong: settle it with the formulas of
the paper (arXiv 2503.01212) and the conventions in the docstrings below.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# ------------------------------------------------------------------------------------------ statistics


def rows_of(features: Tensor) -> list[Tensor]:
    """Every spatial position of every image, one vector of channels each: image, then height, then width."""
    images, _, height, width = features.shape
    return [features[i, :, h, w] for i in range(images) for h in range(height) for w in range(width)]


def covariance(features: Tensor) -> Tensor:
    """Ψ = Σ (x − x̄)(x − x̄)ᵀ / N over all positions of all images: centred, divided by the count N."""
    vectors = rows_of(features)
    mean = sum(vectors) / len(vectors)
    total = torch.zeros(len(mean), len(mean), dtype=features.dtype)
    for x in vectors:
        total = total + torch.outer(x - mean, x - mean)
    return total / len(vectors)


def flc(features: Tensor, targets: Tensor) -> Tensor:
    """Φ = Σ x tᵀ / N, not centred; each image's target is repeated over its positions."""
    images, channels, height, width = features.shape
    total = torch.zeros(channels, targets.shape[1], dtype=features.dtype)
    for i in range(images):
        for h in range(height):
            for w in range(width):
                total = total + torch.outer(features[i, :, h, w], targets[i])
    return total / (images * height * width)


def softmax(logits: Tensor) -> Tensor:
    """Row by row, by the definition (the test networks' logits are small)."""
    return torch.stack([torch.exp(z) / torch.exp(z).sum() for z in logits])


def signal(kind: str, labels: Tensor, logits: Tensor, classes: int) -> Tensor:
    """One target an image: `mean` a one, `class` the one-hot label, `mix` the softmax of the same logits."""
    if kind == "mean":
        return torch.ones(len(labels), 1, dtype=logits.dtype)
    if kind == "class":
        targets = torch.zeros(len(labels), classes, dtype=logits.dtype)
        for i, label in enumerate(labels.tolist()):
            targets[i, label] = 1.0
        return targets
    assert kind == "mix", kind
    return softmax(logits)


def emu(previous: Tensor | None, current: Tensor, b: int) -> Tensor:
    """(1 − 1/b) previous + (1/b) current, b counted from 1; at b = 1 there is nothing before."""
    if b == 1:
        return current
    return (1.0 - 1.0 / b) * previous + (1.0 / b) * current


# --------------------------------------------------------------------------------------------- filters


def spectral_function(response, ffc: Tensor) -> Tensor:
    """f(Ψ) = Σ_i f(λ_i) u_i u_iᵀ, one eigenvector after another; `response` maps a float to a float."""
    eigenvalues, basis = torch.linalg.eigh(ffc)
    total = torch.zeros_like(ffc)
    for i, eigenvalue in enumerate(eigenvalues.tolist()):
        total = total + response(eigenvalue) * torch.outer(basis[:, i], basis[:, i])
    return total


def filtered(kind: str, ffc: Tensor, beta: float) -> Tensor:
    """`ridge` (Ψ + βI)⁻¹ (HFM, CFM) or `linear` Ψ itself (LFM)."""
    if kind == "ridge":
        return torch.linalg.inv(ffc + beta * torch.eye(len(ffc), dtype=ffc.dtype))
    assert kind == "linear", kind
    return ffc


def norm(matrix: Tensor) -> Tensor:
    """Frobenius norm; 0 with gradient 0 for the zero matrix."""
    total = (matrix * matrix).sum()
    return total if float(total.detach()) == 0 else torch.sqrt(total)


def filter_term(kind: str, ffc_real: Tensor, ffc_syn: Tensor, beta: float) -> Tensor:
    """‖f(Ψ) − f(Ψ_s)‖_F, not squared."""
    return norm(filtered(kind, ffc_real, beta) - filtered(kind, ffc_syn, beta))


def signal_term(kind: str, ffc_real: Tensor, flc_real: Tensor, ffc_syn: Tensor, flc_syn: Tensor, beta: float) -> Tensor:
    """‖f(Ψ)Φ − f(Ψ_s)Φ_s‖_F, not squared."""
    return norm(filtered(kind, ffc_real, beta) @ flc_real - filtered(kind, ffc_syn, beta) @ flc_syn)


def mean_eigenvalue(ffc: Tensor) -> float:
    eigenvalues = torch.linalg.eigvalsh(ffc).tolist()
    return sum(eigenvalues) / len(eigenvalues)


def cosine_beta(beta: float, b: int, rounds: int) -> float:
    """β_b = β (1 + cos(πb/B)) / 2 with b counted from 0."""
    return beta * (1.0 + math.cos(math.pi * b / rounds)) / 2.0


# ------------------------------------------------------------------------------------- teacher and step


def forward(teacher: nn.Sequential, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits, and by name the input of every convolution, of a plain chain of layers run by hand."""
    inputs, x = {}, images
    for name, layer in teacher.named_children():
        if isinstance(layer, nn.Conv2d):
            inputs[name] = x
        x = layer(x)
    return x, inputs


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−log p(y), averaged over the images."""
    total = 0.0
    for p, label in zip(softmax(logits), labels.tolist(), strict=True):
        total = total - torch.log(p[label])
    return total / len(labels)


Statistics = dict[str, tuple[Tensor, Tensor]]  # layer -> (Ψ, Φ)


def statistics(teacher: nn.Sequential, images: Tensor, labels: Tensor, kind: str, classes: int) -> Statistics:
    """(Ψ, Φ) of every convolution's input over one batch, which may be a whole data set."""
    logits, inputs = forward(teacher, images)
    targets = signal(kind, labels, logits, classes)
    return {name: (covariance(x), flc(x, targets)) for name, x in inputs.items()}


@dataclass
class Step:
    """One step: the loss, its three terms before weighting, and the gradient of the loss by the images."""

    loss: float
    classification: float
    filter: float
    signal: float
    gradient: Tensor
    statistics: Statistics  # after the EMU, without gradient


def step(
    teacher: nn.Sequential,
    images: Tensor,
    labels: Tensor,
    real: Statistics,
    previous: Statistics | None = None,
    *,
    b: int = 1,
    filter: str = "ridge",
    beta: float | dict[str, float] = 0.1,
    kind: str = "mean",
    eta: float = 0.1,
    classes: int = 10,
    normalised: bool = False,
) -> Step:
    """L = L_cls + η (L_filter + L_signal) and ∂L/∂images.

    `images` are what the teacher sees, after augmentation; `previous` holds the EMU after b − 1 batches;
    `filter="none"` leaves the classification term alone. `beta` may differ between layers; `normalised` divides
    the filter term by ‖f(Ψ)‖ and the signal term by √(‖f(Ψ)Φ‖² + tr f(Ψ)Ψf(Ψ)): no factor of f matters.
    """
    assert images.dtype == torch.float64
    assert not teacher.training
    images = images.detach().clone().requires_grad_(True)
    logits, inputs = forward(teacher, images)
    classification = cross_entropy(logits, labels)
    targets = signal(kind, labels, logits, classes)
    filter_sum = signal_sum = torch.zeros((), dtype=torch.float64)
    after = {}
    for name, x in inputs.items():
        before_ffc, before_flc = previous[name] if b > 1 else (None, None)
        ffc, phi = emu(before_ffc, covariance(x), b), emu(before_flc, flc(x, targets), b)
        after[name] = (ffc.detach(), phi.detach())
        if filter != "none":
            real_ffc, real_flc = real[name]
            layer_beta = beta[name] if isinstance(beta, dict) else beta
            by_filter = filter_term(filter, real_ffc, ffc, layer_beta)
            by_signal = signal_term(filter, real_ffc, real_flc, ffc, phi, layer_beta)
            if normalised:
                matrix = filtered(filter, real_ffc, layer_beta)
                spread = torch.trace(matrix @ real_ffc @ matrix)
                by_filter = by_filter / norm(matrix)
                by_signal = by_signal / torch.sqrt(norm(matrix @ real_flc) ** 2 + spread)
            filter_sum, signal_sum = filter_sum + by_filter, signal_sum + by_signal
    loss = classification + eta * (filter_sum + signal_sum)
    (gradient,) = torch.autograd.grad(loss, images)
    return Step(loss.item(), classification.item(), filter_sum.item(), signal_sum.item(), gradient, after)
