"""How near is the time that `make plan SUITE=… DEVICE=h100` counts to what a GPU took?

    python benchmarks/count.py

What `benchmarks/gpu.py` timed is counted: passes and steps of ResNet-18, and a whole cell. The figures of the device,
in `unidd.bench.counted`, were chosen by these times, so this says how well so few can fit, and no more. The record
is results/studies/count/cuda.json.
"""

import json
from dataclasses import asdict

import hours
import torch
from hours import ROOT, forecast
from step_cost import Case, Steps
from torch import Tensor

from unidd.bench.counted import DEVICES, Counter, Device
from unidd.bench.records import provenance
from unidd.book.rounding import significant
from unidd.core.statistics import real_statistics
from unidd.files import save_json
from unidd.networks.models import ModelConfig, build, tapped_layers

STUDIES = ROOT / "results" / "studies"


def steps(timed: list[dict], device: Device) -> dict[str, tuple[float, float]]:
    """Return what each took and its count: a pass and back, and a step of CFM."""
    found = {}
    for case in timed:
        with Counter(device) as counter:
            made = Steps(Case(case["network"], case["batch"]), counter.device)
            for kind, what in (("plain", "to the pixels and back"), ("ours", "a step of CFM")):
                before = counter.seconds
                getattr(made, kind)()
                took = case["seconds"][kind]["median"]
                found[f"ResNet-18, {case['batch']:,} images, {what}"] = took, counter.seconds - before
    return found


def passes(timed: dict, device: Device) -> dict[str, tuple[float, float]]:
    """Return what a batch took and its count: forward, and its statistics."""

    def prepare(x: Tensor) -> Tensor:
        return x.float().div_(127.5).sub_(1)

    batch, size = timed["batch"], timed["size"]
    with Counter(device) as counter, torch.no_grad():
        network = build(ModelConfig("resnet18"), 3, size, 10).to(counter.device).eval()
        images = torch.empty(batch, 3, size, size, dtype=torch.uint8, device=counter.device)
        labels = (torch.arange(batch) % 10).to(counter.device)
        before = counter.seconds
        network(prepare(images))
        between = counter.seconds
        real_statistics(network, [(images, labels)], tapped_layers(network), prepare=prepare)
        after = counter.seconds
    counts = {"forward": between - before, "statistics": after - between}
    return {
        f"ResNet-18, {batch:,} images, {kind}": (batch / timed[kind]["median"], seconds)
        for kind, seconds in counts.items()
    }


def cell(timed: dict, device: Device) -> dict[str, tuple[float, float]]:
    """Return what a cell and its teacher took, and their counts."""
    record, took = timed["record"], timed["seconds"]
    content = {"dataset": record["dataset"], "methods": [record["method"]], "ipcs": [record["ipc"]]}
    content |= {"seeds": record["seeds"], "budget": "embedded"}
    of, teachers, real, _ = forecast.count(hours.suite_of(content, "one"), device)
    name = f"{record['dataset']}, {record['method']}, IPC {record['ipc']}"
    return {
        f"{name}: a set and two students": (took["distill"] + took["students"], of.seconds + real.seconds),
        f"{name}: the teacher": (took["teacher"], teachers.seconds),
    }


def beside(device: Device = DEVICES["h100"]) -> dict[str, dict[str, float]]:
    """Return the seconds that each took, and those of the count."""
    timed = json.loads((STUDIES / "gpu" / "cuda.json").read_text())
    found = steps([case for case in timed["cost"]["cases"] if not case["half"]], device)
    found |= passes(timed["throughput"], device) | cell(timed["cell"], device)
    return {
        what: {"took": significant(took, 3), "count": significant(count, 3)} for what, (took, count) in found.items()
    }


def main() -> None:
    record = {"study": "count", "device": asdict(DEVICES["h100"]), "times": beside()}
    save_json(record | {"provenance": provenance("cpu")}, STUDIES / "count" / "cuda.json")
    for what, times in record["times"].items():
        print(f"{what:<60} {times['took']:>8} s {times['count']:>8} s {times['count'] / times['took']:.2f}")


if __name__ == "__main__":
    main()
