"""How far is each band off when a method's own loss is near its minimum? On a network that stays.

    python benchmarks/near_minimum.py                    # writes results/studies/minimum/photos.json
    python benchmarks/near_minimum.py --seeds 0 --study.unrolled-steps 5 --out _runs/look.json    # a look

Methods that draw networks anew never come near the minimum of one loss. Here the network is fixed: an expert of the
repetition before its training, and after some epochs of it. Through it the same random real images descend on one loss
alone, over all training images and without augmentation:

    gradients     DC's, the angles between rows of the weights' gradients, class by class
    trajectory    MTT's: a student that starts at this network shall arrive where the expert is some epochs later; its
                  rate is learnt too
    means         DM's, squared distances of class means of the last feature map
    correlations  UniDD's, ‖Ψ − Ψ_S‖²/‖Ψ‖² + ‖Φ − Φ_S‖²/‖Φ‖² of the inputs of the second and third convolution and of
                  the head; the pixels themselves have fewer directions than bands

by Adam, whose rate falls to 0 on a cosine; pixels are free, as they are in the released code. Each time the loss that
is descended on has halved, what each band leaves unmatched is written down; at the end also that of a control, the
first images with the same changes, but of pixels in another order. Repetitions that are done are kept in
_runs/studies/minimum/parts. One thread, about 20 minutes a repetition.

Chapter: "Do the deep methods keep the promise?".
"""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
import tyro
from torch import Generator, Tensor
from torch.nn.utils import vector_to_parameters

from unidd.bench import audit
from unidd.bench.cell import budgeted
from unidd.bench.closure import code_hash
from unidd.bench.parts import kept
from unidd.bench.records import own, provenance
from unidd.bench.residuals import Probe, unmatched
from unidd.core.bands import KINDS, band_terms
from unidd.core.statistics import FeatureTap, correlations
from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import choose
from unidd.engine.run import Run
from unidd.files import atomic
from unidd.methods._drawing import last_map
from unidd.methods._gradients import distance, weight_gradients
from unidd.methods._unrolling import unrolled
from unidd.methods.mtt import MTT
from unidd.networks.models import build
from unidd.networks.training import accuracy
from unidd.networks.trajectories import Experts

LEAST = 1e-4  # of a loss at the start, below which its halves are not written down
PATH = Path(__file__).resolve().parent.parent / "results" / "studies" / "minimum" / "photos.json"

# of network input (n, C, H, W) and the logarithm of a rate: a loss and its gradients in both
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
Plain = Callable[[Tensor], Tensor]  # of network input alone, differentiable


@dataclass(frozen=True)
class Study:
    """What is measured.

    Args:
        dataset, ipc, budget: what the images are of, how many, and which networks and experts see them.
        epochs: of the networks' training.
        bands: of each layer.
        steps: of a descent on means and correlations; on gradients twice as many.
        unrolled_steps: of one on a trajectory, since each is a student's whole training.
        lr: Adam's rate at first, on normalised pixels; five times as large on the logarithm of the trajectory's rate.
    """

    dataset: str = "photos"
    ipc: int = 10
    budget: str = "embedded"
    epochs: tuple[int, ...] = (0, 10)
    bands: int = 4
    steps: int = 300
    unrolled_steps: int = 60
    lr: float = 0.02

    def steps_on(self, loss: str) -> int:
        return {"trajectory": self.unrolled_steps, "gradients": 2 * self.steps}.get(loss, self.steps)


@dataclass(frozen=True)
class Place:
    """A fixed network, and what images are asked for through it.

    Attributes:
        probe: the network and its real side.
        experts, epoch: the first of these it is, after that many epochs.
        method: MTT, at the study's budget.
        labels: of the images (n,).
    """

    probe: Probe
    experts: Experts
    epoch: int
    method: MTT
    labels: Tensor

    @property
    def dtype(self) -> torch.dtype:
        return next(self.probe.model.parameters()).dtype

    def losses(self) -> dict[str, Loss]:
        """Return each of the losses; what they need of the real images is worked out now."""
        data = self.probe.data
        images = [data.train.images[data.train.labels == k] for k in range(data.classes)]
        real = [data.normalise(of_class).to(self.dtype) for of_class in images]
        plain = {"gradients": self.gradients(real), "means": self.means(real), "correlations": self.correlations}
        return {"trajectory": self.trajectory(), **{name: partial(_differentiated, of) for name, of in plain.items()}}

    def gradients(self, real: list[Tensor]) -> Plain:
        network = copy.deepcopy(self.probe.model).requires_grad_()
        goals = [weight_gradients(network, images, k) for k, images in enumerate(real)]

        def loss(x: Tensor) -> Tensor:
            found = [weight_gradients(network, x[self.labels == k], k, graph=True) for k in range(len(goals))]
            return torch.stack([distance(*pair) for pair in zip(goals, found, strict=True)]).sum()

        return loss

    def means(self, real: list[Tensor]) -> Plain:
        network = self.probe.model
        with torch.no_grad():
            goals = torch.stack([last_map(network, images).mean(0) for images in real])

        def loss(x: Tensor) -> Tensor:
            maps = last_map(network, x)
            return (torch.stack([maps[self.labels == k].mean(0) for k in range(len(goals))]) - goals).square().sum()

        return loss

    def correlations(self, x: Tensor) -> Tensor:
        one_hot, terms = F.one_hot(self.labels, self.probe.data.classes).double(), []
        with FeatureTap(self.probe.model, list(self.probe.bands)) as tap:
            self.probe.model(x)
        for layer, real in self.probe.sides.items():
            ffc, flc = correlations(tap.features[layer].double(), one_hot)
            terms += [(a - b).square().sum() / a.square().sum() for a, b in ((real.ffc, ffc), (real.flc, flc))]
        return torch.stack(terms).sum()

    def trajectory(self) -> Loss:
        ends = (self.epoch, self.epoch + self.method.expert_epochs)
        start, goal = (self.experts.parameters(0, epoch).to(self.dtype) for epoch in ends)

        def step(theta: Tensor, x: Tensor) -> Tensor:
            return F.cross_entropy(self.experts.outputs(theta, x), self.labels)

        def loss(x: Tensor, log_rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            rate = log_rate.detach().exp()
            found, of_input, of_rate = unrolled([step] * self.method.syn_steps, start, goal, x, rate)
            return found, of_input, of_rate * rate

        return loss


def _differentiated(loss: Plain, x: Tensor, log_rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    here = x.detach().requires_grad_()
    value = loss(here)
    return value.detach(), torch.autograd.grad(value, here)[0], torch.zeros_like(log_rate)


def left(place: Place, x: Tensor) -> dict[str, Any]:
    """Return what network input (n, C, H, W) leaves unmatched: layer → "residual" or "term" → kind → a number a band.

    The residual e is of the power along each direction alone, see `unidd.bench.residuals.unmatched`; the term is the
    matching loss of a band, see `unidd.core.bands.band_terms`.
    """
    probe, found = place.probe, {}
    for layer, side in probe.seen(probe.data.denormalise(x.detach()), place.labels).items():
        bands, real = probe.bands[layer], probe.sides[layer]
        terms = dict(zip(KINDS, band_terms(bands, real, side), strict=True))
        found[layer] = {"residual": unmatched(bands, real, side), "term": terms}
    return found


def shuffled(start: Tensor, end: Tensor) -> Tensor:
    """Return images (n, C, H, W) to which the same changes were made, but of each image's pixels in one other order."""
    order = torch.randperm(start[0, 0].numel(), generator=Generator().manual_seed(0))
    return start + (end - start).flatten(2)[:, :, order].view_as(start)


def descended(place: Place, losses: dict[str, Loss], on: str, start: Tensor, study: Study) -> dict[str, Any]:
    """Descend on one loss from network input (n, C, H, W), which is left as it is, and return the path and its end.

    Returns:
        "path": at the start, wherever the loss has halved again, and at the end: "step", "loss" over that of the start,
        and what is "left"; "shuffled": what the control leaves; "moved": the change's length over that of the images;
        "slope": the gradient's length at the end over that at the start; "before", "after": the losses by name;
        "rate": the trajectory's, as it is learnt.
    """
    x, log_rate = start.clone(), torch.tensor(math.log(place.method.lr_teacher))
    before = {name: float(loss(x, log_rate)[0]) for name, loss in losses.items()}
    path, slopes, steps = [], [], study.steps_on(on)
    adam = torch.optim.Adam([{"params": [x]}, {"params": [log_rate], "lr": 5 * study.lr}], study.lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, steps))
    for step in range(steps + 1):
        loss, x.grad, log_rate.grad = losses[on](x, log_rate)
        relative = float(loss) / before[on]
        slopes.append(float(x.grad.norm()))
        if not math.isfinite(relative):
            raise ValueError(f"{on}: the loss is no longer finite after {step} steps: lower lr")
        if not path or step == steps or LEAST < relative <= path[-1]["loss"] / 2:
            path.append({"step": step, "loss": relative, "left": left(place, x)})
        if step < steps:
            adam.step()
            falling.step()
    after = {name: float(loss(x, log_rate)[0]) for name, loss in losses.items()}
    control = {"shuffled": left(place, shuffled(start, x)), "moved": float((x - start).norm() / start.norm())}
    ends = {"slope": slopes[-1] / slopes[0], "before": before, "after": after, "rate": math.exp(float(log_rate))}
    return {"path": path, **control, **ends}


def experts_of(data: ImageData, study: Study, seed: int) -> Experts:
    """Return the one expert of a seed, trained as far as it is asked for; its images are not augmented."""
    method = _trajectories(study)
    experts = method.experts_of(data, Run(study.ipc, seed))
    experts.train(max(study.epochs) + method.expert_epochs)
    return experts


def _trajectories(study: Study) -> MTT:
    return cast(MTT, budgeted(MTT, study.budget, experts=1, strategy="none"))


def place_of(experts: Experts, epoch: int, labels: Tensor, study: Study) -> Place:
    """Return the expert after some epochs, for images with these labels."""
    data = experts.data
    network = build(experts.config.model, data.channels, data.size, data.classes)
    vector_to_parameters(experts.parameters(0, epoch), network.parameters())
    probe = Probe.of(network.eval().requires_grad_(False), data, study.bands)
    return Place(probe, experts, epoch, _trajectories(study), labels)


def repetition(seed: int, study: Study, data: ImageData) -> list[dict[str, Any]]:
    """Return a row for each network and loss, of one seed's experts and images."""
    rows: list[dict[str, Any]] = []
    experts, numbers = experts_of(data, study, seed), choose(data, study.ipc, seed)
    x, labels = data.normalise(data.train.images[numbers]), data.train.labels[numbers]
    for epoch in study.epochs:
        place = place_of(experts, epoch, labels, study)
        losses, right = place.losses(), accuracy(place.probe.model, data)
        for name in losses:
            began = time.perf_counter()
            found = descended(place, losses, name, x, study)
            seconds = round(time.perf_counter() - began, 1)
            about = {"seed": seed, "epochs": epoch, "accuracy": right, "on": name}
            rows.append({**about, **found, "seconds": seconds, "provenance": provenance(data.device)})
            print(
                f"seed {seed}, {epoch} epochs, {name}: {found['path'][-1]['loss']:.3g} in {seconds:.0f} s", flush=True
            )
    return rows


def rows_of(seed: int, study: Study, data: ImageData) -> list[dict[str, Any]]:
    """Return the rows of a seed, from its part if there is one."""
    path = own() / "studies" / "minimum" / "parts" / f"{data.name}-{study.budget}-{seed}.json"
    depends = {**asdict(study), "seed": seed, "data": data.fingerprint, "code": code_hash(Path(__file__).stem)}
    return kept(path, depends, lambda: {"rows": audit.plain(repetition(seed, study, data), digits=4)})["rows"]


@dataclass(frozen=True)
class Asked:
    """What is to be done.

    Args:
        seeds: each another repetition, with experts and images of its own.
        study: what is measured.
        out: file of the record.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    study: Study = field(default_factory=Study)
    out: Path = PATH


def main(asked: Asked) -> Path:
    """Do the repetitions that are still to be done, and write the record of all of them."""
    data = load(asked.study.dataset)
    rows = [row for seed in asked.seeds for row in rows_of(seed, asked.study, data)]
    about = {"study": "minimum", "settings": asdict(asked.study), "seeds": list(asked.seeds)}
    with atomic(asked.out) as temporary:
        temporary.write_text(json.dumps({**about, "rows": rows}) + "\n")
    return asked.out


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(main(tyro.cli(Asked)))
