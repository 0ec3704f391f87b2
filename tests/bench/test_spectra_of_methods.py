"""The study of what methods match: it goes on where it broke off, and its verdicts are those of its rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
import spectra_of_methods as bench
import torch
import toys
from PIL import Image
from toys import needs

from unidd.bench.effective import verdict
from unidd.core.bands import KINDS
from unidd.data.synthetic import choose

STUDY = bench.Study("toy", 2, "smoke", bands=2, epochs=(0, 1), draws=2)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNIDD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(bench, "load", lambda name: toys.data())
    for function in (bench._data, bench._seen_through):
        function.cache_clear()


@needs("lfm", "dm", "random")
def test_a_study_is_one_record_and_goes_on_where_it_broke_off(tmp_path, monkeypatch):
    asked = bench.Asked(("lfm", "dm,strategy=none", "random"), (0, 1), STUDY)
    whole, done = bench.repetition, []

    def breaking(method, seed, study):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append((method.name, seed))
        return whole(method, seed, study)

    monkeypatch.setattr(bench, "repetition", breaking)
    with pytest.raises(KeyboardInterrupt):
        bench.main(asked)
    again = []
    monkeypatch.setattr(bench, "repetition", lambda *task: again.append((task[0].name, task[1])) or whole(*task))
    path = bench.main(asked)
    assert (done, again) == ([("lfm", 0), ("dm", 0), ("random", 0), ("lfm", 1)], [("dm", 1), ("random", 1)])
    assert path == tmp_path / "runs" / "studies" / "matching" / "toy.json"
    record = json.loads(path.read_text())
    assert [(row["method"].split(",")[0], row["seed"]) for row in record["rows"]] == done + again
    assert set(record["verdicts"]) == {"lfm", "dm,strategy=none"}
    for row in record["rows"]:
        assert set(row["residuals by epoch"]) == {"0", "1"}
        assert [look["at"] for look in row["looks"]] == ([] if row["method"] == "random" else [0, 0.5, 1])
        assert all(set(look["seen"]) == {"epoch 1", "random"} for look in row["looks"])
        for layers in row["residuals by epoch"].values():
            for layer in layers.values():
                assert ("own" in layer) == (row["method"] == "lfm"), "the others do not augment"
                if row["method"] == "random":
                    assert layer["transfer"]["clean"]["filter"] == [0, 0], "it is the start"
    for name in asked.methods:
        images, bands = (Image.open(path.with_name(f"toy-{name}-{what}.webp")) for what in ("images", "bands"))
        assert images.size == (toys.SIZE * toys.CLASSES, toys.SIZE)
        layers = record["rows"][0]["residuals by epoch"]["1"]
        assert bands.size == (toys.SIZE * bench.COLUMNS, toys.SIZE * (1 + 2 * len(layers)))
    firsts = toys.data().train.images[choose(toys.data(), 2, 0)[: toys.CLASSES]]
    shown = torch.from_numpy(np.array(Image.open(path.with_name("toy-random-images.webp")))).permute(2, 0, 1)
    assert torch.equal(shown, torch.cat([*firsts], 2)), "one image a class, as it is"
    assert [row["hyper-parameters"].get("strategy") for row in record["rows"][:2]] == [None, "none"]
    changed = bench.Asked(("random",), (0,), replace(STUDY, ipc=1), out=tmp_path / "other.json")
    assert bench.main(changed) == tmp_path / "other.json"
    assert again[-1] == ("random", 0), "other settings are another repetition"
    assert json.loads((tmp_path / "other.json").read_text())["verdicts"] == {}


def row(seed: int, weights: list[float]) -> dict:
    kinds = {kind: {"weights": [0.0, 0.0], "shares": [0.0, 0.0]} for kind in KINDS}
    kinds["class"] = {"weights": weights, "shares": [0.3, 0.2]}
    seen = {
        "r2": 0.5 + 0.1 * seed,
        "cross-entropy": {"share": 0.25},
        "layers": {"4": {"eigenvalues": [1, 0.1], **kinds}},
    }
    return {
        "method": "lfm",
        "seed": seed,
        "acts as": "low-pass",
        "looks": [{"at": 0.5, "noise": None, "seen": {"r": seen}}],
    }


def test_verdicts_are_of_the_tilts_of_all_seeds():
    rows = [row(seed, [2.0 + seed, 1.0]) for seed in range(5)]
    found = bench.verdicts([*rows, {**row(0, [1, 1]), "method": "random", "looks": []}])
    assert set(found) == {"lfm"}
    place = found["lfm"]["r"]["0.5"]
    seen = [each["looks"][0]["seen"]["r"] for each in rows]
    assert place["all"] == place["class"] == verdict(seen, "low-pass")
    assert place["all"]["word"] == "low-pass"
    assert place["filter"]["word"] == place["mean"]["word"] == "unseen", "no band of these has a part"
    assert place["r2"] == pytest.approx(0.7)
    assert (place["cross-entropy"], place["noise"]) == (0.25, 0)


def test_what_is_written_is_json():
    found = bench.plain({1: [float("nan"), -float("inf"), 0.1234567], "a": ("word", None, True, 3)})
    assert found == {"1": [None, None, 0.12346], "a": ["word", None, True, 3]}


def test_a_method_that_cannot_be_run_is_refused_before_any_work():
    with pytest.raises(ValueError, match="ipc must be"):
        bench.main(bench.Asked(("random",), (0,), replace(STUDY, ipc=100)))
