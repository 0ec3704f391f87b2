"""How the cost of a step grows: with classes, images per class, width and resolution; and the real side's throughput.

    python benchmarks/growth.py                        # writes results/studies/cost/growth.json
    python benchmarks/growth.py --device cuda          # writes results/studies/cost/growth-cuda.json
    python benchmarks/growth.py --quick                # a look at two points; writes to _runs/studies/cost/

A ConvNet-3; one quantity changes, the others stay at 10 classes (one image each), the fifth batch, width 128 and
32 × 32 pixels. All points of a quantity are timed interleaved. Exponents p of t = c·xᵖ are least squares of the medians
on log-log axes, with the standard error of the slope. Throughput is images a second through `real_statistics`, and
through the network alone. About two minutes on two quiet CPU cores.

Chapter: "Appendix: what a step costs".
"""

import math
import sys
import time
from dataclasses import asdict, replace
from functools import partial

import torch
from step_cost import Case, Steps, options
from timing import guarded, ratio, summary

from unidd.bench.records import provenance
from unidd.core.statistics import real_statistics
from unidd.files import save_json
from unidd.networks.models import tapped_layers

BASE = Case(depth=3)
KINDS = ("plain", "ours", "straightforward")
QUANTITIES = {  # in words, the points, and the case of a point
    "classes": ("classes, one image each", (10, 20, 50, 100), lambda x: replace(BASE, classes=x, batch=x)),
    "ipc": ("images per class so far", (1, 2, 5, 10, 50), lambda x: replace(BASE, b=x)),
    "width": ("channels of a layer", (32, 64, 128, 256), lambda x: replace(BASE, width=x)),
    "resolution": ("pixels of a side", (16, 32, 64, 128), lambda x: replace(BASE, size=x)),
}


def exponent(x: list[float], y: list[float]) -> dict:
    """Slope of log y over log x, its standard error, and the number of points; no error for two points.

    >>> exponent([1, 2, 4], [3, 12, 48])
    {'exponent': 2.0, 'error': 0.0, 'n': 3}
    """
    across, up = ([math.log(v) for v in values] for values in (x, y))
    n, mean_across, mean_up = len(x), sum(across) / len(x), sum(up) / len(x)
    square = sum((a - mean_across) ** 2 for a in across)
    slope = sum((a - mean_across) * (u - mean_up) for a, u in zip(across, up, strict=True)) / square
    left = sum((u - mean_up - slope * (a - mean_across)) ** 2 for a, u in zip(across, up, strict=True))
    error = round(math.sqrt(left / (n - 2) / square), 4) if n > 2 else None
    return {"exponent": round(slope, 4), "error": error, "n": n}


def grow(name: str, device: torch.device, steps: int, quick: bool) -> dict:
    words, points, case = QUANTITIES[name]
    points = points[:2] if quick else points
    cases = {x: Steps(case(x), device) for x in points}
    kinds = {f"{kind} {x}": getattr(cases[x], kind) for x in points for kind in KINDS}
    timing = guarded(kinds, steps, device, reference=f"plain {points[-1]}", attempts=1 if quick else 2)
    record = {"quantity": name, "words": words, "points": list(points)} | timing.record()
    record["seconds"] = {kind: [summary(timing.seconds[f"{kind} {x}"]) for x in points] for kind in KINDS}
    record["fits"] = {kind: exponent(points, [s["median"] for s in record["seconds"][kind]]) for kind in KINDS}
    return record


def throughput(case: Case, device: torch.device, steps: int) -> dict:
    """Images a second, in batches of 100."""
    teacher, batch = Steps(case, device).teacher, 100
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, case.size, case.size, generator=generator).to(device)
    labels = (torch.arange(batch) % case.classes).to(device)
    runs = {
        "network": torch.no_grad()(partial(teacher, images)),
        "statistics": partial(real_statistics, teacher, [(images, labels)], tapped_layers(teacher)),
    }
    timing = guarded(runs, steps, device, reference="network", attempts=2)
    rates = {name: summary([batch / s for s in times]) for name, times in timing.seconds.items()}
    cost = ratio(timing.seconds["statistics"], timing.seconds["network"])
    return {"network": case.network, "batch": batch} | timing.record() | {"images per second": rates, "cost": cost}


def table(record: dict) -> str:
    lines = []
    for found in record["growth"]:
        lines.append(f"{found['words']} ({', '.join(map(str, found['points']))}; n = {found['n']} each)")
        for kind, fit in found["fits"].items():
            times = ", ".join(f"{1e3 * s['median']:.4g}" for s in found["seconds"][kind])
            error = "" if fit["error"] is None else f" ± {fit['error']:.2f}"
            lines.append(f"  {kind:<16} {times} ms; exponent {fit['exponent']:.2f}{error}")
    for found in record["throughput"]:
        rate, alone = (found["images per second"][k]["median"] for k in ("statistics", "network"))
        lines.append(
            f"statistics, {found['network']}: {rate:.4g} images/s (network alone {alone:.4g}), n = {found['n']}"
        )
    return "\n".join(lines)


def main() -> None:
    chosen, device = options()
    start, steps = time.perf_counter(), 3 if chosen.quick else max(chosen.steps // 2, 5)
    quantities = list(QUANTITIES)[:1] if chosen.quick else QUANTITIES
    networks = (Case(),) if chosen.quick else (Case(), Case("resnet18"))
    growth = []
    for name in quantities:
        print(f"{QUANTITIES[name][0]} …", file=sys.stderr, flush=True)
        growth.append(grow(name, device, steps, chosen.quick))
    record = {
        "study": "growth",
        "base": asdict(BASE),
        "growth": growth,
        "throughput": [throughput(case, device, max(steps // 2, 3)) for case in networks],
    }
    record |= {"seconds": round(time.perf_counter() - start, 1), "provenance": provenance(device)}
    save_json(record, chosen.target / ("growth.json" if device.type == "cpu" else f"growth-{device.type}.json"))
    print(table(record))


if __name__ == "__main__":
    main()
