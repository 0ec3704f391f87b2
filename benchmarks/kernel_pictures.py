"""Is an eigendirection of a kernel's features still a picture? One JSON file over several seeds.

    python benchmarks/kernel_pictures.py                     # writes results/studies/kernels/photos.json

For 6×6 grey patches x of `photos` (means removed) and a feature map φ, an eigenvector u of the FFC of φ(x) is
a function h(x) = uᵀφ(x) of a patch; its nearest thing to a picture is the gradient ∇h(x). For each of the first 30
directions, largest eigenvalue first:

    one_picture: share of the gradients' energy, over patches, along their main direction; 1 if ∇h is one picture;
    roughness: Σ (differences of neighbouring pixels)² / Σ pixels² of the gradients.

A few seconds a seed on one CPU core. Chapter: "Beyond linear kernels".
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from sklearn.kernel_approximation import RBFSampler
from torch import Tensor

from unidd.bench.records import provenance
from unidd.core.spectra import spectrum
from unidd.core.statistics import covariance, rows
from unidd.data import datasets
from unidd.files import save_json

ROOT = Path(__file__).resolve().parent.parent
SIZE, PATCHES, PROBES, DIRECTIONS, FEATURES = 6, 3000, 300, 30, 1024
GAMMA = 1 / SIZE**2  # patches have unit variance


def patches(seed: int) -> Tensor:
    """Patches of the training images that are not nearly flat, float64 (PATCHES, 36), of unit variance."""
    data = datasets.load("photos")
    grey = data.normalise(data.train.images[seed::10]).double().mean(1, keepdim=True)
    found = rows(F.unfold(grey, SIZE, stride=SIZE))
    found = found - found.mean(1, keepdim=True)
    found = found[found.std(1) > 0.05]
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))[:PATCHES]
    return found[order] / found.std()


def polynomial(x: Tensor, gamma: float) -> Tensor:
    """φ with φ(x)ᵀφ(x') = (γ xᵀx' + 1)²: (n, d) to (n, 1 + d + d(d + 1)/2)."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    weight = torch.where(i == j, 1, 2).to(x).sqrt()
    return torch.cat([x.new_ones(len(x), 1), (2 * gamma) ** 0.5 * x, gamma * weight * x[:, i] * x[:, j]], 1)


def fourier(x: Tensor, sampler: RBFSampler) -> Tensor:
    """φ of a fitted RBFSampler, differentiable: (n, d) to (n, D)."""
    frequencies, phases = (torch.as_tensor(a).to(x) for a in (sampler.random_weights_, sampler.random_offset_))
    return (2 / len(phases)) ** 0.5 * torch.cos(x @ frequencies + phases)


def roughness(pictures: Tensor) -> float:
    """Energy of neighbouring pixels' differences over energy of pixels, of pictures (n, 36)."""
    pictures = pictures.reshape(-1, SIZE, SIZE)
    down, across = pictures.diff(dim=1).square().sum(), pictures.diff(dim=2).square().sum()
    return float((down + across) / pictures.square().sum())


def look(phi: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, list[float]]:
    """Roughness and share of one picture of the first eigendirections of φ(x)."""
    basis = spectrum(covariance(phi(x))).basis
    probes = x[:PROBES].clone().requires_grad_()
    mapped = phi(probes)
    found: dict[str, list[float]] = {"one_picture": [], "roughness": []}
    for i in range(DIRECTIONS):
        (gradients,) = torch.autograd.grad((mapped @ basis[:, i]).sum(), probes, retain_graph=True)
        energy = spectrum(gradients.T @ gradients).eigenvalues
        found["one_picture"].append(round(float(energy[0] / energy.sum()), 4))
        found["roughness"].append(round(roughness(gradients), 4))
    return found


def run(seed: int) -> list[dict]:
    """One row a kernel."""
    x = patches(seed)
    sampler = RBFSampler(gamma=GAMMA, n_components=FEATURES, random_state=seed).fit(x.numpy())
    maps = {
        "linear": lambda x: x,
        "polynomial, degree 2": lambda x: polynomial(x, GAMMA),
        f"RBF, {FEATURES} Fourier features": lambda x: fourier(x, sampler),
    }
    return [{"kernel": name, "seed": seed, **look(phi, x)} for name, phi in maps.items()]


def main(seeds: tuple[int, ...] = (0, 1, 2, 3, 4), folder: Path = ROOT / "results" / "studies" / "kernels") -> None:
    """Measure for some seeds and write one JSON file.

    Args:
        seeds: each another choice of patches and of Fourier features.
        folder: where the file goes.
    """
    started = time.time()
    found = [row for seed in seeds for row in run(seed)]
    settings = {"size": SIZE, "patches": PATCHES, "probes": PROBES, "gamma": GAMMA, "features": FEATURES}
    about = {"study": "kernels", "dataset": "photos", "seeds": list(seeds), "settings": settings}
    about |= {"seconds": round(time.time() - started, 1), "provenance": provenance()}
    save_json({**about, "rows": found}, folder / "photos.json")
    print(f"{len(found)} rows, {about['seconds']} s")


if __name__ == "__main__":
    tyro.cli(main)
