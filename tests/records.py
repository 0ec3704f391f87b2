"""A record for tests, with numbers that can be worked out by hand, and pages of the book run on such records."""

from pathlib import Path

import jupytext

from unidd.bench import records
from unidd.bench.records import Record, save_record
from unidd.book.captions import Captioned


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


def suite() -> list[Record]:
    """Records of one suite as a table of them has: a baseline, a coreset, methods at two IPCs, a ceiling."""
    roles, seeds = {"random": "baseline", "herding": "coreset", "full": "ceiling"}, list(range(5))
    wave = (0.0, 1.5, -1.0, 0.5, -1.5)
    gains = {"random": 0.0, "herding": 1.0, "cfm": 9.0, "lfm": -9.0, "mine": 0.5, "full": 30.0}
    found = []
    for method, gain in gains.items():
        for ipc in (None,) if method == "full" else (1, 10):
            own = [50.0 + gain + (ipc or 0) + wave[(s + len(method)) % 5] for s in seeds]
            fields = {"seeds": seeds, "accuracy": {"hard": own, "online-soft": [v + 5 for v in own]}, "suite": "photos"}
            teachers = [{"hash": f"t{s}", "accuracy": 90.0 + s} for s in seeds]
            found.append(record(method, ipc, role=roles.get(method, "method"), teachers=teachers, **fields))
    return found


def put(folder: Path, *found: Record) -> None:
    """Save records as a folder of them has them: those of each suite in a folder of its own."""
    (folder / "studies").mkdir(parents=True, exist_ok=True)
    for i, one in enumerate(found):
        save_record(one, folder / one.suite / f"{i:03d}.json")


def read_page(page: Path, published: Path, own: Path, monkeypatch) -> tuple[str, dict[str, Captioned], dict]:
    """Run a page's code; gives what it displays, its words and by name what has a caption, and its variables."""
    shown: list = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(records, "published", lambda *parts: published.joinpath(*parts))
    monkeypatch.setenv("UNIDD_RUNS", str(own))
    names: dict = {}
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, page.name, "exec"), names)
    captioned = [one for one in shown if isinstance(one, Captioned)]
    assert len({one.name for one in captioned}) == len(captioned)
    words = "\n".join(one.data for one in shown if hasattr(one, "data") and not isinstance(one, Captioned))
    return words, {one.name: one for one in captioned}, names


def first_html(thing: Captioned, monkeypatch) -> str:
    """What a notebook gets of a captioned table, when it is displayed."""
    shown: list[str] = []
    monkeypatch.setattr("IPython.display.display", lambda part: shown.append(part._repr_html_()))
    thing._ipython_display_()
    return shown[0]
