"""A record for tests, with numbers that can be worked out by hand."""

from unidd.bench.records import Record


def record(method: str = "cfm", ipc: int | None = 1, **changes) -> Record:
    fields = {
        "suite": "embedded",
        "dataset": "photos",
        "model": "convnet",
        "method": method,
        "ipc": ipc,
        "seeds": [0, 1, 2],
        "accuracy": {"hard": [50.0, 52.0, 54.0], "online-soft": [60.0, 61.0, 65.0]},
        "config": {"beta": 0.1},
        "teachers": [{"hash": f"abc{seed}", "accuracy": 91.234, "seed": seed} for seed in range(3)],
        "seconds": {"distill": 3.4, "students": 10.2},
        "provenance": {"device": "cpu (x)", "torch": "2.15.0"},
    }
    return Record(**fields | changes)
