"""Derivatives of where descent on synthetic images leads a student: through all steps at once, or step by step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]  # of the parameters (p,) and all of the network input (n, C, H, W): a scalar


def unrolled(
    losses: Sequence[Loss], start: Tensor, goal: Tensor, x: Tensor, rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of a student, its gradient in the network input, and in the rate, through the graph of all steps.

    Args:
        losses: of its steps.
        start, goal: parameters (p,).
        x: network input (n, C, H, W).
        rate: β, a scalar.
    """
    x, rate = x.detach().requires_grad_(), rate.clone().requires_grad_()
    theta = start.clone().requires_grad_()
    for loss in losses:
        (slope,) = torch.autograd.grad(loss(theta, x), theta, create_graph=True)
        theta = theta - rate * slope
    found = (theta - goal).square().sum() / (start - goal).square().sum()
    of_input, of_rate = torch.autograd.grad(found, (x, rate))
    return found.detach(), of_input, of_rate


def recomputed(
    losses: Sequence[Loss], start: Tensor, goal: Tensor, x: Tensor, rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `unrolled` does, with the graph of one step at a time; of each step its parameters alone are kept.

    With the adjoint λ_i = ∂L/∂θ_i and the Hessians of step i's loss l_i, which no one forms,

        λ_N = 2 (θ_N − θ*_{t+M}) / ‖θ*_t − θ*_{t+M}‖²,    λ_i = λ_{i+1} − β (∂²l_i/∂θ∂θ) λ_{i+1},
        ∂L/∂x = −β Σ_i (∂²l_i/∂x∂θ) λ_{i+1},    ∂L/∂β = −Σ_i λ_{i+1}ᵀ ∂l_i/∂θ.
    """
    x, path = x.detach().requires_grad_(), [start]
    for loss in losses:
        theta = path[-1].clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(theta, x.detach()), theta)
        path.append(path[-1] - rate * slope)
    gap, size = path.pop() - goal, (start - goal).square().sum()
    adjoint, of_input, of_rate = 2 * gap / size, torch.zeros_like(x), torch.zeros_like(rate)
    for loss, before in zip(reversed(losses), reversed(path), strict=True):
        theta = before.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(theta, x), theta, create_graph=True)
        in_input, in_theta = torch.autograd.grad(slope, (x, theta), adjoint)
        of_input -= rate * in_input
        of_rate -= adjoint @ slope.detach()
        adjoint = adjoint - rate * in_theta
    return gap.square().sum() / size, of_input.detach(), of_rate
