"""Which method to use: made records, whose answers are plain."""

import pytest

from tests.records import record
from unidd.bench import advice, tables

FIVE = [50.0, 52.0, 51.0, 49.0, 53.0]
SEEDS = list(range(5))


def of(method, by, role="method", regime="hard", ipc=1, **changes):
    """A record whose repetitions lie about `by` points above those of random."""
    values = [value + by * (1 + 0.05 * i) for i, value in enumerate(FIVE)]
    same = {"seeds": [*SEEDS], "role": role, "teachers": [], "config": {}}
    return record(method, ipc, accuracy={regime: values}, **same | changes)


def asked(*found):
    rows = tables.table(list(found))
    return advice.advice(rows, found), advice.counted(rows)


RANDOM = of("random", 0, "baseline", seconds={"distill": 0.0})


def test_the_highest_of_those_that_beat_random_is_taken():
    made = {"images": 100, "hard": 10}
    found = [of("dm", 2), of("dc", 3, seconds={"distill": 600.0}, bytes=made), of("herding", -1, "coreset")]
    table, sentences = asked(RANDOM, *found)
    (line,) = table.to_dict("records")
    assert (line["take"], line["to make"], line["stored"]) == ("dc", "2 min 0 s", "110 B")
    assert line["over random [95 %]"].startswith("+3.3 [")
    assert sentences == [
        "Hard labels: distilled sets better 2, worse 0 of 2 times (by chance alone 0.1 each); "
        "coresets better 0, worse 1 of 1 times (by chance alone 0.0 each)."
    ]
    assert line["shown better"] == "2 of 3"


@pytest.mark.parametrize("why", ["worse", "few", "wide"])
def test_random_images_are_taken_where_nothing_was_shown_to_beat_them(why):
    other = {"worse": of("dm", -2), "few": of("dm", 9), "wide": of("dm", 0)}[why]
    first = RANDOM
    if why == "few":
        for one in (other, first := of("random", 0, "baseline")):
            one.seeds[:] = SEEDS[:3]
            del one.accuracy["hard"][3:]
    if why == "wide":
        other.accuracy["hard"] = [75.0, 20.0, 80.0, 30.0, 60.0]
    table, _ = asked(first, other)
    assert list(table["take"]) == ["random"]
    assert list(table["shown better"]) == ["no verdict" if why == "few" else "0 of 1"]


def test_each_regime_and_number_of_images_is_a_line_of_its_own():
    soft = [of("random", 0, "baseline", "online-soft"), of("dm", 4, regime="online-soft")]
    table, sentences = asked(RANDOM, of("dm", -4, suite="other"), of("random", 0, "baseline", suite="other"), *soft)
    assert set(table["take"]) == {"random", "dm"}
    assert len(sentences) == 2


def test_where_nothing_was_compared_nothing_is_said():
    table, sentences = asked(RANDOM)
    assert list(table["over random [95 %]"]) == ["–"]
    assert sentences == []


def test_where_it_pays_and_where_not_is_said_of_distilled_sets_beside_random_and_the_best_coreset():
    coreset = of("herding", 1, "coreset")
    rows = tables.table([RANDOM, coreset, of("dm", 4), of("dc", -2)])
    (line,) = advice.where(rows).to_dict("records")
    assert line["random (%)"] == "51.0 ± 1.6"
    assert line["best coreset (%)"].startswith("herding 52.1")
    assert line["best distilled (%)"].startswith("dm 55.4")
    assert line["over random [95 %]"].startswith("+4.4 [")
    assert line["over best coreset [95 %]"].startswith("+3.3 [")
    assert (line["better than random"], line["pays"], line["n"]) == ("1 of 2", "yes", 5)
    assert advice.pays(rows) == ["**Shown to pay**: photos, hard labels, IPC 1 (dm; 1 of 2)."]


def test_better_than_random_alone_does_not_pay():
    rows = tables.table([RANDOM, of("herding", 4, "coreset"), of("dm", 2)])
    assert advice.pays(rows) == ["**Not shown to pay**, of the places with a verdict: 1."]
    assert list(advice.where(rows)["pays"]) == ["not shown"]
    alone = tables.table([RANDOM, of("dm", 2)])
    assert advice.pays(alone) == ["**Not decided**, for want of repetitions or of coresets: 1."]
    (line,) = advice.where(alone).to_dict("records")
    assert line["pays"] == "–"
    assert line["best coreset (%)"] == line["over best coreset [95 %]"] == "–"
    assert advice.where(tables.table([RANDOM])).empty


def test_suites_are_one_line_and_what_stands_beside_a_set_is_of_its_own_suite():
    first = [RANDOM, of("herding", 1, "coreset"), of("dm", 4)]
    second = [of(name, by, role, suite="other") for name, by, role in (("random", 2, "baseline"), ("lfm", 9, "method"))]
    (line,) = advice.where(tables.table([*first, *second])).to_dict("records")
    assert line["better than random"] == "2 of 2"
    assert line["best distilled (%)"].startswith("dm 55.4"), "beside a coreset first"
    assert (line["best coreset (%)"], line["random (%)"]) == ("herding 52.1 ± 1.6", "51.0 ± 1.6")
    table, _ = asked(*first, *second)
    assert list(table["take"]) == ["lfm"]
    bare = [of(name, by, role, suite="bare") for name, by, role in (("random", 0, "baseline"), ("lfm", 9, "method"))]
    (line,) = advice.where(tables.table([*bare, *second])).to_dict("records")
    assert (line["best coreset (%)"], line["random (%)"]) == ("–", "51.0 ± 1.6")
    assert line["over random [95 %]"].startswith("+9.9")


def test_of_many_coresets_the_best_is_shown_and_their_number():
    second = [of("herding", 1, "coreset"), of("easiest", 2, "coreset"), of("kcenter", 0.5, "coreset")]
    (line,) = advice.where(tables.table([RANDOM, *second, of("dm", 4)])).to_dict("records")
    assert line["best coreset (%)"] == "easiest 53.2 ± 1.6 (of 3)"


def test_random_images_are_those_of_the_suite_that_decides_most():
    few = [of(name, by, role, suite="few") for name, by, role in (("random", 0, "baseline"), ("dsa", 30, "method"))]
    for one in few:
        del one.seeds[3:], one.accuracy["hard"][3:]
    table, _ = asked(*few, of("random", -2, "baseline", suite="whole"), of("dm", -4, suite="whole"))
    assert list(table["accuracy (%)"]) == ["48.8 ± 1.5"]


def test_what_is_the_same_set_by_two_names_or_in_two_suites_counts_once():
    two = [of("cfm", 4), of("hfm", 4), of("cfm", 4, suite="other"), of("random", 0, "baseline", suite="other")]
    rows = tables.table([RANDOM, of("herding", 1, "coreset"), *two])
    assert [row["method"] for row in advice.distinct(*advice.places(rows))] == ["cfm"]
    assert "better 1, worse 0 of 1 times" in advice.counted(rows)[0]
    (line,) = advice.where(rows).to_dict("records")
    assert line["better than random"] == "1 of 1"


def test_what_is_taken_is_one_of_those_that_are_counted():
    """In a suite with a coreset it was not told apart; in a bare one it was."""
    wide = of("dm", 0)
    wide.accuracy["hard"] = [75.0, 20.0, 80.0, 30.0, 60.0]
    bare = [of("random", 0, "baseline", suite="bare"), of("dm", 9, suite="bare")]
    table, sentences = asked(RANDOM, of("herding", 1, "coreset"), wide, *bare)
    assert list(table["take"]) == ["herding"]
    assert list(table["shown better"]) == ["1 of 2"]
    assert sentences[0].startswith("Hard labels: distilled sets better 0, worse 0 of 1 times")


def test_a_set_that_pays_is_shown_before_one_that_does_not_beside_more_coresets():
    many = [RANDOM, of("herding", 1, "coreset"), of("easiest", 1.5, "coreset"), of("dm", 0.01)]
    few = [of("random", -9, "baseline", suite="few"), of("herding", -8, "coreset", suite="few")]
    (line,) = advice.where(tables.table([*many, *few, of("pool", -3, suite="few")])).to_dict("records")
    assert line["pays"] == "yes"
    assert line["best distilled (%)"].startswith("pool")


def test_a_goal_may_be_met_by_a_set_of_a_lower_mean_in_another_suite():
    same = {"dataset": "cifar10-mini", "regime": "fixed-soft", "ipc": 10}
    rows = [of("random", 0, "baseline", **same), of("dm", 2, **same)]
    rows += [of("random", -9, "baseline", suite="low", **same), of("pool", -4, suite="low", **same)]
    line = advice.goals(tables.table(rows)).loc[("cifar10-mini", "fixed soft", "random")]
    assert (line["met"], line["best distilled"]) == ("yes", "pool")


@pytest.mark.parametrize(
    ("by", "n", "met"), [(9, 5, "yes"), (4, 5, "no"), (-9, 5, "no"), (9, 3, "no verdict")], ids=str
)
def test_a_goal_is_met_by_what_was_shown_and_is_enough(by, n, met):
    config = {"cell": {"protocol": "dsa"}}
    made = [("random", 0, "baseline"), ("herding", 1, "coreset"), ("pool", by, "method"), ("dm", -20, "method")]
    found = [of(name, gain, role, ipc=10, dataset="fashion-mnist", config=config) for name, gain, role in made]
    for one in found:
        del one.seeds[n:], one.accuracy["hard"][n:]
    table = advice.goals(tables.table(found))
    assert len(table) == len(advice.GOALS)
    line = table.loc[("fashion-mnist", "hard (dsa)", "random")]
    assert (line["goal"], line["met"]) == ("+5", met)
    assert line["best distilled"] == ("pool" if n == 5 else "–")
    assert table.loc[("photos", "online soft", "random"), "met"] == "no verdict"


def test_a_set_with_a_verdict_comes_before_a_higher_one_without():
    few = [of(name, by, role, suite="few") for name, by, role in (("random", 0, "baseline"), ("dsa", 30, "method"))]
    for one in few:
        del one.seeds[3:], one.accuracy["hard"][3:]
    (line,) = advice.where(tables.table([RANDOM, of("dm", 4), *few])).to_dict("records")
    assert line["best distilled (%)"].startswith("dm")
    assert line["better than random"] == "1 of 1", "of those with a verdict"


def test_lines_of_one_data_set_stand_together_and_other_students_are_named():
    other = [
        of(name, by, role, model="resnet18") for name, by, role in (("random", 0, "baseline"), ("dm", 5, "method"))
    ]
    far = [of(name, by, role, dataset="digits") for name, by, role in (("random", 0, "baseline"), ("dm", 5, "method"))]
    found = advice.where(tables.table([*other, *far, RANDOM, of("dm", 4)]))
    assert list(found.index) == [("digits", "hard", "1"), ("photos", "hard", "1"), ("photos", "hard, resnet18", "1")]
