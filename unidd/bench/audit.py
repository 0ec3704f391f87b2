"""What is in a set, whoever made it: every number of an audit, and the sentences that follow from them.

`audit` gives a dictionary that is written as JSON and from which `unidd.book.report` draws a page. Where the data set
or a teacher is not there, "missing" says which parts are wanting for it; all others are there. Page: "Audit of a set".
"""

import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from ..core.frozen import frozen
from ..core.spectra import (
    consistency,
    coverage,
    excess,
    high_frequency_share,
    normalised_power,
    relative_power,
    spectrum,
)
from ..core.statistics import real_statistics
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..engine.parallel import Ranks
from ..engine.realside import real_batch, real_side
from ..networks.evaluation import stored_kind, teacher_logits
from ..networks.models import tapped_layers
from ..networks.training import Teacher
from .audit_words import verdicts
from .likeness import SPACES, among_real, digests, features
from .records import provenance, stored_bytes
from .scores import accuracies, matched, scores

SCHEMA = 1
LOOKED_AT = 1000  # images of the set, at most, whose nearest real image is looked for
HELD_OUT = 500  # test images, at most, that say how near real images are to each other
SAMPLE = 2000  # random training images, at most, that say what pixels of real images are like
BANDS = 4
DATA, TEACHER = "--dataset", "unidd teach or --teacher"


def audit(
    synthetic: SyntheticSet,
    data: ImageData | None = None,
    teacher: Teacher | None = None,
    *,
    accuracy: dict[str, Any] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    stored: int | None = None,
    progress: bool = False,
) -> dict:
    """Return all that can be said of a set, plain values that JSON takes; a number that does not exist is None.

    Args:
        data: what it was made from; without, the set is not compared with real images.
        teacher: without, nothing is said of features.
        accuracy: model and budget of students; None trains none.
        seeds: of the random real images it is compared with, and of the students.
        stored: bytes of the set's files.
    Raises:
        ValueError: the set does not fit the data or the teacher, or accuracies are asked for without them.
    """
    if accuracy is not None and (data is None or teacher is None):
        raise ValueError("accuracies need " + ("a teacher" if data else f"the data set: say {DATA}"))
    began = time.perf_counter()
    network = teacher.model if teacher and data else None
    random = [data.train.take(matched(data, synthetic.labels, seed)) for seed in seeds] if data else []
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "set": _what(synthetic),
        "classes": _classes(synthetic),
        "bytes": _bytes(synthetic, teacher, stored),
        "pixels": {"set": _pixels(synthetic.images)},
        "radial": {"set": _radial(synthetic.images)},
        "diversity": {"pixels": {"set": _diversity(_standardised(synthetic), synthetic.labels)}},
        "duplicates": _inside(synthetic),
    }
    with frozen(network) if network else nullcontext():
        if data:
            _beside_real(found, synthetic, data, network, random, progress)
        if data and network:
            logits = teacher_logits(synthetic.images, data, network)
            found["teacher"] = _teacher(synthetic, teacher, logits)
            found["layers"] = _layers(synthetic, data, network, random, progress)
    if accuracy is not None and data and teacher:
        values = accuracies(synthetic, data, teacher, seeds=seeds, progress=progress, **accuracy)
        found["accuracy"] = {**accuracy, **values, "scores": scores(values)}
    found |= {"missing": _missing(data, teacher, accuracy is not None), "seeds": list(seeds)}
    found["provenance"] = provenance(data.device if data else "cpu")
    found["seconds"] = time.perf_counter() - began
    found = plain(found)
    return found | {"verdicts": verdicts(found)}  # of the numbers as they are written, so that all round alike


def plain(value: Any, digits: int = 6) -> Any:
    """Return a value as JSON takes it: to so many significant digits, and None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, digits) for part in value]
    if isinstance(value, Tensor):
        return plain(value.tolist(), digits)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def _missing(data: ImageData | None, teacher: Teacher | None, measured: bool) -> list[dict]:
    """What is not there for want of data, a teacher, or because it was not asked for."""
    found = []
    if not data:
        found.append({"part": "whatever is beside real images: duplicates, nearest images, radial power", "say": DATA})
    if not (data and teacher):
        say = TEACHER if data else f"{DATA} and {TEACHER}"
        found.append({"part": "whatever is in a teacher's features: spectra by layer, diversity there", "say": say})
    if not measured:
        found.append({"part": "accuracies and scores", "say": "--accuracy"})
    return found


# ---- the set by itself


def _what(synthetic: SyntheticSet) -> dict:
    config = synthetic.config
    return {
        "images": len(synthetic),
        "shape": list(synthetic.images.shape[1:]),
        "classes": len(synthetic.class_names),
        "method": config.get("method"),
        "cell": config.get("cell", {}),
        "import": config.get("import", {}),
        "settings": {k: v for k, v in config.items() if k not in ("cell", "import", "method") and not _nested(v)},
        "teacher": synthetic.teacher,
        "rounds": len(synthetic.history),
        "mean": list(synthetic.mean),
        "std": list(synthetic.std),
        "versions": synthetic.versions,
    }


def _nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _classes(synthetic: SyntheticSet) -> dict:
    counts = torch.bincount(synthetic.labels.cpu(), minlength=len(synthetic.class_names)).tolist()
    names = list(synthetic.class_names)
    return {
        "names": names,
        "counts": counts,
        "smallest": min(counts),
        "largest": max(counts),
        "equal": len(set(counts)) == 1,
        "missing": [name for name, count in zip(names, counts, strict=True) if count == 0],
    }


def _bytes(synthetic: SyntheticSet, teacher: Teacher | None, stored: int | None) -> dict:
    """What images and labels take."""
    found = stored_bytes(synthetic.images, len(synthetic.class_names), teacher.model if teacher else None)
    return {
        "stored": stored,
        "images": {"float32": 4 * found["images"], "8-bit": found["images"]},
        "labels": {
            "hard": found["hard"],
            "fixed-soft": found["fixed-soft"],
            "fixed-soft at 16 bits": found["fixed-soft"] // 2,
            "online-soft": found.get("online-soft"),
        },
        "soft labels stored": synthetic.soft is not None,
        "kind": stored_kind(synthetic),
    }


def _pixels(images: Tensor) -> dict:
    """Shares of pixels at and beyond the ends, not numbers, and images of one value; of 8 bits or of float."""
    n = sum_low = sum_high = outside = broken = constant = 0
    first = second = off = 0.0
    for part in images.split(real_batch(images.shape[-1])):
        x = part.float() / 255 if part.dtype == torch.uint8 else part
        n += x.numel()
        sum_low, sum_high = sum_low + int((x == 0).sum()), sum_high + int((x == 1).sum())
        outside, broken = outside + int(((x < 0) | (x > 1)).sum()), broken + int((~x.isfinite()).sum())
        flat = x.flatten(1)
        constant += int((flat.amax(1) - flat.amin(1) < 0.5 / 255).sum())
        first, second = first + float(x.double().sum()), second + float(x.double().square().sum())
        off = max(off, float((x * 255 - (x * 255).round()).abs().max()))
    return {
        "at 0": sum_low / n,
        "at 1": sum_high / n,
        "outside": outside / n,
        "not finite": broken,
        "constant images": constant,
        "mean": first / n,
        "deviation": max(second / n - (first / n) ** 2, 0) ** 0.5,
        "whole 8-bit values": off < 1e-3,
    }


def _radial(images: Tensor) -> dict | None:
    """Mean over images of their normalised power at each frequency, and of their shares above ¼ cycle a pixel."""
    if images.shape[-1] != images.shape[-2] or images.shape[-1] < 4:
        return None
    frequency, power, share = torch.zeros(0), [], []
    for part in images.split(real_batch(images.shape[-1])):
        pixels = part.float() / 255 if part.dtype == torch.uint8 else part
        varied = pixels[pixels.flatten(1).std(1) > 0]
        if len(varied):
            frequency, found = normalised_power(varied)
            power.append(found)
            share.append(high_frequency_share(varied))
    if not power:
        return None
    return {"frequency": frequency.tolist(), "power": torch.cat(power).mean(0), "fine": float(torch.cat(share).mean())}


def _standardised(synthetic: SyntheticSet) -> Tensor:
    mean_, std = (torch.tensor(v).view(-1, 1, 1) for v in (synthetic.mean, synthetic.std))
    return (synthetic.images.cpu() - mean_) / std


def _diversity(rows: Tensor, labels: Tensor) -> dict:
    """1 − mean cosine of pairs of one class, a mean over the classes that have pairs."""
    rows, labels = rows.cpu(), labels.cpu()
    pairs = [k for k in labels.unique() if (labels == k).sum() > 1]
    values = [consistency(rows[labels == k], labels[labels == k]) for k in pairs]
    if not values:
        return {"consistency": None, "diversity": None, "classes": 0}
    return {"consistency": mean(values), "diversity": 1 - mean(values), "classes": len(values)}


def _inside(synthetic: SyntheticSet) -> dict:
    """Images that are the same at 8 bits as an earlier one of the set."""
    found = digests(synthetic.images)
    labels: dict[bytes, set[int]] = {}
    for digest, label in zip(found, synthetic.labels.tolist(), strict=True):
        labels.setdefault(digest, set()).add(label)
    repeated = [count for count in Counter(found).values() if count > 1]
    return {
        "inside": sum(repeated) - len(repeated),
        "groups": len(repeated),
        "of several classes": sum(len(each) > 1 for each in labels.values()),
    }


# ---- beside real images


def _beside_real(
    found: dict, synthetic: SyntheticSet, data: ImageData, network: nn.Module | None, random: list, progress: bool
) -> None:
    """Add what real images say of the same numbers, and what of the set is among them."""
    generator = torch.Generator().manual_seed(0)
    some = data.train.images[torch.randperm(len(data.train), generator=generator)[:SAMPLE].to(data.device)]
    found["pixels"]["real"], found["radial"]["real"] = _pixels(some), _radial(some)
    for space in SPACES if network else SPACES[:1]:
        parts = found["diversity"].setdefault(space, {})
        if space == "features" and network:
            parts["set"] = _diversity(features(synthetic.images, data, network), synthetic.labels)
            each = [_diversity(features(split.images, data, network), split.labels) for split in random]
        else:
            each = [_diversity(data.normalise(split.images), split.labels) for split in random]
        parts["random"] = [one["diversity"] for one in each]
    held_out = torch.randperm(len(data.test), generator=generator)[:HELD_OUT].to(data.device)
    looked_at = torch.linspace(0, len(synthetic) - 1, min(LOOKED_AT, len(synthetic))).round().long()
    asked = {"set": synthetic.images[looked_at], "held out": data.test.images[held_out]}
    own = digests(synthetic.images)
    seen = among_real(asked, set(own), data, network, progress=progress)
    classes = data.train.labels.cpu()
    twins = [(i, seen.train[digest]) for i, digest in enumerate(own) if digest in seen.train]
    wrong = sum(int(classes[j] != synthetic.labels[i]) for i, j in twins)
    found["duplicates"] |= {"of training images": len(twins), "of those, with another label": wrong}
    found["duplicates"]["of test images"] = _in_test(set(own), data)
    found["nearest"] = {"looked at": len(looked_at), "held out": len(held_out), "spaces": {}}
    same = torch.tensor([own[i] in seen.train for i in looked_at.tolist()])
    for space in seen.nearest["set"].rows:
        found["nearest"]["spaces"][space] = _nearest(seen.nearest, space, same, looked_at)


def _nearest(nearest: dict, space: str, same: Tensor, looked_at: Tensor) -> dict:
    """Distances to the nearest training image, and how many lie nearer than 99 of 100 real images do.

    Args:
        same: which of the set's images are training images pixel by pixel, (n,); they do not count as near.
    """
    ours, held_out = nearest["set"].distances(space), nearest["held out"].distances(space)
    threshold = float(held_out.double().quantile(0.01))
    order = ours.argsort()
    near = (ours < threshold) & ~same
    return {
        "set": ours.tolist(),
        "held out": held_out.tolist(),
        "threshold": threshold,
        "near": int(near.sum()),
        "median": float(ours.double().median()),
        "median held out": float(held_out.double().median()),
        "closest": [
            {
                "image": int(looked_at[i]),
                "training image": int(nearest["set"].index[space][i]),
                "distance": ours[i].item(),
            }
            for i in order[:6].tolist()
        ],
    }


def _in_test(own: set[bytes], data: ImageData) -> int:
    """How many different images of the set are test images, pixel by pixel."""
    size = real_batch(data.size)
    parts = (data.test.images[first : first + size] for first in range(0, len(data.test), size))
    return len(own & {digest for part in parts for digest in digests(part)})


# ---- in a teacher's features


def _teacher(synthetic: SyntheticSet, teacher: Teacher | None, logits: Tensor) -> dict:
    if teacher is None:
        return {}
    agrees = (logits.argmax(1) == synthetic.labels.cpu()).double().mean()
    sure = logits.softmax(1).amax(1).double().mean()
    known = synthetic.teacher.get("hash")
    told = known == teacher.hash or synthetic.teacher.get("hash_of") == "weights"
    same = known == teacher.hash if known and told else None
    return {**teacher.card(), "agrees": 100 * float(agrees), "sure": 100 * float(sure), "the set's own": same}


def _layers(synthetic: SyntheticSet, data: ImageData, network: nn.Module, random: list, progress: bool) -> list[dict]:
    """What the set and as many random real images have of the real spectrum before each matched layer."""
    names = tapped_layers(network)
    if not names:
        return []
    real = real_side("mean", data, network, Ranks(), progress)
    ours = _moments(synthetic.images, synthetic.labels, data, network, names)
    others = [_moments(split.images, split.labels, data, network, names) for split in random]
    found = []
    for name in names:
        side = spectrum(real[name].ffc.cpu())
        ratio, *chance = (relative_power(side, moments[name].ffc.cpu()) for moments in (ours, *others))
        covered = [coverage(each) for each in chance]
        lines = {
            "layer": name,
            "directions": len(ratio),
            "dead": len(side.eigenvalues) - len(ratio),
            "coverage": coverage(ratio),
            "excess": excess(ratio),
            "random coverage": {"mean": mean(covered), "spread": stdev(covered) if len(covered) > 1 else None},
            "random excess": mean(map(excess, chance)),
            "bands": _bands(ratio),
            "random bands": [mean(band) for band in zip(*map(_bands, chance), strict=True)],
            "real": side.eigenvalues[: len(ratio)],
            "set": ratio * side.eigenvalues[: len(ratio)],
            "random": torch.stack(chance).mean(0) * side.eigenvalues[: len(ratio)],
            "own spectrum": spectrum(ours[name].ffc.cpu()).eigenvalues,
        }
        found.append(lines)
    return found


def _moments(images: Tensor, labels: Tensor, data: ImageData, network: nn.Module, names: list[str]) -> dict:
    size = real_batch(data.size)
    parts = zip(images.split(size), labels.split(size), strict=True)
    return real_statistics(network, parts, names, prepare=data.normalise)


def _bands(ratio: Tensor) -> list[float]:
    """Coverage in four bands of as many directions, from low to high frequency; fewer where there are fewer."""
    edges = torch.linspace(0, len(ratio), min(BANDS, len(ratio)) + 1).round().long().tolist()
    return [coverage(ratio[a:b]) for a, b in pairwise(edges)]
