"""What only a GPU shows, in one run of a few minutes: agreement with the CPU, costs, throughput, a cell end to end.

    python3 benchmarks/gpu.py                         # writes results/studies/gpu/cuda.json
    python3 benchmarks/gpu.py --device cpu --quick    # every line on small sizes; writes _runs/studies/gpu/cpu.json

For a machine that is lent for minutes and has nothing but torch and torchvision: UniDD need not be installed, and
what else is missing gets a stand-in, which the record names. Each part is on its own: if one fails, its error stands in
the record, the others have their figures, and the exit code is 1. The record is written after every part.
"""

import argparse
import contextlib
import copy
import importlib.util
import io
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 8.0  # after which no part is begun


# ------------------------------------------------------------------------------------------- what is missing here


class Bar:
    """In the place of tqdm: shows nothing."""

    def __init__(self, iterable=(), **_):
        self.iterable, self.n = iterable, 0

    def __iter__(self) -> Iterator:
        return iter(self.iterable)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_) -> None: ...

    def update(self, n: float = 1) -> None:
        self.n += n

    def set_postfix(self, *_, **__) -> None: ...

    @staticmethod
    def write(text: str, **_) -> None:
        print(text, file=sys.stderr)


def _dump(tensors: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _load(content: bytes, device: str = "cpu") -> dict[str, Tensor]:
    return torch.load(io.BytesIO(content), map_location=device, weights_only=True)


def _dump_file(tensors: dict[str, Tensor], path: str | Path) -> None:
    Path(path).write_bytes(_dump(tensors))


def _load_file(path: str | Path, device: str = "cpu") -> dict[str, Tensor]:
    return _load(Path(path).read_bytes(), device)  # given the path, torch would ask safetensors


# package → module → what stands in it; of safetensors the files are torch's; tyro and safe_open are not called
STAND_INS = {
    "tqdm": {"tqdm": {}, "tqdm.auto": {"tqdm": Bar}},
    "safetensors": {
        "safetensors": {"SafetensorError": type("SafetensorError", (Exception,), {}), "safe_open": None},
        "safetensors.torch": {"save": _dump, "load": _load, "save_file": _dump_file, "load_file": _load_file},
    },
    "tyro": {"tyro": {}},
}


def stand_in() -> list[str]:
    """Put stand-ins where a package is missing, and return the packages' names."""
    missing = []
    for package, modules in STAND_INS.items():
        if importlib.util.find_spec(package) is None:
            missing.append(package)
            for name, content in modules.items():
                sys.modules[name] = importlib.util.module_from_spec(ModuleSpec(name, None))
                vars(sys.modules[name]).update(content)
    return missing


# ---------------------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class Task:
    """Where to measure, and whether it is only a look."""

    device: torch.device
    quick: bool


@cache
def pictures(per_class: int | None = None, size: int = 32) -> tuple:
    """Return `photos` on the CPU, or noise of its shape where scikit-image is missing, and which it is.

    Args:
        per_class: so many training images of each class, and a fifth as many test images; None takes all.
        size: of the corner that is taken of each.
    """
    from unidd.data.datasets import PHOTOS, ImageData, Split, load

    def noise(n: int) -> Split:
        generator = torch.Generator().manual_seed(n)
        images = torch.randint(0, 256, (10 * n, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return Split(images, torch.arange(10).repeat_interleave(n))

    def part(split: Split, n: int) -> Split:
        taken = split.take(torch.cat([(split.labels == k).nonzero().flatten()[:n] for k in range(10)]))
        return Split(taken.images[..., :size, :size].clone(), taken.labels)

    if importlib.util.find_spec("skimage"):
        data, what = load("photos"), "photos"
    else:
        data, what = ImageData("photos", noise(500), noise(100), PHOTOS), "noise of its shape: no scikit-image"
    if per_class is None:
        return data, what
    return ImageData("photos", part(data.train, per_class), part(data.test, max(1, per_class // 5)), PHOTOS), what


def network(name: str, width: int, images: Tensor) -> nn.Module:
    """Return an untrained network whose batch norms know the images, so that features have a trained one's scale."""
    from unidd.networks.models import ModelConfig, build

    model = build(ModelConfig(name, width), 3, images.shape[-1], 10).train()
    with torch.no_grad():
        for _ in range(3):
            model(images)
    return model.eval().requires_grad_(False)


def agreement(task: Task) -> dict:
    """Compare a step of CFM with the CPU: loss terms and gradient, of the first batch and with a moving update.

    Errors are relative, and in two ways: to the CPU in float64, which says how much is rounding, and to the CPU in the
    same precision.
    """
    data, what = pictures(5, 8) if task.quick else pictures(20)
    record = {"images": what, "real": len(data.train), "batch": data.classes, "networks": {}}
    here = torch.device("cpu")
    for name, width in (("convnet", 8),) if task.quick else (("convnet", 128), ("resnet18", 0)):
        model = network(name, width, data.normalise(data.train.images))
        exact = first_steps(model, data, here, "float64")
        networks = record["networks"][name] = {}
        for precision in ("float32", "bfloat16"):
            cpu = first_steps(model, data, here, precision)
            networks[f"cpu {precision}"] = {"to float64": errors(cpu, exact)}
            for tf32 in (True, False) if precision == "float32" else (True,):
                with tensor_float32(tf32):
                    found = first_steps(model, data, task.device, precision)
                label = f"{task.device.type} {precision}" + ("" if tf32 else ", convolutions without TF32")
                networks[label] = {"to float64": errors(found, exact), "to the same on the CPU": errors(found, cpu)}
    return record


@contextlib.contextmanager
def tensor_float32(allowed: bool):
    """Let convolutions use TF32 where they may by default, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def first_steps(model: nn.Module, data, device: torch.device, precision: str) -> dict[str, dict[str, Tensor]]:
    """Take a step of each of two batches, everything from the statistics on worked out on the device.

    Returns:
        batch → name of a term, or "gradient" → value, in float64 on the CPU.
    """
    from unidd.core.statistics import real_statistics
    from unidd.engine.parallel import Ranks
    from unidd.engine.run import Run
    from unidd.methods.cfm import CFM
    from unidd.networks.models import tapped_layers
    from unidd.networks.training import Teacher

    data, method = data.to(device), CFM(steps=1, precision=precision)
    dtype = torch.float64 if precision == "float64" else torch.float32
    model, batches = copy.deepcopy(model).to(device, dtype), [(data.train.images, data.train.labels)]
    real = real_statistics(model, batches, tapped_layers(model), prepare=lambda x: data.normalise(x).to(dtype))
    run = Run(2, statistics=real)
    start, objective, found = method.start(data, run), method.objective(data, Teacher(model, 0.0, ""), run), {}
    for name, batch in zip(("first batch", "moving update"), start.batches(Ranks(), 1), strict=True):
        objective.begin(batch)
        x = data.normalise(start.images[batch.numbers]).to(dtype).requires_grad_()
        step = objective.step(x, 0, torch.Generator().manual_seed(batch.number))
        objective.end()
        values = step.terms | {"gradient": step.gradient}
        found[name] = {term: value.detach().cpu().double() for term, value in values.items()}
    return found


def errors(found: dict, expected: dict) -> dict[str, dict[str, float]]:
    """Return ‖a − b‖ / ‖b‖ of every term and of the gradient, by batch."""
    return {
        batch: {name: float(f"{float((found[batch][name] - b).norm() / b.norm()):.3g}") for name, b in terms.items()}
        for batch, terms in expected.items()
    }


def cost(task: Task) -> dict:
    """Time a step beside a plain pass and the straightforward step, as `step_cost.py` does."""
    from step_cost import Case, measure

    if task.quick:
        cases = [Case(batch=2, size=8, classes=2, width=8)]
    else:
        cases = [Case("resnet18", batch, half=half) for half in ("", "bfloat16") for batch in (100, 1000)]
    steps, attempts = (3, 1) if task.quick else (24, 2)
    return {"cases": [measure(case, task.device, steps, attempts) for case in cases]}


def throughput(task: Task) -> dict:
    """Time the pass over the real data, and a forward pass alone: images a second."""
    from timing import summary, wait

    from unidd.core.statistics import real_statistics
    from unidd.networks.models import real_batch, tapped_layers

    size, count, passes = (8, 40, 2) if task.quick else (32, 20_000, 5)
    batch, generator = min(real_batch(size, "cuda"), count // 2), torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator).to(task.device)
    labels = torch.arange(count, device=task.device) % 10

    def prepare(x: Tensor) -> Tensor:
        return x.float().div_(127.5).sub_(1)

    model = network("resnet18", 0, prepare(images[:100].cpu())).to(task.device)
    layers = tapped_layers(model)

    @torch.no_grad()
    def forward() -> None:
        for part in images.split(batch):
            model(prepare(part))

    def statistics() -> None:
        real_statistics(model, zip(images.split(batch), labels.split(batch), strict=True), layers, prepare=prepare)

    record: dict = {"network": "resnet18", "size": size, "images": count, "batch": batch, "passes": passes}
    for kind in (forward, statistics):
        kind()
        rates = []
        for _ in range(passes):
            wait(task.device)
            began = time.perf_counter()
            kind()
            wait(task.device)
            rates.append(count / (time.perf_counter() - began))
        record[kind.__name__] = summary(rates)
    return record


def cell(task: Task) -> dict:
    """Run one cell of a table: train a teacher, distill, train and test a student under each label regime."""
    from unidd.bench.cell import Cell, run

    began = time.perf_counter()
    data, what = pictures(20 if task.quick else None)
    data = data.to(task.device)
    asked = Cell.of(
        dataset="photos",
        budget="smoke" if task.quick else "embedded",
        method="cfm",
        ipc=1 if task.quick else 10,
        seeds=[0],
    )
    loaded = time.perf_counter()
    before = os.environ.get("UNIDD_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNIDD_CACHE"] = folder
        try:
            asked.teacher(data, progress=False)
            taught = time.perf_counter()
            record = asdict(run(asked, data=data))
        finally:
            os.environ.pop("UNIDD_CACHE")
            if before is not None:
                os.environ["UNIDD_CACHE"] = before
    seconds = {"data": loaded - began, "teacher": taught - loaded, **record["seconds"]}
    return {"images": what, "seconds": {name: round(value, 2) for name, value in seconds.items()}, "record": record}


PARTS: dict[str, Callable[[Task], dict]] = {
    "agreement": agreement,
    "cost": cost,
    "throughput": throughput,
    "cell": cell,
}


# ------------------------------------------------------------------------------------------------------- the record


def machine(device: torch.device) -> dict:
    """Return the device and the versions that figures depend on."""
    from unidd.bench.records import provenance

    found = provenance(device) | {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    found["tf32"] = {
        "networks": torch.backends.cudnn.allow_tf32,
        "products": torch.backends.cuda.matmul.allow_tf32,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"capability": f"{properties.major}.{properties.minor}", "memory": properties.total_memory}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def measured(task: Task, names: list[str], target: Path, missing: list[str]) -> dict:
    """Measure part by part, and write the record after each."""
    from unidd.files import save_json

    start = time.perf_counter()
    record: dict = {"study": "gpu", "quick": task.quick, "stand-ins": missing, "seconds": {}, "errors": {}}
    record["provenance"] = machine(task.device)
    for name in names:
        began = time.perf_counter()
        if began - start > 60 * MINUTES:
            record["errors"][name] = f"not begun: {MINUTES:g} minutes were over"
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            record[name] = PARTS[name](task)
        except Exception:  # the other parts are worth having
            record["errors"][name] = traceback.format_exc()
            print(record["errors"][name], file=sys.stderr)
        record["seconds"][name] = round(time.perf_counter() - began, 1)
        record["seconds"]["all"] = round(time.perf_counter() - start, 1)
        save_json(record, target)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="file of the record; by default results/studies/gpu/DEVICE.json")
    asked = parser.parse_args()
    for folder in (ROOT, ROOT / "benchmarks"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    missing, device = stand_in(), torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("error: there is no CUDA device here", file=sys.stderr)
        return 2
    folder = ROOT / ("_runs" if asked.quick else "results") / "studies" / "gpu"
    target = asked.out or folder / f"{device.type}.json"
    record = measured(Task(device, asked.quick), asked.parts, target, missing)
    print(f"{target}: {record['seconds'].get('all')} s" + "".join(f"; {name} FAILED" for name in record["errors"]))
    return 1 if record["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
