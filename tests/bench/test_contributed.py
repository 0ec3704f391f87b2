"""Records of others: what is wrong is named, and a claim that one more student does not bear out is refused."""

import copy
import json
import math
import statistics
from dataclasses import asdict, fields
from pathlib import Path

import jsonschema
import pytest
from records import record
from toys import teacher

from unidd.bench import contributed
from unidd.bench.cell import BUDGETS, Cell, evaluate, run, set_record
from unidd.bench.contributed import Claim, borne_out, disagreements, expected, of_folder
from unidd.bench.records import SCHEMA, Record, load_records, published, stored_bytes
from unidd.bench.schema import faults, read, schema
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.networks.evaluation import REGIMES

ROOT = Path(__file__).resolve().parents[2]
RECORDS = sorted(path for path in (ROOT / "results").rglob("*.json") if "studies" not in path.parts)
RECORDS.remove(ROOT / "results" / "schema.json")
PROVENANCE = {"date": "2026-01-31", "device": "cpu (x)", "torch": "2.15.0", "unidd": "0.2.0"}
BY = {"by": "A. Name", "url": "https://example.org/set.zip", "cite": "doi:10.1/2"}
GOOD = asdict(record(provenance=PROVENANCE, bytes={"images": 30720, "hard": 10}))


# ---- the schema


def test_the_schema_is_that_of_the_dataclass():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert set(schema()["properties"]) == {f.name for f in fields(Record)}
    assert schema()["properties"]["schema"] == {"const": SCHEMA}
    assert schema()["properties"]["accuracy"]["propertyNames"]["enum"] == list(REGIMES)
    assert set(schema()["properties"]) - set(schema()["required"]) == {"seconds", "bytes", "memory", "code"}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_published_record_is_one(path):
    found = json.loads(path.read_text())
    assert faults(found) == []
    jsonschema.validate(found, schema())


def test_contributed_records_have_a_folder_of_their_suite_and_say_where_they_come_from():
    folders = [path.parent for path in RECORDS if "contributed" in path.parts]
    for found, folder in zip(load_records(published() / "contributed"), folders, strict=True):
        assert found.suite == folder.name
        assert found.provenance["contributed"]
        assert found.bytes


BAD = {
    "schema must be 3, not 4": {"schema": 4},
    "suite is missing": {"suite": ...},
    "accuracy is empty: it needs one of hard, fixed-soft, online-soft": {"accuracy": {}},
    "accuracy.soft is not known: there are hard, fixed-soft, online-soft": {"accuracy": {"soft": [1.0, 2.0, 3.0]}},
    "accuracy.hard[1] must be from 0 to 100, not 152.0": {"accuracy": {"hard": [50.0, 152.0, 3.0]}},
    "accuracy.hard[0] must be a number, not null": {"accuracy": {"hard": [None, 2.0, 3.0]}},
    "ipc must be from 1, not 0": {"ipc": 0},
    'ipc must be a whole number or null, not "1"': {"ipc": "1"},
    "ipc must be a whole number or null, not true": {"ipc": True},
    "seeds has an entry twice: [0, 1, 1]": {"seeds": [0, 1, 1]},
    'role must be one of method, coreset, baseline, ceiling, not "best"': {"role": "best"},
    "bytes.images must be from 1, not 0": {"bytes": {"images": 0}},
    'seconds must be an object, not "3"': {"seconds": "3"},
    'method must be filled in, not ""': {"method": ""},
    "more is not known: there are": {"more": 1},
    "teachers[0].accuracy is missing": {"teachers": [{}, *GOOD["teachers"][1:]]},
    "provenance.device is missing": {"provenance": PROVENANCE | {"device": ...}},
    "provenance.date must be like ^[0-9]{4}-": {"provenance": PROVENANCE | {"date": "31.1.2026"}},
    "provenance.contributed.sha256 is missing": {"provenance": PROVENANCE | {"contributed": BY}},
    "provenance.contributed.url must be like ^https://": {
        "provenance": PROVENANCE | {"contributed": BY | {"url": "http://example.org", "sha256": 64 * "a"}}
    },
}


def without_dots(value):
    return {k: without_dots(v) for k, v in value.items() if v is not ...} if isinstance(value, dict) else value


@pytest.mark.parametrize("message", BAD)
def test_a_fault_is_one_sentence_that_begins_with_the_field(message):
    wrong = without_dots(GOOD | BAD[message])
    (said,) = faults(wrong)
    assert said.startswith(message)
    assert not jsonschema.Draft202012Validator(schema()).is_valid(wrong)


def test_what_a_schema_cannot_say_is_said_too():
    assert faults(GOOD) == []
    assert faults(GOOD | {"accuracy": {"hard": [1.0, 2.0]}}) == [
        "accuracy.hard must have an entry for each of the 3 seeds, not 2"
    ]
    assert faults(GOOD | {"teachers": GOOD["teachers"][:2]}) == [
        "teachers must be none or one for each of the 3 seeds, not 2"
    ]
    assert faults(GOOD | {"teachers": []}) == [
        "teachers must have the cards of those whose labels accuracy.online-soft is under"
    ]
    assert faults([]) == ["the record must be an object, not []"]
    (said,) = faults(GOOD | {"accuracy": {"hard": [math.nan, 1.0, 2.0]}})
    assert said == "accuracy.hard[0] must be from 0 to 100, not NaN"


def test_all_faults_of_a_file_stand_in_one_message(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(GOOD | {"schema": 2, "ipc": 0}))
    with pytest.raises(ValueError, match=r"one\.json: ipc must be from 1, not 0; schema must be 3, not 2"):
        read(tmp_path / "one.json")
    (tmp_path / "two.json").write_text("{")
    with pytest.raises(ValueError, match=r"two\.json is not a result record"):
        read(tmp_path / "two.json")


# ---- one more student


def test_what_is_expected_of_one_more_repetition_is_the_interval_by_hand():
    values = [61.0, 58.5, 63.0, 60.0, 57.5]
    reach = 2.7764451 * statistics.stdev(values) * math.sqrt(1 + 1 / 5)  # t of four degrees of freedom
    assert expected(values) == pytest.approx((60.0 - reach, 60.0 + reach), rel=1e-7)
    assert expected([50.0]) == (45.0, 55.0)
    assert expected([2.0]) == (0.0, 7.0)
    assert expected([90.0, 96.0])[1] == 100.0
    assert expected([50.0, 50.0, 50.0]) == (49.0, 51.0), "at least a point: machines round otherwise"


def test_a_claim_says_what_it_is_of():
    one, several = Claim("hard", [50.0], 45.0, 55.0, 56.0), Claim("hard", [50.0, 52.0], 32.0, 70.0, 56.0)
    assert (one.holds, several.holds) == (False, True)
    assert "outside 45.0 … 55.0 % (± 5 points, as one repetition has no spread)" in str(one)
    assert str(several).startswith("accuracy.hard: one more student reaches 56.0 %, within 32.0 … 70.0 %")
    assert str(several).endswith("the record says 51.0 ± 1.4 % (n = 2)")


# ---- a record and its set, by the command line


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of digits that `unidd` distilled and evaluated, with a record that is ready to be contributed."""
    data = load("digits")
    cell = Cell.of("random", dataset="digits", ipc=2, budget="smoke", seeds=(0,))
    synthetic = cell.distill(0, data)
    regimes, seeds = ("hard", "online-soft"), [0, 1, 2]
    found = evaluate(synthetic, data, regimes=regimes, seeds=seeds, budget="smoke", progress=False)
    teacher = {"accuracy": 50.0, "hash": "abc"}
    of = asdict(set_record(synthetic, data, "random", "convnet", "smoke", seeds, found, teacher))
    by = BY | {"sha256": synthetic.sha256}
    of |= {"suite": "aname", "role": "baseline", "provenance": of["provenance"] | {"contributed": by}}
    return synthetic, data, of


@pytest.fixture
def folder(made, tmp_path):
    """Writes the set, and beside it the record with some changes."""

    def write(**changes) -> Path:
        made[0].save(tmp_path / "set")
        (tmp_path / "set" / "record.json").write_text(json.dumps(copy.deepcopy(made[2]) | changes))
        return tmp_path / "set"

    return write


def test_a_good_record_agrees_and_is_borne_out(made, folder, run_unidd):
    code, out, err = run_unidd("check-record", folder(), "--seed", "1")
    assert (code, err) == (0, "")
    *claims, last = out.splitlines()
    assert [line.split(":")[0] for line in claims] == ["accuracy.hard", "accuracy.online-soft"]
    assert all("within" in line for line in claims)
    assert last == "the record agrees with its set; next: put it under results/contributed/aname/"
    reached = [f"reaches {values[1]:.1f} %" for values in made[2]["accuracy"].values()]
    assert all(words in line for words, line in zip(reached, claims, strict=True)), "the student of that seed"


def test_the_student_is_one_that_the_record_does_not_have(made, monkeypatch):
    synthetic, data, of = made
    asked = []
    monkeypatch.setattr(contributed, "evaluate", lambda *_, **how: asked.append(how) or {"hard": [1.0]})
    hard = Record(**of | {"accuracy": {"hard": [0.0, 0.5, 1.0]}})
    assert [claim.reached for claim in borne_out(hard, synthetic, data)] == [1.0]
    wanted = {"model": "convnet", "budget": "smoke", "protocol": "unidd", "regimes": ["hard"], "seeds": [3]}
    assert asked == [wanted | {"teacher": None}]


CLAIMS = {
    "accuracy.hard: one more student reaches": {"accuracy": {"hard": [98.0, 99.0, 98.5]}},
    "one repetition has no spread": {"accuracy": {"hard": [95.0]}, "seeds": [0], "teachers": []},
}


@pytest.mark.parametrize("message", CLAIMS)
def test_a_claim_that_one_more_student_contradicts_is_refused(message, folder, run_unidd):
    code, out, err = run_unidd("check-record", folder(**CLAIMS[message]))
    assert (code, out) == (2, "")
    assert message in err
    assert "outside" in err
    assert "try another --seed" in err


WRONG = {
    "schema must be 3, not 2": {"schema": 2},
    "accuracy is empty": {"accuracy": {}},
    "accuracy.hard[0] must be from 0 to 100, not 140.0": {"accuracy": {"hard": [140.0, 2.0, 3.0]}},
    "bytes.images must be 1280, which the set takes, not 1281": {"bytes": {"images": 1281, "hard": 20}},
    "bytes.images is missing": {"bytes": {}},
    "method must be 'random', as of the set, not 'cfm'": {"method": "cfm", "role": "method"},
    "role must be 'baseline', as of the set, not 'method'": {"role": "method"},
    "ipc must be 2, as of the set, not 1": {"ipc": 1},
    "dataset must be 'digits', as of the set, not 'photos'": {"dataset": "photos"},
    "suite must be a name of your own, not 'digits'": {"suite": "digits"},
    "provenance.contributed is missing": {"provenance": PROVENANCE},
    "provenance.contributed.sha256 must be": {
        "provenance": PROVENANCE | {"contributed": BY | {"sha256": 64 * "0"}},
    },
    f"config.budget must be one of {', '.join(BUDGETS)}, not ''": {"config": {"student": {}}},
    "config.student is missing": {"config": {"budget": "smoke"}},
    "config.student.epochs must be 2, as under the budget 'smoke', not 500": {"config": {"budget": "smoke"}},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_record_that_is_wrong_is_refused_before_a_student_is_trained(message, made, folder, run_unidd, monkeypatch):
    monkeypatch.setattr("unidd.cli.borne_out", lambda *_: pytest.fail("a student was trained"))
    changes = copy.deepcopy(WRONG[message])
    if "epochs" in message:
        changes["config"]["student"] = made[2]["config"]["student"] | {"epochs": 500}
    code, out, err = run_unidd("check-record", folder(**changes))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("unidd: error") == 1


def test_a_record_under_a_published_protocol_agrees_with_its_set(made):
    synthetic, data, of = made
    theirs = asdict(set_record(synthetic, data, "random", "convnet", "smoke", [0], {"hard": [50.0]}, {}, "dsa"))
    mine = {name: of[name] for name in ("suite", "role", "provenance")}
    assert disagreements(Record(**theirs | mine), synthetic, data) == []
    plain = theirs["config"] | {"protocol": "unidd"}
    said = disagreements(Record(**theirs | mine | {"config": plain}), synthetic, data)
    assert said
    assert all(one.startswith("config.student.") for one in said)


def test_a_record_of_the_batch_agrees_with_the_set_of_its_last_repetition(made, tmp_path):
    data = made[1]
    cell = Cell.of("random", dataset="digits", ipc=1, budget="smoke", seeds=(0, 1), regimes=["hard"])
    ran = asdict(run(cell, data, sets=tmp_path / "set"))
    synthetic = SyntheticSet.load(tmp_path / "set")
    by = ran["provenance"] | {"contributed": BY | {"sha256": synthetic.sha256}}
    found = Record(**ran | {"suite": "aname", "provenance": by})
    assert disagreements(found, synthetic, data) == []
    (claim,) = borne_out(found, synthetic, data, progress=False)
    assert (claim.regime, claim.values) == ("hard", found.accuracy["hard"])


def test_a_folder_must_have_one_record_beside_the_card(made, folder, tmp_path):
    there = folder()
    assert of_folder(there).suite == "aname"
    (there / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not other\.json, record\.json"):
        of_folder(there)
    made[0].save(tmp_path / "bare")
    with pytest.raises(ValueError, match=r"one record beside the set's card\.json, as record\.json, not none"):
        of_folder(tmp_path / "bare")


def test_bytes_of_a_teacher_are_counted_where_it_is_there(made):
    synthetic, data, of = made
    network = teacher()
    count = stored_bytes(synthetic.images, data.classes, network.model)["online-soft"]
    for number, faults_found in ((count, 0), (count + 4, 1)):
        claimed = Record(**of | {"bytes": of["bytes"] | {"online-soft": number}})
        assert len(disagreements(claimed, synthetic, data, network)) == faults_found
        assert disagreements(claimed, synthetic, data) == []


def test_a_set_of_other_images_is_refused(made):
    synthetic, data, of = made
    other = SyntheticSet(
        synthetic.images[:, :, :6, :6].contiguous(), synthetic.labels, data.class_names, data.mean, data.std
    )
    with pytest.raises(ValueError, match="images are"):
        disagreements(Record(**of), other, data)
