"""The table of records and the sentences made from it, against numbers worked out by hand."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from records import record

from unidd.bench.records import Record
from unidd.bench.tables import across, overview, pretty, runs, shared, standings, table, verdicts

RANDOM = record("random", role="baseline", accuracy={"hard": [51.0, 50.0, 52.0], "online-soft": [55.0, 60.0, 59.0]})
IOR = "IOR [95 %]"
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
    """Hard: −1, 2, 2 of mean 1 and deviation √3; soft: 5, 1, 6 of mean 4 and deviation √7; t = 4.3027 at n = 3."""
    records = [RANDOM, record()]
    for regime, gain, deviation in (("hard", 1.0, math.sqrt(3)), ("online-soft", 4.0, math.sqrt(7))):
        line, reach = row(records, regime=regime), 4.302653 * deviation / math.sqrt(3)
        assert line[["ior", "ior_low", "ior_high"]].tolist() == pytest.approx([gain, gain - reach, gain + reach])
    assert math.isnan(row(records, "random")["ior"])
    assert row(records)["values"] == [50.0, 52.0, 54.0]


def test_protocols_are_rows_of_their_own():
    """Of a cell, or of a set that was evaluated; HLR and IOR are of the same protocol."""
    under = {"config": {"cell": {"protocol": "dsa"}}}
    accuracy = {"hard": [10.0, 20.0, 30.0]}
    theirs = record(accuracy=accuracy, config={"protocol": "dsa"})
    records = [record(), RANDOM, theirs, replace(RANDOM, **under), replace(FULL, **under)]
    line = row(records, regime="hard (dsa)")
    assert (line["mean"], line["hlr"], line["ior"]) == (20.0, 72.0, -31.0)
    assert (row(records)["mean"], row(records)["ior"]) == (52.0, 1.0)
    assert math.isnan(row(records)["hlr"])
    assert "hard (dsa), IPC 1" in overview(table(records)).columns


@pytest.mark.parametrize(
    "other",
    [
        {"ipc": 10},
        {"suite": "cifar"},
        {"dataset": "digits"},
        {"model": "resnet18"},
        {"seeds": [1, 2, 3]},
        {"accuracy": {"online-soft": [1.0, 2.0, 3.0]}},
        {"config": {"cell": {"protocol": "dsa"}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_only_the_same_cell_is_compared(other):
    """Random images of another IPC, suite, data set, model, seeds, label regime or protocol are no baseline."""
    line = row([record(), replace(RANDOM, **other)])
    assert math.isnan(line["ior"])
    assert math.isnan(line["ior_low"])
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
    assert {"method", "mean", "std", "n", "hlr", "ior", "ior_low", "ior_high"} <= set(table([]).columns)
    assert len(pretty(table([]))) == len(overview(table([]))) == 0
    assert verdicts(table([])) == []
    assert len(runs([])) == 0


def test_the_printed_table_rounds_and_dashes():
    shown = pretty(table([record(), RANDOM, FULL]))
    line = shown.loc[("photos", "hard", "1", "cfm")]
    assert line[["n", "accuracy (%)", "HLR", IOR]].tolist() == [3, "52.0 ± 2.0", "40.0", "+1.0 [−3.3, +5.3]"]
    line = shown.loc[("photos", "online soft", "1", "random")]
    assert (line["accuracy (%)"], line["HLR"], line[IOR]) == ("58.0 ± 2.6", "–", "–")
    line = shown.loc[("photos", "hard", "all", "full")]
    assert (line["accuracy (%)"], line["HLR"], line[IOR]) == ("92.0 ± 2.0", "–", "–")
    assert pretty(table([record(accuracy={"hard": [95.5, 95.5, 95.5]}), FULL]))["HLR"].tolist() == ["−3.5", "–"]
    single = pretty(table([record(seeds=[0], accuracy={"hard": [40.0]})]))
    assert single["accuracy (%)"].tolist() == ["40.0"]


def test_where_the_numbers_come_from():
    frame = runs([record(), replace(FULL, teachers=[])])
    assert list(frame.index) == ["embedded: cfm, IPC 1", "embedded: full"]
    line = frame.iloc[0]
    assert (line["seeds"], line["seconds"], line["torch"]) == ("0, 1, 2", 14, "2.15.0")
    assert frame["teachers (%)"].tolist() == ["91.2, 91.2, 91.2", "–"]


# --------------------------------------------------------------------------------------------- in words

FIVE = [0, 1, 2, 3, 4]
DRAWN = [48.0, 50.0, 52.0, 49.0, 51.0]  # of mean 50


def five(method: str, gains: list[float], **changes) -> Record:
    """Five repetitions, so much above the random ones, hard labels."""
    values = [base + gain for base, gain in zip(DRAWN, gains, strict=True)]
    return record(method, seeds=FIVE, accuracy={"hard": values}, **changes)


RANDOM_5 = five("random", [0.0] * 5, role="baseline")
CELLS = [
    RANDOM_5,
    five("lfm", [3.0, 4.0, 5.0, 3.5, 4.5]),
    five("hfm", [-10.0, 12.0, 3.0, -2.0, 7.0]),
    five("cfm", [-3.0, -4.0, -5.0, -3.5, -4.5]),
]


def test_all_three_relations_to_random_in_words():
    """lfm: 4 ± 2.776 · 0.791 / √5. Its accuracies overlap those of random; paired, the difference is clear."""
    assert verdicts(table(CELLS)) == [
        "On photos with hard labels at IPC 1, a random choice of real images reaches 50.0 ± 1.6 % (n = 5); "
        "better: lfm (+4.0 [+3.0, +5.0]); not told apart: hfm (+2.0 [−8.5, +12.5]); "
        "worse: cfm (−4.0 [−5.0, −3.0])."
    ]


def test_coresets_are_measured_against_random_and_are_no_baseline():
    """Whatever their names, which come before random's, and after."""
    names = {"ccs": 1.0, "spectralherding": 2.0}
    cells = [five(name, [gain + step / 10 for step in FIVE], role="coreset") for name, gain in names.items()]
    for records in ([*cells, *CELLS], [*CELLS, *cells]):
        frame = table(records)
        assert list(frame.method) == ["random", "ccs", "spectralherding", "cfm", "hfm", "lfm"]
        assert row(records, "ccs")["ior"] == pytest.approx(1.2)
        assert row(records, "lfm")["ior"] == pytest.approx(4.0)
        (sentence,) = verdicts(frame)
        assert "a random choice of real images reaches 50.0" in sentence
        assert "lfm (+4.0 [+3.0, +5.0]), spectralherding (+2.2 [+2.0, +2.4]) and ccs (+1.2 [+1.0, +1.4])" in sentence


def test_relations_to_another_method_leave_random_out():
    (sentence,) = verdicts(table(CELLS), baseline="cfm", words="CFM")
    assert sentence == (
        "On photos with hard labels at IPC 1, CFM reaches 46.0 ± 0.8 % (n = 5); "
        "better: lfm (+8.0 [+6.0, +10.0]); not told apart: hfm (+6.0 [−5.2, +17.2])."
    )


def test_four_repetitions_give_no_verdict_however_far_apart():
    few = [
        record(m, seeds=[0, 1, 2, 3], role=role, accuracy={"hard": [v, v, v, v + 0.1]})
        for m, role, v in (("random", "baseline", 10.0), ("cfm", "method", 90.0), ("lfm", "method", 80.0))
    ]
    (sentence,) = verdicts(table(few))
    assert sentence.endswith("(n = 4); n = 4: no verdict on cfm and lfm.")
    assert "better" not in sentence
    assert "▲" not in overview(table(few)).to_string()


def test_an_interval_that_reaches_zero_is_no_verdict():
    """The half-width is 2.776 · s / √5: gains of mean 1 and a deviation of √5 / 2.776 = 0.8055 reach zero."""
    for stretch, word in ((0.99, "better"), (1.01, "not told apart")):
        spread = stretch * 0.80550 / math.sqrt(2.5)  # of −2 … 2
        gains = [1 + spread * step for step in (-2, -1, 0, 1, 2)]
        (sentence,) = verdicts(table([RANDOM_5, five("cfm", gains)]))
        assert f"; {word}: cfm" in sentence


def test_one_seed_has_no_interval_and_no_verdict():
    cells = ("random", "baseline", 50.0), ("cfm", "method", 60.0)
    records = [record(m, seeds=[0], role=role, accuracy={"hard": [v]}) for m, role, v in cells]
    assert verdicts(table(records)) == [
        "On photos with hard labels at IPC 1, a random choice of real images reaches 50.0 % (n = 1); "
        "n = 1: no verdict on cfm."
    ]
    assert pretty(table(records))["IOR [95 %]"].tolist() == ["–", "+10.0"]


def test_repetitions_that_are_not_paired_are_not_compared():
    other = replace(five("cfm", [9.0] * 5), seeds=[1, 2, 3, 4, 5])
    assert verdicts(table([RANDOM_5, other])) == []


def test_a_sentence_for_each_label_regime_and_ipc_that_can_be_compared():
    records = [record(), RANDOM, FULL, record("hfm", 10), replace(RANDOM, suite="cifar")]
    found = verdicts(table(records))
    assert len(found) == 2
    assert "hard labels at IPC 1," in found[0]
    assert "online soft labels at IPC 1," in found[1]
    assert verdicts(table(records), baseline="classification") == []
    assert len(verdicts(table(records), baseline="cfm")) == 0, "nothing but random beside it"


def test_the_overview_marks_what_is_told_apart_and_nothing_else():
    shown = overview(table([*CELLS, FULL, five("lfm", [0.0] * 5, suite="embedded", ipc=10)]))
    assert list(shown.index.names) == ["role", "method"]
    assert list(shown["hard, IPC 1"].items()) == [
        (("baseline", "random"), "50.0 ± 1.6"),
        (("method", "cfm"), "46.0 ± 0.8 ▼"),
        (("method", "hfm"), "52.0 ± 9.6"),
        (("method", "lfm"), "54.0 ± 2.4 ▲"),
        (("ceiling", "full"), "92.0 ± 2.0"),
    ]
    assert shown["hard, IPC 10"].tolist() == ["–", "–", "–", "50.0 ± 1.6", "92.0 ± 2.0"], "without a baseline, no mark"
    with pytest.raises(ValueError, match="several suites"):
        overview(table([RANDOM, replace(RANDOM, suite="cifar")]))


# ---------------------------------------------------------------------------------------- the best coreset

# Of mean 52, 54 and 54: of two alike the first by name is the best. Its accuracies are 52, 54, 56, 53, 55.
CORESETS = [five(name, [gain] * 5, role="coreset") for name, gain in (("ccs", 2.0), ("rest", 4.0), ("herding", 4.0))]
# Over herding: 2, 3, 4, 2.5, 3.5 (mean 3, deviation √0.625); 0.5, −0.5, 0, 0.5, −0.5; and −8, −9, −10, −8.5, −9.5.
MATCHING = [
    five("lfm", [6.0, 7.0, 8.0, 6.5, 7.5]),
    five("hfm", [4.5, 3.5, 4.0, 4.5, 3.5]),
    five("cfm", [-4.0, -5.0, -6.0, -4.5, -5.5]),
]


def test_the_best_coreset_has_the_highest_mean_and_methods_are_paired_with_it():
    records = [*MATCHING, *CORESETS, RANDOM_5]
    frame = table(records)
    assert frame[frame.best].method.tolist() == ["herding"]
    line, reach = row(records, "lfm"), 2.776445 * math.sqrt(0.625 / 5)
    assert line[["ioc", "ioc_low", "ioc_high"]].tolist() == pytest.approx([3.0, 3 - reach, 3 + reach])
    sides = dict(zip(frame.method, frame.ioc_side, strict=True))
    none = dict.fromkeys(["random", "ccs", "herding", "rest"], "")
    assert sides == none | {"lfm": "better", "hfm": "not told apart", "cfm": "worse"}
    assert frame[frame.role != "method"].ioc.isna().all(), "a coreset is measured against random alone"


@pytest.mark.parametrize(
    "other",
    [{"ipc": 10}, {"suite": "b"}, {"dataset": "digits"}, {"model": "vit"}, {"config": {"protocol": "dsa"}}],
    ids=lambda changes: next(iter(changes)),
)
def test_each_cell_has_a_best_coreset_of_its_own(other):
    better = replace(CORESETS[0], accuracy={"hard": [90.0] * 5}, **other)
    frame = table([*MATCHING, *CORESETS, better])
    assert sorted(frame[frame.best].method) == ["ccs", "herding"]
    assert frame[frame.method == "lfm"].ioc.tolist() == pytest.approx([3.0])


def test_a_coreset_of_other_seeds_is_not_compared_with():
    best = replace(CORESETS[0], seeds=[1, 2, 3, 4, 5], accuracy={"hard": [90.0] * 5})
    line = row([*MATCHING, *CORESETS, best], "lfm")
    assert math.isnan(line["ioc"])
    assert line["ioc_side"] == ""


def test_tables_for_people_show_the_best_coreset():
    frame = table([*MATCHING, *CORESETS, RANDOM_5])
    assert overview(frame)["hard, IPC 1"].tolist() == [
        "50.0 ± 1.6",
        "52.0 ± 1.6 ▲",
        "54.0 ± 1.6 ▲◆",
        "54.0 ± 1.6 ▲",
        "45.0 ± 0.8 ▼",
        "54.0 ± 1.3 ▲",
        "57.0 ± 2.4 ▲★",
    ]
    gains = pretty(frame)["over best coreset [95 %]"].droplevel(["data", "labels", "IPC"])
    assert gains[["herding", "lfm"]].tolist() == ["–", "+3.0 [+2.0, +4.0]"]
    assert "over best coreset [95 %]" not in pretty(table(CELLS)).columns


def test_who_beats_whom_in_words():
    full = five("full", [40.0] * 5, role="ceiling", ipc=None)
    assert standings(table([*MATCHING, *CORESETS, RANDOM_5, full])) == [
        "Hard labels, IPC 1: random real images reach 50.0 ± 1.6 %, the best coreset, herding, 54.0 ± 1.6 %, the "
        "highest mean of a method, lfm, 57.0 ± 2.4 %, all images 90.0 ± 1.6 %. Better than random: lfm, herding, "
        "rest, hfm and ccs (5 of 6); worse: 1. Better than the best coreset: lfm (1 of 3)."
    ]
    assert standings(table([RANDOM_5, MATCHING[2]]))[0].endswith("Better than random: none of 1; worse: 1.")
    assert standings(table([RANDOM, record()]))[0].endswith("Against random: no verdict on any of 1.")
    assert standings(table([])) == []


# ------------------------------------------------------------------------------ what repetitions have in common

CARDS = [{"hash": f"{seed}", "accuracy": 90.0} for seed in FIVE]
COMMON = {
    "a teacher": {"teachers": [CARDS[0]] * 5},
    "experts": {"teachers": CARDS, "config": {"method": {"shared": True}}},
    "one set": {"teachers": [], "config": {"set": {"method": "lfm"}}},
}


def test_what_repetitions_share_follows_from_the_record():
    assert {name: shared(five("lfm", [0.0] * 5, **changes)) for name, changes in COMMON.items()} == {
        name: name for name in COMMON
    }
    assert shared(five("lfm", [0.0] * 5, teachers=[*CARDS[:4], CARDS[0]])) == "a teacher", "two of them"
    own = {"teachers": CARDS, "config": {"method": {"shared": False}}}
    assert shared(five("lfm", [0.0] * 5, **own)) == shared(five("lfm", [0.0] * 5, teachers=[])) == ""


@pytest.mark.parametrize("what", COMMON)
def test_repetitions_that_share_something_give_no_verdict_anywhere(what):
    """lfm would be better than random and than the best coreset; hfm, of own repetitions, still is better than one."""
    common = replace(MATCHING[0], **COMMON[what])
    frame = table([common, MATCHING[1], *CORESETS, RANDOM_5])
    line = frame[frame.method == "lfm"].iloc[0]
    assert (line["ior_side"], line["ioc_side"], line["shared"]) == ("no verdict", "no verdict", what)
    assert line["ior"] == pytest.approx(7.0), "the number stays"
    assert overview(frame)["hard, IPC 1"]["method", "lfm"] == "57.0 ± 2.4"
    assert overview(frame)["hard, IPC 1"]["method", "hfm"] == "54.0 ± 1.3 ▲"
    (sentence,) = verdicts(frame)
    assert sentence.endswith(f"; no verdict: lfm (+7.0 [+6.0, +8.0], but its repetitions share {what}).")
    assert "Better than the best coreset: none of 2; no verdict: 1." in standings(frame)[0]


@pytest.mark.parametrize("what", COMMON)
def test_a_baseline_of_shared_repetitions_gives_no_verdict_on_anything(what):
    cells = [replace(RANDOM_5, **COMMON[what]), *MATCHING]
    (sentence,) = verdicts(table(cells))
    assert sentence.endswith(f"(n = 5); its repetitions share {what}: no verdict on cfm, hfm and lfm.")
    assert set(table(cells).ior_side) == {"", "no verdict"}
    (sentence,) = verdicts(table([RANDOM_5, replace(MATCHING[0], **COMMON[what]), *MATCHING[1:]]), baseline="lfm")
    assert sentence.endswith(f"its repetitions share {what}: no verdict on cfm and hfm.")


# --------------------------------------------------------------------------------------- other architectures


def test_architectures_are_columns_and_a_star_marks_the_one_a_set_was_made_with():
    values = {"convnet": [50.0, 52.0, 54.0], "convnet-instance": [45.0, 45.0, 45.0], "resnet18": [40.0, 41.0, 42.0]}
    cards = {
        "lfm": {"set": {"cell": {"model": "convnet"}}},
        "dm": {"set": {"norm": "instance", "net_width": 32, "cell": {"model": "convnet"}}},
        "random": {"set": {"cell": {"model": "convnet"}}},
        "theirs": {"set": {"import": {}}},
        "ccs": {"method": {"proxy": "resnet18"}, "cell": {"model": "convnet"}},
    }
    found = across(
        [
            record(name, model=model, config=config, accuracy={"hard": row})
            for name, config in cards.items()
            for model, row in values.items()
            if (name, model) != ("dm", "resnet18")
        ]
    )
    assert list(found.columns) == list(values)
    shown = {name: line.tolist() for (_, _, _, name), line in found.iterrows()}
    plain = ["52.0 ± 2.0", "45.0 ± 0.0", "41.0 ± 1.0"]
    assert shown["lfm"] == [f"{plain[0]} *", *plain[1:]]
    assert shown["dm"] == [plain[0], f"{plain[1]} *", "–"]
    assert shown["random"] == shown["theirs"] == plain
    assert shown["ccs"] == [*plain[:2], f"{plain[2]} *"]
    assert set(found.index.droplevel("method")) == {("photos", "hard", "1")}


def test_frepos_star_is_under_the_network_that_it_draws():
    told = {"config": {"set": {"net_width": 32, "norm": "batch"}}, "accuracy": {"hard": [50.0, 52.0, 54.0]}}
    models = ("convnet", "convnet-doubling")
    found = across([record(name, model=model, **told) for name in ("frepo", "dm") for model in models])
    starred = {line[-1]: ["*" in shown for shown in found.loc[line]] for line in found.index}
    assert starred == {"frepo": [False, True], "dm": [True, False]}


def test_the_architecture_of_a_set_may_stand_on_its_teachers_card():
    """Of a set from elsewhere, whose card names no cell."""
    built = {"name": "convnet", "width": 32, "depth": None, "norm": "instance", "pooling": "avg"}
    made = [record("theirs", model="convnet-instance", config={"set": {}}, teachers=[{"architecture": built}])]
    assert across(made).iloc[0].tolist() == ["52.0 ± 2.0 *"]
    assert len(across([])) == 0
