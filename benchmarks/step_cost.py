"""What a step of distillation costs, in plain passes: our step and a straightforward one, side by side.

    python benchmarks/step_cost.py                     # writes results/studies/cost/cpu.json
    python benchmarks/step_cost.py --device cuda       # writes results/studies/cost/cuda.json
    python benchmarks/step_cost.py --quick             # a look at one case; writes to _runs/studies/cost/

A plain pass is forward, cross-entropy and backward to the images. It, our step (`step_loss` and its gradient), the
straightforward step (`straightforward.py`), the floor, which is a plain pass with the bare products of a step in it,
and those products alone (`roofline.py`) run interleaved in one process; see `timing.py` for how. Networks are as
initialised and images random, neither of which changes the time.
About six minutes on two quiet CPU cores.

Chapter: "Appendix: what a step costs".
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from roofline import in_place, layers, products
from straightforward import straightforward_loss
from timing import guarded, ratio, wait
from torch import Tensor

from unidd.bench.records import provenance
from unidd.core.filters import Ridge
from unidd.core.matching import Matching, RealSide, step_loss
from unidd.core.statistics import real_statistics
from unidd.files import check_writable, save_json
from unidd.networks.models import ModelConfig, build, tapped_layers

ROOT = Path(__file__).resolve().parent.parent
BETA, ETA = 0.1, 0.1
REAL = 200  # images the real side is measured on


@dataclass(frozen=True)
class Case:
    """One step to measure.

    Args:
        b: number of the batch in the moving update: 1 has none before it.
        depth: of a ConvNet; None: as the size asks.
        half: "bfloat16" runs the network under autocast.
        fewer: the number of steps is divided by this, for steps that take seconds.
    """

    network: str = "convnet"
    batch: int = 10
    b: int = 5
    classes: int = 10
    size: int = 32
    width: int = 128
    depth: int | None = None
    half: str = ""
    fewer: int = 1


# What the step should cost (our step over a plain pass, at most) and save (straightforward over ours, at least).
BOUNDS = {
    ("cpu", "convnet", 10): {"ours / plain": 1.20, "straightforward / ours": 1.15},
    ("cpu", "convnet", 100): {"ours / plain": 1.05},
    ("cpu", "resnet18", 10): {"ours / plain": 1.35, "straightforward / ours": 1.6},
    ("cuda", "resnet18", 100): {"ours / plain": 1.30, "straightforward / ours": 3.0},
    ("cuda", "resnet18", 1000): {"ours / plain": 1.30, "straightforward / ours": 3.0},
}
CASES = {
    "cpu": [
        *(Case(batch=batch) for batch in (10, 100)),
        *(Case("resnet18", batch, fewer=batch // 33 or 1) for batch in (10, 100)),
        *(Case(network, b=1) for network in ("convnet", "resnet18")),
    ],
    "cuda": [
        *(Case(batch=batch) for batch in (10, 100)),
        *(Case("resnet18", batch) for batch in (10, 100, 1000)),
        *(Case("resnet18", batch, half="bfloat16") for batch in (100, 1000)),
    ],
}


class Steps:
    """The steps of one case: each returns the loss and its gradient in the images.

    `once` has the seconds of what is not part of a step: statistics of the real images and their eigenvectors, once
    a run, and the real side under a round's filter.
    """

    def __init__(self, case: Case, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        self.case, self.device = case, torch.device(device)
        self.half = getattr(torch, case.half) if case.half else None
        model = ModelConfig(case.network, case.width, case.depth)
        self.teacher = build(model, 3, case.size, case.classes).eval().requires_grad_(False).to(self.device, dtype)
        generator = torch.Generator().manual_seed(0)

        def draw(n: int) -> tuple[Tensor, Tensor]:
            images = torch.randn(n, 3, case.size, case.size, generator=generator).to(self.device, dtype)
            return images, (torch.arange(n) % case.classes).to(self.device)

        def moments(n: int) -> dict:
            batches = (draw(min(50, n - done)) for done in range(0, n, 50))
            return real_statistics(self.teacher, batches, tapped_layers(self.teacher))

        start, real = time.perf_counter(), moments(REAL)
        before, sides = time.perf_counter(), {layer: RealSide.of(m) for layer, m in real.items()}
        after = time.perf_counter()
        self.real, self.previous = (
            {layer: (m.ffc.to(dtype), m.flc.to(dtype)) for layer, m in found.items()}
            for found in (real, moments(case.batch))
        )
        filters, carried = dict.fromkeys(real, Ridge(BETA)), self.previous if case.b > 1 else None
        begun = time.perf_counter()
        self.matching = Matching.of(sides, filters, previous=carried, count=case.b, dtype=dtype)
        wait(self.device)
        once = {"statistics": before - start, "real side": after - before, "round": time.perf_counter() - begun}
        self.once = {what: round(seconds, 4) for what, seconds in once.items()}
        images, self.labels = draw(case.batch)
        self.images = images.requires_grad_()

    def plain(self) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            logits = self.teacher(self.images)
        loss = F.cross_entropy(logits.float() if self.half else logits, self.labels)
        return loss.detach(), torch.autograd.grad(loss, self.images)[0]

    def ours(self) -> tuple[Tensor, Tensor]:
        loss = step_loss(self.teacher, self.images, self.labels, self.matching, ETA, half=self.half)
        return loss.value, loss.gradient(self.images)

    def straightforward(self) -> tuple[Tensor, Tensor]:
        loss = straightforward_loss(
            self.teacher,
            self.images,
            self.labels,
            self.real,
            self.previous,
            b=self.case.b,
            beta=BETA,
            eta=ETA,
            half=self.half,
        )
        return loss.detach(), torch.autograd.grad(loss, self.images)[0]


def measure(case: Case, device: torch.device, steps: int, attempts: int = 3) -> dict:
    """One case: times, ratios, operations and rates; on CUDA also the memory at its fullest."""
    it = Steps(case, device)
    plain_operations, found = layers(it.teacher, case.batch, 3, case.size)
    matching = sum(layer.operations(case.b > 1) for layer in found)
    kinds: dict[str, Callable] = {"plain": it.plain, "ours": it.ours, "straightforward": it.straightforward}
    bare = {"products": products(found, case.b > 1, device)}
    if not case.half:
        bare["floor"] = in_place(it.teacher, it.images, it.labels, case.b > 1)
    timing = guarded(kinds | bare, max(steps // case.fewer, 3), device, attempts=attempts, seconds=steps / 10)
    t = timing.seconds
    record = asdict(case) | timing.record()
    record["ratios"] = {
        "ours / plain": ratio(t["ours"], t["plain"]),
        "straightforward / ours": ratio(t["straightforward"], t["ours"]),
        "straightforward / plain": ratio(t["straightforward"], t["plain"]),
    }
    if "floor" in t:
        record["ratios"]["floor / plain"] = ratio(t["floor"], t["plain"])
    record["bounds"] = BOUNDS.get((device.type, case.network, case.batch), {}) if case.b > 1 and not case.half else {}
    record["operations"] = {"plain": plain_operations, "products": matching}
    record["floor by count"] = round(1 + matching / plain_operations, 4)
    record["rates"] = {  # 10⁹ operations a second
        what: round(n / record["seconds"][what]["median"] / 1e9, 1) for what, n in record["operations"].items()
    }
    record["once"] = it.once
    if device.type == "cuda":
        record["memory"] = {what: _peak(step, device) for what, step in kinds.items()}
    return record


def _peak(step: Callable, device: torch.device) -> int:
    """Bytes, with those that weights, images and the real side take."""
    wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    wait(device)
    return torch.cuda.max_memory_allocated(device)


def table(record: dict) -> str:
    """The record for people. Floors are of ours / plain: bare products timed in place, and at the plain pass's rate."""
    head = ("network", "batch", "b", "n", "plain ms", "ours / plain", "bound")
    head += ("floor", "by count", "straightf. / ours", "bound", "straightf. / plain", "")
    lines = [head]
    for case in record["cases"]:
        ratios, bounds = case["ratios"], case["bounds"]
        cells = [case["network"] + (" " + case["half"] if case["half"] else ""), case["batch"], case["b"], case["n"]]
        cells.append(f"{1e3 * case['seconds']['plain']['median']:.4g}")
        for what in ("ours / plain", "straightforward / ours"):
            r = ratios[what]
            cells.append(f"{r['median']:.3f} [{r['low']:.3f}, {r['high']:.3f}]")
            cells.append(_verdict(what, r["median"], bounds.get(what)))
            if what == "ours / plain":
                floor = ratios.get("floor / plain")
                cells += [f"{floor['median']:.3f}" if floor else "–", f"{case['floor by count']:.3f}"]
        cells.append(f"{ratios['straightforward / plain']['median']:.3f}")
        cells.append("" if case["quiet"] else f"noisy: spread {case['spread']:.0%}, load {max(case['load'])}")
        lines.append(tuple(map(str, cells)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _verdict(what: str, value: float, bound: float | None) -> str:
    if bound is None:
        return "–"
    sign, met = ("≤", value <= bound) if what.endswith("plain") else ("≥", value >= bound)
    return f"{sign} {bound:.2f} {'met' if met else 'missed'}"


@dataclass(frozen=True)
class Options:
    """What a step of distillation costs.

    Args:
        device: "cpu" or "cuda".
        steps: timed steps of each kind, at least (ResNet-18 with 100 images on a CPU: a third).
        quick: three steps of the smallest case, into _runs/.
        folder: where the record goes; by default results/studies/cost.
    """

    device: str = "cpu"
    steps: int = 24
    quick: bool = False
    folder: Path | None = None

    @property
    def target(self) -> Path:
        return self.folder or ROOT / ("_runs" if self.quick else "results") / "studies" / "cost"

    def checked(self) -> torch.device:
        """The device.

        Raises:
            ValueError: there is no such device, or a number is out of range.
            OSError: the folder cannot be written.
        """
        if self.device not in CASES:
            raise ValueError(f"device must be one of {', '.join(CASES)}, not {self.device!r}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("there is no CUDA device here")
        if self.steps < 5:
            raise ValueError(f"steps must be at least 5, not {self.steps}")
        check_writable(self.target)
        return torch.device(self.device)


def options() -> tuple[Options, torch.device]:
    """From the command line; a bad option ends the program with one line."""
    found = tyro.cli(Options)
    try:
        return found, found.checked()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def main() -> None:
    chosen, device = options()
    cases, start = CASES[device.type][:1] if chosen.quick else CASES[device.type], time.perf_counter()
    settings = {"beta": BETA, "eta": ETA, "real": REAL, "steps": 3 if chosen.quick else chosen.steps}
    found = []
    for case in cases:
        print(f"{case.network}, {case.batch} images, b = {case.b} …", file=sys.stderr, flush=True)
        found.append(measure(case, device, settings["steps"], attempts=1 if chosen.quick else 3))
    where = provenance(device) | {"capability": torch.backends.cpu.get_cpu_capability()}
    if device.type == "cuda":  # convolutions in TF32 are much faster than products in float32
        where |= {
            "tf32": {"networks": torch.backends.cudnn.allow_tf32, "products": torch.backends.cuda.matmul.allow_tf32}
        }
    record = {"study": "step cost", **settings, "cases": found, "seconds": round(time.perf_counter() - start, 1)}
    save_json(record | {"provenance": where}, chosen.target / f"{device.type}.json")
    for kind in CASES:
        kept = chosen.target / f"{kind}.json"
        print(f"\n{kind}:" + ("\n" + table(json.loads(kept.read_text())) if kept.exists() else " not run"))


if __name__ == "__main__":
    main()
