"""LAMB, which torch does not have."""

import torch


class Lamb(torch.optim.Optimizer):
    """LAMB without weight decay: Adam, but each tensor's step is as long as the tensor, times the rate.

    Source: You et al., Large Batch Optimization for Deep Learning, ICLR 2020.
    """

    def __init__(self, params, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for x in group["params"]:
                state = self.state[x]
                if not state:
                    state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(x), exp_avg_sq=torch.zeros_like(x))
                state["step"] += 1
                means, (first, second) = (state["exp_avg"], state["exp_avg_sq"]), group["betas"]
                means[0].lerp_(x.grad, 1 - first)
                means[1].lerp_(x.grad.square(), 1 - second)
                time = float(state["step"])
                mean, square = means[0] / (1 - first**time), means[1] / (1 - second**time)
                update = mean / (square.sqrt() + group["eps"])
                sizes = torch.linalg.vector_norm(x), torch.linalg.vector_norm(update)
                ratio = torch.where((sizes[0] > 0) & (sizes[1] > 0), sizes[0] / sizes[1], 1.0)
                x -= group["lr"] * ratio * update
