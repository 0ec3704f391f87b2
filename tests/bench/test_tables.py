"""The table of records and the sentences made from it, against numbers worked out by hand."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from records import record

from unidd.bench.records import Record
from unidd.bench.tables import pretty, runs, table, verdicts

RANDOM = record("random", role="baseline", accuracy={"hard": [51.0, 50.0, 52.0], "online-soft": [55.0, 60.0, 59.0]})
FULL = record("full", None, role="ceiling", accuracy={"hard": [90.0, 92.0, 94.0]})


def row(records: list[Record], method: str = "cfm", regime: str = "hard") -> pd.Series:
    frame = table(records)
    (index,) = frame.index[(frame.method == method) & (frame.regime == regime)]
    return frame.loc[index]


# ----------------------------------------------------------------------------------------------- the table


def test_mean_and_sample_standard_deviation():
    line = row([record()])
    assert (line["mean"], line["std"], line["n"]) == (52.0, 2.0, 3)
    line = row([record()], regime="online-soft")
    assert line["mean"] == pytest.approx(62.0)
    assert line["std"] == pytest.approx(math.sqrt(7))


def test_one_seed_has_no_standard_deviation():
    line = row([record(seeds=[0], accuracy={"hard": [40.0]})])
    assert (line["mean"], line["n"]) == (40.0, 1)
    assert math.isnan(line["std"])


def test_recovery_is_what_is_missing_to_the_full_data_with_hard_labels():
    records = [record(), RANDOM, FULL]
    assert row(records)["hlr"] == pytest.approx(92.0 - 52.0)
    assert row(records, "random")["hlr"] == pytest.approx(92.0 - 51.0)
    assert math.isnan(row(records, regime="online-soft")["hlr"])
    assert math.isnan(row(records, "full")["hlr"])
    assert math.isnan(row([record(), RANDOM])["hlr"])


def test_improvement_over_random_is_paired_by_seed():
    """Hard: −1, 2, 2 of mean 1 and deviation √3; soft: 5, 1, 6 of mean 4 and deviation √7."""
    records = [RANDOM, record()]
    assert row(records)["ior"] == pytest.approx(1.0)
    assert row(records)["ior_std"] == pytest.approx(math.sqrt(3))
    assert row(records, regime="online-soft")["ior"] == pytest.approx(4.0)
    assert row(records, regime="online-soft")["ior_std"] == pytest.approx(math.sqrt(7))
    assert math.isnan(row(records, "random")["ior"])


@pytest.mark.parametrize(
    "other",
    [
        {"ipc": 10},
        {"suite": "cifar"},
        {"dataset": "digits"},
        {"model": "resnet18"},
        {"seeds": [1, 2, 3]},
        {"accuracy": {"online-soft": [1.0, 2.0, 3.0]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_only_the_same_cell_is_compared(other):
    """Random images of another IPC, suite, data set, model or seeds, or under another label regime, are no baseline."""
    line = row([record(), replace(RANDOM, **other)])
    assert math.isnan(line["ior"])
    assert math.isnan(line["ior_std"])
    if not {"ipc", "seeds", "accuracy"} & set(other):
        assert math.isnan(row([record(), replace(FULL, **other)])["hlr"])


def test_rows_are_sorted_by_cell_baselines_first_then_methods_by_name():
    methods = ["zeta", "cfm", "hfm", "random", "alpha", "lfm", "classification"]
    roles = {"random": "baseline"}
    records = [record(m, ipc, role=roles.get(m, "method")) for m in methods for ipc in (10, 1)]
    frame = table([*records, FULL])
    cells = dict.fromkeys(zip(frame.regime, frame.ipc.fillna(0), strict=True))
    assert list(cells) == [("hard", 1), ("hard", 10), ("hard", 0), ("online-soft", 1), ("online-soft", 10)], (
        "full data last"
    )
    order = ["random", "alpha", "cfm", "classification", "hfm", "lfm", "zeta"]
    for regime in ("hard", "online-soft"):
        for ipc in (1, 10):
            group = frame[(frame.regime == regime) & (frame.ipc == ipc)]
            assert list(group.method) == order


def test_a_later_record_of_the_same_cell_replaces_the_earlier():
    later = record(accuracy={"hard": [70.0, 70.0, 70.0]})
    assert table([record(), later])["mean"].tolist() == [70.0]


def test_no_records_give_an_empty_table_with_its_columns():
    assert {"method", "mean", "std", "n", "hlr", "ior", "ior_std"} <= set(table([]).columns)
    assert len(pretty(table([]))) == 0
    assert verdicts(table([])) == []
    assert len(runs([])) == 0


def test_the_printed_table_rounds_and_dashes():
    shown = pretty(table([record(), RANDOM, FULL]))
    line = shown.loc[("photos", "hard", "1", "cfm")]
    assert (line["n"], line["accuracy (%)"], line["HLR"], line["IOR"]) == (3, "52.0 ± 2.0", "40.0", "1.0 ± 1.7")
    line = shown.loc[("photos", "online soft", "1", "random")]
    assert (line["accuracy (%)"], line["HLR"], line["IOR"]) == ("58.0 ± 2.6", "–", "–")
    line = shown.loc[("photos", "hard", "all", "full")]
    assert (line["accuracy (%)"], line["HLR"], line["IOR"]) == ("92.0 ± 2.0", "–", "–")
    single = pretty(table([record(seeds=[0], accuracy={"hard": [40.0]})]))
    assert single["accuracy (%)"].tolist() == ["40.0"]


def test_where_the_numbers_come_from():
    frame = runs([record(), replace(FULL, teacher={})])
    assert list(frame.index) == ["embedded: cfm, IPC 1", "embedded: full"]
    line = frame.iloc[0]
    assert (line["seeds"], line["seconds"], line["teacher (%)"], line["torch"]) == ("0, 1, 2", 14, 91.2, "2.15.0")
    assert math.isnan(frame.iloc[1]["teacher (%)"])


# --------------------------------------------------------------------------------------------- in words


def spread(method: str, mean: float, std: float, **changes) -> Record:
    """Three seeds of exactly this mean and standard deviation, hard labels."""
    return record(method, accuracy={"hard": [mean - std, mean, mean + std]}, **changes)


CELLS = [
    spread("random", 50, 2, role="baseline"),
    spread("classification", 40, 1),
    spread("lfm", 53.5, 1),
    spread("hfm", 52.5, 1),
    spread("cfm", 46.5, 1),
]


def test_all_three_relations_to_random_in_words():
    assert verdicts(table(CELLS)) == [
        "On photos with hard labels at IPC 1, a random choice of real images reaches 50.0 ± 2.0 % (n = 3); "
        "above it: lfm (+3.5); within the error bars: hfm (+2.5); below it: cfm (-3.5) and classification (-10.0)."
    ]


def test_relations_to_classification_leave_random_out():
    assert verdicts(table(CELLS), baseline="classification", words="classification alone") == [
        "On photos with hard labels at IPC 1, classification alone reaches 40.0 ± 1.0 % (n = 3); "
        "above it: lfm (+13.5), hfm (+12.5) and cfm (+6.5)."
    ]


def test_touching_error_bars_are_not_apart():
    for gap, side in ((3.0, "within the error bars"), (3.01, "above it"), (-3.0, "within"), (-3.01, "below it")):
        (sentence,) = verdicts(table([spread("random", 50, 2, role="baseline"), spread("cfm", 50 + gap, 1)]))
        assert f"{side}" in sentence
        assert sentence.count(":") == 1


def test_one_seed_has_no_error_bars_to_be_within():
    cells = ("random", "baseline", 50.0), ("cfm", "method", 60.0)
    records = [record(m, seeds=[0], role=role, accuracy={"hard": [v]}) for m, role, v in cells]
    (sentence,) = verdicts(table(records))
    assert sentence == (
        "On photos with hard labels at IPC 1, a random choice of real images reaches 50.0 % (n = 1); "
        "without error bars: cfm (+10.0)."
    )


def test_a_sentence_for_each_label_regime_and_ipc_that_can_be_compared():
    records = [record(), RANDOM, FULL, record("hfm", 10), replace(RANDOM, suite="cifar")]
    found = verdicts(table(records))
    assert len(found) == 2
    assert "hard labels at IPC 1," in found[0]
    assert "online soft labels at IPC 1," in found[1]
    assert verdicts(table(records), baseline="classification") == []
    assert len(verdicts(table(records), baseline="cfm")) == 0, "nothing but random beside it"
