"""Options of PyTorch and of the process, measured on a step and on a plain pass: which of them pay.

    python benchmarks/step_options.py                  # writes results/studies/cost/options.json
    python benchmarks/step_options.py --device cuda    # writes results/studies/cost/options-cuda.json
    python benchmarks/step_options.py --quick          # a look at one case; writes to _runs/studies/cost/

Options of the network run interleaved with the network as it is: weights stored contiguously instead of
channels-last, bfloat16 autocast, torch.compile, and on CUDA a graph. A step taps the network afresh, which a compiled
network does not notice: only the parts between its convolutions can be compiled for it; the plain pass of the whole
is there for comparison. Options of the process (threads; glibc's malloc, which by default hands large blocks back to
the kernel and gets them again page by page) run in processes of their own, there and back. A gain is the time as it is
over the time with the option. About five minutes on two quiet CPU cores.

Chapter: "Appendix: what a step costs".
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from step_cost import Case, Steps, options
from timing import guarded, interleaved, ratio, summary
from torch import nn

from unidd.bench.records import provenance
from unidd.files import save_json

CASES = (Case(), Case(batch=100, fewer=2), Case("resnet18", fewer=2))
KINDS = "plain", "ours"
ALL = *KINDS, "straightforward"
_KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36), "MALLOC_TOP_PAD_": str(2**26)}
_HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
PROCESSES = {
    "as it is": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "malloc keeps memory": _KEEP,
    "malloc uses huge pages": _HUGE,
    "malloc does both": _KEEP | _HUGE,
}


def passes(
    case: Case, device: torch.device, prepare: Callable[[nn.Module], object] = lambda _: None, kinds=KINDS
) -> dict:
    """The plain pass and our step of a network after `prepare`, run once: errors come now."""
    steps = Steps(case, device)
    prepare(steps.teacher)
    found = {kind: getattr(steps, kind) for kind in kinds}
    for step in found.values():
        step()
    return found


def compile_parts(network: nn.Module) -> None:
    """Norm, ReLU and pooling of each block of a ConvNet as one; convolutions keep their names."""
    for i in range(0, len(network.features), 4):
        network.features[i + 1] = nn.Sequential(*network.features[i + 1 : i + 4])
        network.features[i + 1].compile()
        network.features[i + 2] = network.features[i + 3] = nn.Identity()


def whole(case: Case, device: torch.device) -> dict:
    steps = Steps(case, device)
    steps.teacher.compile()
    steps.plain()
    return {"plain": steps.plain}


def graphs(case: Case, device: torch.device) -> dict:
    """Both passes as CUDA graphs; a replay is of the images as they are then."""
    found = passes(case, device)
    for kind, step in found.items():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        found[kind] = graph.replay
    return found


def variants(case: Case, device: torch.device, quick: bool) -> dict[str, Callable[[], dict]]:
    """Option → a function that makes the passes with it."""
    found = {
        "contiguous weights": lambda: passes(case, device, lambda m: m.to(memory_format=torch.contiguous_format)),
        "bfloat16 autocast": lambda: passes(replace(case, half="bfloat16"), device),
    }
    if case.network == "convnet" and not quick:
        found["compiled parts"] = lambda: passes(case, device, compile_parts)
        found["compiled whole"] = lambda: whole(case, device)
    if device.type == "cuda":
        found["CUDA graph"] = lambda: graphs(case, device)
    return found


def of_network(case: Case, device: torch.device, steps: int, quick: bool) -> dict:
    kinds, missing = passes(case, device), {}
    for name, make in variants(case, device, quick).items():
        try:
            kinds |= {f"{kind}, {name}": step for kind, step in make().items()}
        except Exception as error:  # a missing compiler, or an operation that a graph or a compiler does not take
            missing[name] = f"not available: {type(error).__name__}: {str(error).strip().splitlines()[0][:100]}"
    timing = guarded(kinds, max(steps // case.fewer, 3), device, attempts=1 if quick else 2)
    record = {"network": case.network, "batch": case.batch} | timing.record()
    gains = {}
    for name in kinds:
        kind, _, option = name.partition(", ")
        if option:
            gains.setdefault(option, {})[kind] = ratio(timing.seconds[kind], timing.seconds[name])
    return record | {"gains": gains, "missing": missing}


def child(device: str, steps: int, quick: bool) -> None:
    """Prints the times of each case, as JSON: what a process of its own runs."""
    found = []
    for case in CASES[:1] if quick else CASES:
        kinds = passes(case, torch.device(device), kinds=ALL)
        found.append(interleaved(kinds, max(steps // case.fewer, 3), torch.device(device)))
    print(json.dumps(found))


def of_process(device: str, steps: int, quick: bool) -> list[dict]:
    """Each option in a process of its own, in turn and in turn backwards; half of the steps in each."""
    names = list(PROCESSES)
    times: dict[str, list] = {name: [] for name in names}
    for name in names[:2] if quick else names + names[::-1]:
        code = f"import step_options; step_options.child({device!r}, {max(steps // 2, 3)}, {quick})"
        command, environment = [sys.executable, "-c", code], os.environ | PROCESSES[name]
        out = subprocess.run(command, cwd=Path(__file__).parent, env=environment, check=True, stdout=subprocess.PIPE)
        times[name].append(json.loads(out.stdout))
    records = []
    for i, case in enumerate(CASES[:1] if quick else CASES):
        pooled = {
            name: {kind: [s for run in runs for s in run[i][kind]] for kind in ALL}
            for name, runs in times.items()
            if runs
        }
        base = pooled.pop("as it is")
        gains = {name: {kind: ratio(base[kind], found[kind]) for kind in ALL} for name, found in pooled.items()}
        record = {"network": case.network, "batch": case.batch, "n": len(base["plain"])}
        records.append(record | {"seconds": {kind: summary(base[kind]) for kind in ALL}, "gains": gains})
    return records


def table(record: dict) -> str:
    lines = []
    for case in record["network options"] + record["process options"]:
        lines.append(f"{case['network']}, batch {case['batch']}, n = {case['n']}")
        for option, gains in case["gains"].items():
            both = (f"{kind} {g['median']:.2f} [{g['low']:.2f}, {g['high']:.2f}]" for kind, g in gains.items())
            lines.append(f"  {option:<24}" + "   ".join(both))
        lines += [f"  {option:<24}{why}" for option, why in case.get("missing", {}).items()]
    return "\n".join(lines)


def main() -> None:
    chosen, device = options()
    start, steps = time.perf_counter(), 3 if chosen.quick else chosen.steps
    cases = CASES[:1] if chosen.quick else CASES
    record = {
        "study": "step options",
        "network options": [of_network(case, device, steps, chosen.quick) for case in cases],
        "process options": of_process(chosen.device, steps, chosen.quick) if device.type == "cpu" else [],
        "processes": PROCESSES,
    }
    record |= {"seconds": round(time.perf_counter() - start, 1), "provenance": provenance(device)}
    name = "options.json" if device.type == "cpu" else f"options-{device.type}.json"
    save_json(record, chosen.target / name)
    print(f"gain: time as it is over time with the option, [quartiles]\n{table(record)}")


if __name__ == "__main__":
    main()
