"""Trajectory matching: MTT, and TESLA, which has the same gradient in memory that does not grow with the steps.

Experts are networks trained on the real images, see `unidd.networks.trajectories`. A student starts where an expert is
after t epochs, θ*_t, and takes N steps of plain descent on the synthetic images; it shall come to where the expert is M
epochs later:

    θ_{i+1} = θ_i − β ∇CE(A_i(x_i), θ_i),  θ_0 = θ*_t,    L = ‖θ_N − θ*_{t+M}‖² / ‖θ*_t − θ*_{t+M}‖²

for a batch x_i of the synthetic images and an augmentation A_i, which draws one operation and for each image parameters
of its own. L descends on the pixels and on the rate β, which is stored with the set. Images are normalised and not
whitened (ZCA), as they are in the published figures of CIFAR; and the set is that of the last step, where those figures
are the best of many looks at the test images. The presets cifar10-ipc1, cifar10-ipc10, cifar100-ipc1 and cifar100-ipc50
were found on whitened images.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..data.siamese import Siamese
from ..engine.run import Run
from ..networks.models import ModelConfig
from ..networks.training import Teacher
from ..networks.trajectories import ExpertConfig, Experts
from . import Count, NotNegative, Part, Positive, Whole
from ._drawing import Drawing
from ._trajectory import TrajectoryMatching
from ._unrolling import recomputed, unrolled


@dataclass(frozen=True)
class MTT(Drawing):
    """Trajectory matching: steps on few images shall lead a network to where epochs on all of them lead an expert.

    Args:
        batch: real images in a step of an expert's training.
        experts: how many; they are trained for max_start_epoch + expert_epochs − 1 epochs, once for all runs of a seed.
        shared: whether all seeds share the experts of seed 0, whose training takes longer than the descent. They are
            then no repetitions: their spread leaves out what depends on the experts.
        expert_lr: rate of the experts' training.
        max_start_epoch: T⁺; the epoch t that a student starts from is drawn from 0 … T⁺ − 1.
        expert_epochs: M, epochs of the expert between where the student starts and where it shall come.
        syn_steps: N, steps of the student.
        batch_syn: synthetic images of a student's step; 0 takes all.
        lr_teacher: the rate β at first.
        lr_lr: rate at which β is learnt, by SGD with momentum ½; 0 leaves it.
    """

    steps: Count = 5000
    lr: Positive = 100.0
    experts: Whole = 100
    shared: bool = False
    expert_lr: Positive = 0.01
    max_start_epoch: Whole = 20
    expert_epochs: Whole = 2
    syn_steps: Whole = 20
    batch_syn: Count = 0
    lr_teacher: Positive = 0.01
    lr_lr: NotNegative = 1e-5

    source: ClassVar[str] = "Cazenavette et al., Dataset Distillation by Matching Training Trajectories, CVPR 2022"
    acts_as: ClassVar[str] = "(1 − (1 − αλ)^t)/λ on the class signal, and (1 − αλ)^t, high-pass, as an upper bound"
    parallel: ClassVar[bool] = False
    presets_source: ClassVar[str] = (
        "DC-BENCH, methods/tm, as its authors have them from MTT's, found on whitened images but for cifar10-ipc50, "
        "cifar100-ipc10 and Tiny-ImageNet; ImageNet's subsets, of 128 pixels: MTT's readme"
    )
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar10-ipc1": {"syn_steps": 50, "max_start_epoch": 2, "lr_lr": 1e-7},
        "cifar10-ipc10": {"syn_steps": 30, "lr_teacher": 0.001},
        "cifar10-ipc50": {"syn_steps": 30, "max_start_epoch": 40, "lr": 1000.0, "lr_teacher": 0.001},
        "cifar100-ipc1": {"expert_epochs": 3, "lr": 1000.0},
        "cifar100-ipc10": {"lr": 1000.0},
        "cifar100-ipc50": {"syn_steps": 80, "max_start_epoch": 40, "lr": 1000.0, "batch_syn": 125},
        "tiny-imagenet-ipc1": {"syn_steps": 10, "max_start_epoch": 10, "lr": 1e4, "lr_lr": 1e-4},
        "tiny-imagenet-ipc10": {"max_start_epoch": 40, "lr": 1e4, "lr_lr": 1e-4, "batch_syn": 200},
        "tiny-imagenet-ipc50": {"max_start_epoch": 40, "lr": 1e4, "lr_lr": 1e-4, "batch_syn": 300},
        "imagenet-subset": {"max_start_epoch": 10, "lr": 1000.0, "lr_lr": 1e-6},
    }

    @property
    def epochs(self) -> int:
        """The epochs each expert is trained for, as many as are looked at."""
        return self.max_start_epoch + self.expert_epochs - 1 if self.steps else 0

    def view(self, images: Tensor, generator: Generator, real: bool = False) -> Tensor:
        return Siamese(self.strategy).draw(generator, len(images))(images)

    def experts_of(self, data: ImageData, run: Run) -> Experts:
        model = ModelConfig(self.architecture, self.net_width, norm=self.norm)
        config = ExpertConfig(model, self.expert_lr, self.batch, self.strategy)
        return Experts(data, config, self.experts, 0 if self.shared else run.seed)

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> TrajectoryMatching:
        experts = self.experts_of(data, run)
        experts.train(self.epochs, run.progress)
        return TrajectoryMatching(self, experts)

    def parts(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Part, ...]:
        experts = self.experts_of(data, run)
        epochs = experts.missing(self.epochs)
        steps = epochs * -(-len(data.train) // self.batch)
        return (Part("experts", steps, "steps", experts.trial, kept=epochs * experts.bytes),)

    def rehearsed(self, data: ImageData, run: Run) -> Self:
        least = replace(self, experts=1, max_start_epoch=1)
        least.experts_of(data, run).train(least.epochs)
        return least

    differentiate = staticmethod(unrolled)


@dataclass(frozen=True)
class TESLA(MTT):
    """Trajectory matching whose memory does not grow with the student's steps; its gradient is that of MTT.

    Labels are hard. On ImageNet the published ones are those of the network that the expert became, seen anew in every
    step.
    """

    source: ClassVar[str] = "Cui et al., Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory, ICML 2023"
    presets_source: ClassVar[str] = (
        f"{MTT.presets_source}; the last three: TESLA's readme, at half its lr, since the gradient of its code lacks a "
        "factor 2, and 10,000 steps, which its code takes unless told otherwise"
    )
    presets: ClassVar[dict[str, dict[str, Any]]] = MTT.presets | {
        "cifar10-ipc1-tesla": {"steps": 10_000, "syn_steps": 50, "max_start_epoch": 5, "lr": 500.0, "lr_lr": 1e-7},
        "cifar100-ipc50-tesla": MTT.presets["cifar100-ipc50"] | {"steps": 10_000, "lr": 500.0},
        "imagenet-ipc1": MTT.presets["tiny-imagenet-ipc1"]
        | {"steps": 10_000, "experts": 50, "expert_epochs": 3, "lr": 5e3, "batch_syn": 100},
    }

    differentiate = staticmethod(recomputed)
