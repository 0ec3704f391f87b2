"""Sentences that follow from the numbers of an audit, each with the number that says how to take it."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from .machine import size
from .words import regime_words, signed

_SPACES = {"pixels": "In pixels", "features": "In the teacher's features"}


def verdicts(found: dict) -> list[str]:
    """Return the sentences, in the order of the page; what was not measured has none."""
    sentences = [*_size(found), *_copies(found), *_near(found), *_look(found), *_spread(found), *_spectrum(found)]
    return [*sentences, *_taught(found), *_accuracy(found)]


def percent(share: float) -> str:
    """Return a share in words.

    >>> percent(0.8312), percent(0.0312), percent(0.00004), percent(0), percent(1)
    ('83 %', '3.1 %', 'under 0.1 %', '0 %', '100 %')
    """
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return f"{100 * share:.{1 if 0 < share < 0.0995 else 0}f} %"


def several(count: int, thing: str) -> str:
    """Return a count and its noun.

    >>> several(1, "image"), several(3, "image"), several(2, "class")
    ('1 image', '3 images', '2 classes')
    """
    return f"{count:,} {thing}{'' if count == 1 else 'es' if thing.endswith('s') else 's'}"


def within(value: float, others: Sequence[float]) -> str:
    """Return where a value lies among those of random sets.

    >>> within(1, [2, 3]), within(2.5, [2, 3]), within(4, [2, 3])
    ('less than', 'as much as', 'more than')
    """
    return "less than" if value < min(others) else "more than" if value > max(others) else "as much as"


def _size(found: dict) -> list[str]:
    what, classes, taken = found["set"], found["classes"], found["bytes"]
    each = f"{classes['smallest']} each" if classes["equal"] else "not as many of each"
    shape = " × ".join(map(str, what["shape"]))
    sentences = [
        f"The set has {several(what['images'], 'image')} of {what['classes']} classes, {each}, of {shape} values."
    ]
    if classes["missing"]:
        names = ", ".join(classes["missing"][:5]) + (", …" if len(classes["missing"]) > 5 else "")
        sentences.append(
            f"{several(len(classes['missing']), 'class')} of these {_have(classes['missing'])} no image: {names}."
        )
    elif not classes["equal"]:
        sentences.append(f"Its classes have between {classes['smallest']} and {classes['largest']} images.")
    images, labels = taken["images"], taken["labels"]
    soft = labels["fixed-soft"] / images["8-bit"] * what["images"]
    stored = "Its stored soft labels take" if taken["soft labels stored"] else "Soft labels, if it had any, would take"
    sentences.append(
        f"The images take {size(images['float32'])} as 32-bit numbers and {size(images['8-bit'])} at 8 bits. "
        f"{stored} {size(labels['fixed-soft'])}, as much as {soft:,.1f} more 8-bit images."
    )
    return sentences


def _have(names: list) -> str:
    return "has" if len(names) == 1 else "have"


def _copies(found: dict) -> list[str]:
    copies, n = found["duplicates"], found["set"]["images"]
    sentences = [] if copies["inside"] else ["No image of the set repeats another, pixel by pixel at 8 bits."]
    if copies["inside"]:
        mixed = copies["of several classes"]
        more = (
            f"; {several(mixed, 'picture')} {'stands' if mixed == 1 else 'stand'} in several classes" if mixed else ""
        )
        sentences.append(f"{_of(copies['inside'], n)} repeat another image of the set, pixel by pixel{more}.")
    if "of training images" in copies:
        count, wrong = copies["of training images"], copies["of those, with another label"]
        more = f", {wrong} of them with another label" if wrong else ""
        sentences.append(f"{_of(count, n)} {_is(count)} training images, pixel by pixel at 8 bits{more}.")
    if copies.get("of test images"):
        count = copies["of test images"]
        sentences.append(f"{several(count, 'test image')} {_is(count)} in the set: its accuracies cannot be trusted.")
    return sentences


def _of(count: int, n: int) -> str:
    return f"{'None' if not count else 'All' if count == n else f'{count:,}'} of its {n:,} images"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _near(found: dict) -> list[str]:
    sentences = []
    for space, line in found.get("nearest", {}).get("spaces", {}).items():
        n = found["nearest"]["looked at"]
        sentences.append(
            f"{_SPACES[space]}, {line['near']} of the {n:,} images looked at lie nearer to a training image than 99 of "
            f"100 test images do, copies aside; {n / 100:.3g} would by chance."
        )
    return sentences


def _look(found: dict) -> list[str]:
    pixels, radial, sentences = found["pixels"], found["radial"], []
    ours = pixels["set"]["at 0"] + pixels["set"]["at 1"]
    beside = f", of real images {percent(pixels['real']['at 0'] + pixels['real']['at 1'])}" if "real" in pixels else ""
    sentences.append(f"{percent(ours)} of its pixel values lie at an end of the range, black or full{beside}.")
    cut = found["set"]["import"].get("cut off", {}).get("share")
    if cut:
        sentences.append(f"When it was imported, {percent(cut)} of its pixel values lay outside and were cut off.")
    if pixels["set"]["constant images"]:
        sentences.append(
            f"{_of(pixels['set']['constant images'], found['set']['images'])} are of one colour throughout."
        )
    if radial["set"]:
        beside = f", of real images {percent(radial['real']['fine'])}" if radial.get("real") else ""
        sentences.append(f"Detail finer than 4 pixels holds {percent(radial['set']['fine'])} of its power{beside}.")
    return sentences


def _spread(found: dict) -> list[str]:
    sentences = []
    for space, parts in found["diversity"].items():
        ours, random = parts["set"]["diversity"], [x for x in parts.get("random", []) if x is not None]
        if ours is None:
            sentences.append("With one image a class there is no diversity within classes to measure.")
            break
        if random:
            spread = f" ± {stdev(random):.2f}" if len(random) > 1 else ""
            sentences.append(
                f"{_SPACES[space]}, images of a class differ by {ours:.2f} (1 − cosine), {within(ours, random)} random "
                f"real images: {mean(random):.2f}{spread}."
            )
        else:
            sentences.append(f"{_SPACES[space]}, images of a class differ by {ours:.2f} (1 − cosine).")
    return sentences


def _spectrum(found: dict) -> list[str]:
    layers = found.get("layers")
    if not layers:
        return []
    ours, random = (
        mean(values) for values in zip(*((x["coverage"], x["random coverage"]["mean"]) for x in layers), strict=True)
    )
    sentences = [
        f"It covers {percent(ours)} of the real spectrum of features, a mean over {several(len(layers), 'layer')}; "
        f"as many random real images cover {percent(random)}."
    ]
    banded = [x for x in layers if len(x["bands"]) > 1]
    if banded:
        low, high = (mean(x["bands"][i] for x in banded) for i in (0, -1))
        chance = mean(x["random bands"][-1] for x in banded)
        sentences.append(
            f"Of the low frequencies it covers {percent(low)}, of the high ones {percent(high)} (random real: "
            f"{percent(chance)})."
        )
    beyond, chance = mean(x["excess"] for x in layers), mean(x["random excess"] for x in layers)
    if beyond > max(0.5, 2 * chance):
        sentences.append(
            f"Beyond the real power it has another {beyond:.2g} times as much, a mean over directions (random real: "
            f"{chance:.1g})."
        )
    return sentences


def _taught(found: dict) -> list[str]:
    teacher = found.get("teacher")
    if not teacher:
        return []
    known = f"; of the real test images it gets {teacher['accuracy']:.1f} %" if teacher["accuracy"] is not None else ""
    sentences = [f"The teacher gives {teacher['agrees']:.0f} % of its images the class they are labelled with{known}."]
    if teacher["the set's own"] is False:
        sentences.append(
            "That is another teacher than the set was made with: numbers in its features are not the maker's."
        )
    return sentences


def _accuracy(found: dict) -> list[str]:
    if "accuracy" not in found:
        return []
    measured, sentences = found["accuracy"], []
    for regime, values in measured["regimes"].items():
        ours, random = values["set"], values["random"]
        gain: dict[str, Any] = measured["scores"][regime]["IOR"]
        side = "without error bars" if gain["spread"] is None else _beyond(gain["mean"], gain["spread"])
        sentences.append(
            f"With {regime_words(regime)} students reach {accuracy(ours)}, on as many random real images "
            f"{accuracy(random)}: {signed(gain['mean'])} points, {side} (n = {len(ours)})."
        )
    hlr = measured["scores"]["hard"]["HLR"]["mean"]
    sentences.append(
        f"With hard labels the full data reach {accuracy(measured['full'])}, {hlr:.1f} points above the set."
    )
    return sentences


def _beyond(gain: float, spread: float) -> str:
    side = "outside" if abs(gain) > spread else "within"
    return f"{side} one standard deviation of the paired differences, {spread:.1f}"


def accuracy(values: Sequence[float]) -> str:
    """Return accuracies in % as their mean and spread.

    >>> accuracy([50.0, 52.0]), accuracy([50.0])
    ('51.0 ± 1.4 %', '50.0 %')
    """
    return f"{mean(values):.1f}{f' ± {stdev(values):.1f}' if len(values) > 1 else ''} %"
