"""What would the published budgets take one H100? By counting operations, since none is at hand.

    python benchmarks/hours.py                    # all suites: half an hour of one core
    python benchmarks/hours.py cifar10            # one of them

What `make plan SUITE=… DEVICE=h100` says, kept: the seconds of each job, of all repetitions, and their sum. How fast
the device works is assumed, see `unidd.bench.counted` and benchmarks/count.py. A record a suite,
results/studies/hours/SUITE.json, which the pages look up by the command that is not run.
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import yaml

from unidd.bench.cell import BUDGETS, Cell
from unidd.bench.counted import DEVICES
from unidd.bench.records import provenance
from unidd.book.rounding import significant
from unidd.files import json_hash, save_json

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))
import forecast  # noqa: E402
import jobs  # noqa: E402

RESULTS = ROOT / "results" / "studies" / "hours"
SUITES = (
    *("cifar10", "cifar100", "imagenet", "paper-tiny-imagenet", "paper-imagenet"),
    *("protocols-resnet18", "published-cifar10-mini", "published-tiny-imagenet", "fashion-mnist paper"),
)
ROUNDS = {  # of the study of rounds: two distillations a repetition; the minutes of students are not its own
    "command": "python benchmarks/round_detail.py tiny-imagenet --budget large --group 200 --beta 0.5",
    "suite": {
        **{"dataset": "tiny-imagenet", "ipcs": [10], "seeds": [0, 1, 2, 3, 4], "budget": "large", "regimes": ["hard"]},
        "methods": [
            {"cfm": {"group": 200, "beta": 0.5}},
            {"hfm": {"group": 200, "beta": 0.5}},
        ],
    },
}


def asked_for(name: str) -> tuple[dict, str | None, str]:
    """Return what a suite holds, the budget in place of its own and the command that runs it; "rounds" is a study."""
    if name == "rounds":
        return ROUNDS["suite"], None, ROUNDS["command"]
    suite, _, budget = name.partition(" ")
    command = f"make batch SUITE={suite}" + f" BUDGET={budget}" * bool(budget)
    return yaml.safe_load(jobs.suite_path(suite).read_text()), budget or None, command


def loaded(name: str) -> jobs.Suite:
    """Return a suite with all its jobs, as `asked_for` has it."""
    content, budget, _ = asked_for(name)
    return suite_of(content, name.partition(" ")[0], budget)


def suite_of(content: dict, name: str, budget: str | None = None) -> jobs.Suite:
    """Return the suite of a file with that content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return jobs.load(path, budget, files=False)


def asked(suite: jobs.Suite) -> str:
    """Return a hash of all that a suite's jobs are asked for."""
    return json_hash({"jobs": suite.jobs, "budget": asdict(BUDGETS[suite.shared["budget"]])})


class NoStudents(forecast.Students):
    """Those of a study that distills alone."""

    def taken(self, cell: Cell) -> forecast.Taken:
        return forecast.Taken("students", 0.0)


def study(name: str) -> dict:
    """Return the record of a suite."""
    suite, device = loaded(name), DEVICES["h100"]
    *found, teachers, real, experts = forecast.count(
        suite, device, NoStudents if name == "rounds" else forecast.Students
    )
    return {
        **{"study": "hours", "suite": suite.name, "command": asked_for(name)[2], "asked": asked(suite)},
        **{"device": asdict(device), "jobs": {taken.name: significant(taken.seconds, 4) for taken in found}},
        **{"teachers": significant(teachers.seconds, 4), "real side": significant(real.seconds, 4)},
        "experts": significant(experts.seconds, 4),
        "seconds": significant(forecast.total([*found, teachers, real, experts]).seconds, 4),
        "provenance": provenance("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", default=[*SUITES, "rounds"])
    for name in parser.parse_args().suites:
        record = study(name)
        save_json(record, RESULTS / f"{record['suite']}.json")
        print(record["suite"], forecast.duration(record["seconds"]), flush=True)


if __name__ == "__main__":
    main()
