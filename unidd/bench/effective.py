"""The filter that a deep method behaves as: the gradient of its own loss as a sum of those of single bands.

UniDD's theory says what a method matches on fixed features with a linear head. Here a method is taken as it is, on its
way: the gradient g_M of its loss in the pixels, a mean over draws, is written as Σ_j c_j g_j with c_j ≥ 0, where g_j is
the gradient of a matching term of one band alone (`unidd.core.bands.band_terms`) of one layer of a probe network, seen
as the method sees the images. R² says how much of g_M that is; c_j over λ_j is, up to a factor, the squared response of
the filter that the method behaves as, layer by layer.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..core.bands import KINDS, band_terms
from ..core.frozen import frozen
from ..core.objectives import Side
from ..core.statistics import FeatureTap, correlations
from ..data.synthetic import SyntheticSet
from ..engine.descent import Objective, Position, steps
from ..engine.run import Run
from ..methods._descending import Descending
from ..networks.training import Teacher
from .residuals import Probe, View, changes, viewed

SCOPES = ("set", "batch")
LEAST = 0.25  # of what cross-entropy leaves of a gradient, bands must explain as much for a verdict


class Fit(NamedTuple):
    """A gradient as a sum of others.

    Attributes:
        weights: c ≥ 0 (m,).
        shares: parts of R² that add up to it, c_j ⟨g_j, g⟩ / ‖g‖² (m,); of two gradients alike, either may have it.
        r2: R² = 1 − ‖g − Σ c_j g_j‖² / ‖g‖².
    """

    weights: Tensor
    shares: Tensor
    r2: float


def effective_filter(gradient: Tensor, parts: Tensor) -> Fit:
    """Return the sum of parts, with weights that are not negative, that is nearest to a gradient.

    Args:
        gradient: g (p,).
        parts: g_j (m, p); one that is 0 has the weight 0.
    Raises:
        ValueError: the gradient is 0 or not finite: there is nothing to explain.
    """
    from scipy.optimize import nnls  # not needed by what imports this module to read a study

    gradient, parts = gradient.double().cpu(), parts.double().cpu()
    size = gradient.norm()
    if not 0 < size < torch.inf:
        raise ValueError(f"a gradient of length {float(size)} has no parts")
    lengths = parts.norm(dim=1)
    units = parts / torch.where(lengths > 0, lengths, 1).unsqueeze(1)
    q, r = torch.linalg.qr(units.T)  # (p, m), (m, m): the same distances in m numbers
    found, _ = nnls(r.numpy(), (q.T @ (gradient / size)).numpy())
    found = torch.from_numpy(found)
    shares = found * (units @ gradient) / size
    rest = 1 - float((gradient / size - found @ units).square().sum())
    weights = torch.where(lengths > 0, found * size / lengths, 0)
    return Fit(weights, shares, rest)


def band_gradients(
    probe: Probe, x: Tensor, labels: Tensor, real: dict[str, Side], view: View | None, beside: tuple[Tensor, Tensor]
) -> Tensor:
    """Return gradients in x of every band's matching terms, and of the probe's cross-entropy last: (m, x.numel()).

    They are layer by layer, within it by kind, and within that by band.

    Args:
        x: network input (n, C, H, W).
        real: the real side of each layer, in the view of the same draw.
        view: one draw of a view; None: images as they are.
        beside: network input and labels of images of the set that do not move.
    """
    dtype = next(p.dtype for p in probe.model.parameters())
    x = x.detach().to(dtype).requires_grad_()
    images, of = torch.cat([x, beside[0].to(x)]), torch.cat([labels, beside[1].to(labels)])
    with frozen(probe.model), FeatureTap(probe.model, list(probe.bands)) as tap:
        logits = probe.model(view(images) if view else images)
    one_hot = F.one_hot(of, logits.shape[1]).double()
    terms = [
        band_terms(bands, real[layer], Side(*correlations(tap.features[layer].double(), one_hot))).flatten()
        for layer, bands in probe.bands.items()
    ]
    terms.append(F.cross_entropy(logits[: len(x)], labels).double().unsqueeze(0))
    rows = [torch.autograd.grad(term, x, retain_graph=True)[0].flatten() for term in torch.cat(terms)]
    return torch.stack(rows).double()


@dataclass(frozen=True)
class Looking:
    """How a descent is looked at.

    Attributes:
        method: what descends.
        again: an objective of the method, apart from the one that descends.
        seeds: of the draws of the method's own gradient and of its view.
        probes: by name of the group.
        reals: group → the real side in each draw, each through the next probe of the group.
    """

    method: Descending
    again: Objective
    seeds: list[int]
    probes: Mapping[str, Sequence[Probe]]
    reals: dict[str, list[dict[str, Side]]]

    @staticmethod
    def of(method: Descending, again: Objective, probes: Mapping[str, Sequence[Probe]], seeds: list[int]) -> "Looking":
        for name, group in probes.items():
            if len({tuple((layer, len(b.sizes)) for layer, b in probe.bands.items()) for probe in group}) != 1:
                raise ValueError(f"the probes {name!r} must have the same layers and bands, at least one network")
        reals = {
            name: [probe.real(method, seed) for seed, probe in zip(seeds, cycle(group), strict=False)]
            for name, group in probes.items()
        }
        return Looking(method, again, seeds, probes, reals)

    def own(self, position: Position, state: dict) -> tuple[Tensor, float]:
        """Return the method's gradient where a descent stands (p,), and which part of its square is noise of draws."""
        (x, _), batch, found = position.enter(), position.batches[position.batch], []
        for seed in self.seeds:
            self.again.restore(copy.deepcopy(state))
            self.again.begin(batch)
            here = x.detach().clone().requires_grad_()
            step = self.again.step(here, position.step, Generator().manual_seed(seed))
            found.append(step.gradient.detach().double().flatten())
        draws = torch.stack(found)
        mean, n = draws.mean(0), len(draws)
        noise = (draws - mean).square().sum() / (n * (n - 1)) if n > 1 else torch.tensor(torch.nan)
        return mean, float(noise / mean.square().sum())

    def parts(self, position: Position, name: str, scope: str) -> Tensor:
        """Return the gradients of bands there, a mean over draws: of the set as far as it is made, or of the batch."""
        (x, _), batch = position.enter(), position.batches[position.batch]
        data, group = position.data, self.probes[name]
        done = batch.place if scope == "set" else 0
        labels = position.start.labels[position.start.numbers[:done]]
        beside = data.normalise(position.images[:done].to(x.device)), labels
        plain = not (changes(self.method, data) or changes(self.method, data, real=True))
        draws = list(zip(self.seeds, cycle(group), self.reals[name], strict=False))[: len(group) if plain else None]
        views = [None if plain else viewed(self.method, seed) for seed, _, _ in draws]
        found = [
            band_gradients(probe, x, batch.labels, real, view, beside)
            for view, (_, probe, real) in zip(views, draws, strict=True)
        ]
        return torch.stack(found).mean(0)

    def look(self, position: Position, state: dict) -> dict[str, Any]:
        """Return one look, see `effective`; of several scopes that which explains more."""
        gradient, noise = self.own(position, state)
        scopes, seen = SCOPES if position.batch else SCOPES[:1], {}
        for name, group in self.probes.items():
            fits = {scope: effective_filter(gradient, self.parts(position, name, scope)) for scope in scopes}
            scope = max(fits, key=lambda scope: fits[scope].r2)
            fit = fits[scope]
            entropy = {"weight": float(fit.weights[-1]), "share": float(fit.shares[-1])}
            seen[name] = {"r2": fit.r2, "scope": scope, "cross-entropy": entropy, "layers": _by_layer(group, fit)}
        return {"batch": position.batch, "step": position.step, "noise": noise, "seen": seen}


def _by_layer(group: Sequence[Probe], fit: Fit) -> dict[str, dict[str, Any]]:
    """Layer → eigenvalues of bands, their geometric mean over probes, and → kind → weights and shares of bands."""
    found, first = {}, 0
    for layer, bands in group[0].bands.items():
        of_probes = torch.stack([probe.bands[layer].eigenvalues for probe in group])
        found[layer] = {"eigenvalues": of_probes.log().mean(0).exp().tolist()}
        for kind in KINDS:
            own = slice(first, first + len(bands.sizes))
            found[layer][kind] = {"weights": fit.weights[own].tolist(), "shares": fit.shares[own].tolist()}
            first = own.stop
    return found


def effective(
    method: Descending,
    probes: Mapping[str, Sequence[Probe]],
    teacher: Teacher,
    run: Run,
    at: Sequence[float] = (0, 0.5, 1),
    draws: int = 8,
) -> tuple[list[dict[str, Any]], SyntheticSet]:
    """Descend as `Descending.distill` does, and say on the way which filter the method behaves as.

    The descent is not disturbed: what is looked at is another objective of the same state.

    Args:
        probes: group → networks of one architecture, such as the teacher alone, or several with random weights; of a
            group the gradients of bands are a mean, each draw through the next network. Their data are those to
            distill.
        at: places of the descent, 0 before its first step and 1 before its last.
        draws: of the method's random numbers, over which gradients are averaged.
    Returns:
        The looks, and the set. A look has "at"; "batch" and "step", where that is; "noise", the part of ‖g_M‖² that is
        left of draws, which no parts explain unless they are of the same draws; and "seen": group → "r2"; "scope":
        whether the statistics of bands are those of the "set" as far as it is made, or of the "batch" alone, whichever
        explains more; "cross-entropy": weight and share of the probe's; "layers": layer → "eigenvalues" and → kind →
        "weights" c and "shares" of R².
    Raises:
        ValueError: a place is not in 0 … 1; the method takes no step; its gradient is 0.
    """
    if not all(0 <= place <= 1 for place in at):
        raise ValueError(f"at must be places from 0 to 1, not {tuple(at)}")
    data = next(probe.data for group in probes.values() for probe in group)
    method.check(data, run)
    method.check_teacher(data, teacher)
    with frozen(teacher.model):
        position, objective = method.begun(data, teacher, run)
        last = len(position.batches) * position.descent.steps - 1
        if last < 0:
            raise ValueError(f"the method {method.name!r} takes no step that could be looked at: raise steps")
        seeds = draw_seeds(run.seed, draws)
        looking = Looking.of(method, method.objective(data, teacher, run), probes, seeds)
        wanted: dict[int, list[float]] = {}
        for place in at:
            wanted.setdefault(round(place * last), []).append(place)
        looks = []
        for done in _standing(objective, position):
            looks += [{"at": place, **looking.look(position, objective.state())} for place in wanted.get(done, ())]
        return looks, method.finished(position, objective, teacher, run)


def draw_seeds(seed: int, draws: int) -> list[int]:
    """Return the seeds of the draws in which a descent is looked at.

    A step and a view of the same seed begin with the same random numbers: CFM and SRe2L augment alike in both, and DM,
    and DC where it draws one, first draw a network, which may be the probe of that draw.
    """
    return [10**6 * (seed + 1) + draw for draw in range(draws)]


def _standing(objective: Objective, position: Position) -> Iterator[int]:
    """Yield before the first step and after each but the last: how many were taken."""
    yield position.done
    total = len(position.batches) * position.descent.steps
    for _ in steps(objective, position):
        if position.done < total:
            yield position.done


def tilt(seen: dict[str, Any], kinds: Sequence[str] = KINDS) -> float:
    """Return where the weights of bands lie, from −1, all on the smallest λ of each layer, to 1, all on the largest.

    In each layer and kind it is the mean of log λ weighted with c less the plain one, over the larger of the distances
    from that to the ends; 0 for weights that are the same in all bands. Layers and kinds count by their shares of R².
    NaN if no band has a part in the gradient.

    Args:
        seen: of one group of probes in a look of `effective`.
    """
    total, found = 0.0, 0.0
    for layer in seen["layers"].values():
        place = torch.tensor(layer["eigenvalues"], dtype=torch.float64).log()
        place = place - place.mean()
        place = place / place.abs().max().clamp_min(1e-300)
        for kind in kinds:
            weights = torch.tensor(layer[kind]["weights"], dtype=torch.float64)
            share = max(0.0, sum(layer[kind]["shares"]))
            if weights.sum() > 0:
                total, found = total + share, found + share * float((weights * place).sum() / weights.sum())
    return found / total if total > 0 else float("nan")


def explained(seen: dict[str, Any], kinds: Sequence[str] = KINDS) -> float:
    """Return which part of what cross-entropy leaves of the gradient the terms of bands explain; see `tilt`."""
    shares = [share for layer in seen["layers"].values() for kind in kinds for share in layer[kind]["shares"]]
    rest = 1 - seen["cross-entropy"]["share"]
    return sum(shares) / rest if rest > 0 else float("nan")


def said(acts_as: str) -> list[str]:
    """Return which of low-pass, high-pass and all-pass the theory says of a method, from its `acts_as`.

    >>> said("λ, low-pass, and all-pass on the class signal, as an upper bound")
    ['low-pass', 'all-pass']
    """
    return [word for word in ("low-pass", "high-pass", "all-pass") if word in acts_as]


def verdict(looks: Sequence[dict[str, Any]], acts_as: str, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Return what a method behaves as, in words.

    Args:
        looks: one a repetition, of one group of probes at one place of the descent; see `tilt`.
    Returns:
        "mean", "low", "high": the tilt and the ends of its 95 % interval by Student's t; "explained": the mean of
        `explained`; "word": "low-pass" or "high-pass" where the interval leaves out 0, else "neither"; "unseen" where
        bands explain too little for their weights to mean anything; "no verdict" from fewer than five repetitions;
        "said": what the theory says, see `kept`.
    """
    from .tables import ENOUGH, paired  # it takes pandas

    tilts = [value for seen in looks if math.isfinite(value := tilt(seen, kinds))]
    part = sum(explained(seen, kinds) for seen in looks) / len(looks)
    middle, low, high = paired(tilts, [0.0] * len(tilts)) if tilts else [math.nan] * 3
    word = "low-pass" if low > 0 else "high-pass" if high < 0 else "neither"
    word = word if part >= LEAST and len(tilts) == len(looks) else "unseen"
    word = word if len(looks) >= ENOUGH else "no verdict"
    return {"mean": middle, "low": low, "high": high, "explained": part, "word": word, "said": said(acts_as)}


def kept(word: str, promised: Sequence[str]) -> bool | None:
    """Return whether a method behaves as the theory says; None where nothing was promised, or shown.

    An interval that holds 0 shows nothing: "neither" is no evidence for all-pass, nor against low-pass or high-pass.

    >>> kept("low-pass", ["low-pass"]), kept("high-pass", ["low-pass"]), kept("neither", ["low-pass"])
    (True, False, None)
    """
    return word in promised if len(promised) and word in ("low-pass", "high-pass") else None
