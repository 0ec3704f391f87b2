"""What a result record must be: `results/schema.json`, and every way in which a record is not so.

Source: JSON Schema, draft 2020-12, of which only those words are understood here that this schema has.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .records import published

_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a record.

    Raises:
        FileNotFoundError: it did not come with this installation.
    """
    return json.loads(published("schema.json").read_text())


def faults(record: Any) -> list[str]:
    """Return what is wrong with a record, given as its JSON has it: a sentence each, which begins with the field.

    Beside the schema: as many accuracies and teachers as seeds, and a teacher where soft labels came from one.

    >>> faults({**dict.fromkeys(schema()["required"]), "schema": 2})[0]
    'suite must be a string, not null'
    """
    return list(_faults(record, schema(), "")) or list(_counts(record))


def read(path: str | Path) -> dict[str, Any]:
    """Return the fields of a record that has no fault.

    Raises:
        ValueError: it has some; the message has them all.
    """
    try:
        found = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a result record: {error}") from None
    if wrong := faults(found):
        raise ValueError(f"{path}: {'; '.join(wrong)}")
    return found


def _counts(record: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say."""
    seeds, teachers = len(record["seeds"]), len(record["teachers"])
    for regime, values in record["accuracy"].items():
        if len(values) != seeds:
            yield f"accuracy.{regime} must have an entry for each of the {seeds} seeds, not {len(values)}"
    if teachers not in (0, seeds):
        yield f"teachers must be none or one for each of the {seeds} seeds, not {teachers}"
    if "online-soft" in record["accuracy"] and not teachers:
        yield "teachers must have the cards of those whose labels accuracy.online-soft is under"


def _faults(value: Any, rules: Mapping[str, Any], place: str) -> Iterator[str]:
    """What is wrong with a part of a record; of one that has the wrong type nothing else is said."""
    here = place or "the record"
    kinds = [rules["type"]] if isinstance(rules.get("type"), str) else rules.get("type", [])
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{here} must be {' or '.join(map(_named, kinds))}, not {_shown(value)}"
    elif "const" in rules and (isinstance(value, bool) or value != rules["const"]):
        yield f"{here} must be {_shown(rules['const'])}, not {_shown(value)}"
    elif "enum" in rules and value not in rules["enum"]:
        yield f"{here} must be one of {', '.join(rules['enum'])}, not {_shown(value)}"
    elif isinstance(value, dict):
        yield from _of_object(value, rules, place)
    elif isinstance(value, list):
        yield from _of_array(value, rules, here)
    elif isinstance(value, str):
        if len(value) < rules.get("minLength", 0) or not re.search(rules.get("pattern", ""), value):
            wanted = f"like {rules['pattern']}" if "pattern" in rules else "filled in"
            yield f"{here} must be {wanted}, not {_shown(value)}"
    elif isinstance(value, int | float):
        low, high = rules.get("minimum"), rules.get("maximum")
        if not (low is None or value >= low) or not (high is None or value <= high):
            ends = f"from {low}" + (f" to {high}" if high is not None else "")
            yield f"{here} must be {ends}, not {_shown(value)}"


def _of_object(value: dict[str, Any], rules: Mapping[str, Any], place: str) -> Iterator[str]:
    inside, known = f"{place}." if place else "", rules.get("properties", {})
    other, names = rules.get("additionalProperties", True), rules.get("propertyNames", {}).get("enum")
    for name in rules.get("required", ()):
        if name not in value:
            yield f"{inside}{name} is missing"
    if len(value) < rules.get("minProperties", 0):
        yield f"{place} is empty: it needs one of {', '.join(names)}" if names else f"{place} is empty"
    for name, part in value.items():
        if (names and name not in names) or (name not in known and other is False):
            yield f"{inside}{name} is not known: there are {', '.join(names or known)}"
        elif name in known or isinstance(other, dict):
            yield from _faults(part, known.get(name, other), f"{inside}{name}")


def _of_array(value: list[Any], rules: Mapping[str, Any], here: str) -> Iterator[str]:
    if len(value) < rules.get("minItems", 0):
        yield f"{here} is empty"
    if rules.get("uniqueItems") and len({json.dumps(item) for item in value}) < len(value):
        yield f"{here} has an entry twice: {_shown(value)}"
    for i, item in enumerate(value):
        yield from _faults(item, rules.get("items", {}), f"{here}[{i}]")


def _is(value: Any, kind: str) -> bool:
    whole = kind != "integer" or not isinstance(value, float)
    return whole and isinstance(value, _TYPES[kind]) and not isinstance(value, bool)


def _named(kind: str) -> str:
    return {"null": "null", "integer": "a whole number", "array": "a list", "object": "an object"}.get(
        kind, f"a {kind}"
    )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
