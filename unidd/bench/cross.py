"""Students of several architectures on one set: does it teach others than the one it was made with?"""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..networks.evaluation import check_fits
from ..networks.models import ModelConfig
from ..networks.training import Teacher
from .cell import (
    architecture_of,
    as_made,
    check_model,
    check_seeds,
    evaluate,
    protocol_needs_teacher,
    set_record,
    settled,
    student_on,
    teacher_of,
)
from .records import Record


def cross(
    synthetic: SyntheticSet,
    data: ImageData,
    models: Sequence[str],
    *,
    regimes: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    budget: str = "embedded",
    protocol: str = "unidd",
    teacher: Teacher | None = None,
    **options: Any,
) -> dict[str, dict[str, list[float]]]:
    """Return the test accuracy in % of students of each architecture: {model: {label regime: one a seed}}.

    Args:
        models: names, as of `ModelConfig.named`: "convnet", "convnet-instance", "resnet18", "vgg11-small",
            "mobilenet-small", "vit-small", or any torchvision model; all are tried before the first student is trained.
        teacher: of all of them; None: that of the set, or else one of the first architecture.
        regimes, seeds, budget, protocol, options: see `unidd.evaluate`.
    Raises:
        ValueError: there is no such model, one is named twice, or what `unidd.evaluate` refuses.
    """
    data = as_made(synthetic, data)
    check_fits(synthetic, data)
    check_seeds(seeds)
    check_models(data, models, budget)
    regimes, first = settled(protocol, regimes, models[0])
    for model in models:
        student_on(synthetic, data, model, budget, protocol)
    if teacher is None and protocol_needs_teacher(protocol, synthetic, regimes):
        teacher = teacher_of(synthetic, data, architecture_of(synthetic) or first, budget)
    task: dict[str, Any] = {"regimes": regimes, "seeds": seeds, "budget": budget, "protocol": protocol}
    task |= {"teacher": teacher, **options}
    return {model: evaluate(synthetic, data, model=model, **task) for model in models}


def check_models(data: ImageData, models: Sequence[str], budget: str) -> None:
    """Raise a ValueError unless they are different models, at least one, and each fits the images."""
    if isinstance(models, str) or not models or len(set(models)) < len(models):
        raise ValueError(f"models must be a list of different architectures, not {models!r}")
    for model in models:
        check_model(data, model, budget)


def made_with(synthetic: SyntheticSet) -> str:
    """Return in words which networks a set was made with, as far as its card says."""
    config = synthetic.config
    if built := synthetic.teacher.get("architecture"):
        return str(ModelConfig(**built))
    if "net_width" in config and "norm" in config:
        return f"ConvNets of width {config['net_width']}, {config['norm']} norm, without a teacher"
    return "networks that its card does not name" if synthetic.config.get("import") else "no network"


def matrix(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Return accuracies as lines of text: a row an architecture, a column a label regime, mean ± std over the seeds.

    >>> print(matrix({"convnet": {"hard": [50.0, 52.0]}, "resnet18": {"hard": [40.0, 40.0]}}))
    model            hard
    convnet    51.0 ± 1.4
    resnet18   40.0 ± 0.0
    """
    columns = list(dict.fromkeys(name for row in found.values() for name in row))
    cells = [["model", *columns], *([model, *(_spread(row[name]) for name in columns)] for model, row in found.items())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        [text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=True))]
        for row in cells
    ]
    return "\n".join("   ".join(line).rstrip() for line in lines)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def records(
    synthetic: SyntheticSet,
    data: ImageData,
    name: str,
    found: Mapping[str, dict[str, list[float]]],
    budget: str,
    seeds: Sequence[int],
    teacher: dict,
    protocol: str = "unidd",
) -> dict[str, Record]:
    """Return a record for each architecture: {model: record}, as of `set_record`.

    Args:
        found: from `cross`.
        teacher: its card.
    """
    return {
        model: set_record(synthetic, data, name, model, budget, seeds, accuracy, teacher, protocol)
        for model, accuracy in found.items()
    }
