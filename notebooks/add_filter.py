# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # How to add a filter
#
# A filter is a function $f(\lambda)$ of the eigenvalues of the {term}`FFC`. From that function alone follow the matrix
# $f(\Psi)$, its product with a signal, and the derivative of both: nothing else has to be written.
#
# ## From a response

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import torch

from unidd.core.filters import Custom, Filter, Linear, Ridge

heat = Custom(lambda eigenvalues: torch.exp(-eigenvalues / 0.1))
lam = torch.tensor([0.0, 0.05, 0.1, 1.0])
heat.response(lam)

# %% [markdown]
# The response is made of torch's operations, so its derivative is known. That of the matrix has the divided differences
#
# $$ f[\lambda_i, \lambda_j] = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j}, \qquad
#    f[\lambda_i, \lambda_i] = f'(\lambda_i), $$
#
# in the basis of eigenvectors. Where two eigenvalues are nearly the same their difference is mostly rounding; there the
# mean of $f'$ between them is taken, which has none. Here all eigenvalues are one, and the derivative is right:

# %%
psi = torch.eye(3).double().requires_grad_()
direction = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()
(gradient,) = torch.autograd.grad((heat.matrix(psi) * direction).sum(), psi)
slope = -torch.exp(torch.tensor(-10.0)).double() / 0.1  # f'(1)
assert torch.allclose(gradient, slope * (direction + direction.T) / 2)
gradient

# %% [markdown]
# ## From other filters
#
# `f * g` is one filter after another, `c * f` the same with another scale.

# %%
band = Linear() * Ridge(0.1)  # λ/(λ + 0.1): low-pass, but flat above 0.1
band.response(lam), (0.1 * Ridge(0.1)).response(lam)

# %% [markdown]
# ## As a class
#
# A class with a name is worth it where there are parameters to check, or a form that is cheaper than an
# eigendecomposition: `apply` for a solve or a recurrence, `distances` for a derivative in closed form, as ridge has.
# Each has a general default, and the engine asks for no more.

# %%
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Heat(Filter):
    """f(λ) = exp(−λ/τ): what a time 1/τ of diffusion leaves.

    Args:
        scale: τ > 0, in the units of λ.
    """

    tau: float

    def __post_init__(self):
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau must be a finite number above 0, not {self.tau}")

    def response(self, eigenvalues: torch.Tensor) -> torch.Tensor:
        return torch.exp(-eigenvalues / self.tau)


assert torch.equal(Heat(0.1).response(lam), heat.response(lam))

# %% [markdown]
# ## In a distillation
#
# A method says which filter a layer gets in a round. To try another one, change that alone:

# %%
import unidd
from unidd.engine.run import Run
from unidd.methods.cfm import HFM


@dataclass(frozen=True)
class Diffusing(HFM):
    """Matching through the heat filter, τ the mean eigenvalue of the layer."""

    def layer_filter(self, b, rounds, real):
        return Heat(float(real.eigenvalues.mean()))


data = unidd.load("digits")
made = Diffusing(steps=50).distill(data, unidd.teach(data, progress=False), Run(ipc=1))
{name: round(value, 2) for name, value in made.history[0].items()}

# %% [markdown]
# What a filter must keep is tested in `tests/core/test_filters.py`: the response elementwise, the matrix against an
# eigendecomposition in float64, the derivative against finite differences, dead channels, dtype and batches.
