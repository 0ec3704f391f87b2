"""Timings that can be compared: in one process, interleaved in random order, with quartiles, and again if it was noisy.

A ratio is that of two medians; its spread is the quartiles of the ratios within each round of the interleaving.
"""

import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from unidd.bench.machine import wait
from unidd.book.rounding import rounded, significant

QUIET = 0.06  # (third − first quartile) / median of the reference, up to which a measurement counts as quiet …
OTHERS = 0.5  # … if the load average is no more than this above the threads that compute here


def interleaved(
    steps: dict[str, Callable[[], object]], rounds: int, device: torch.device, seconds: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of every step in every round, after two rounds of warm-up.

    Args:
        steps: each is called once a round, in an order drawn for the round: none always follows the same one.
        rounds: at least so many.
        seconds: go on so long, up to ten times the rounds.
    """
    order, draw = list(steps), random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for name in order * 2:
        steps[name]()
    end = time.perf_counter() + seconds
    while (n := len(found[order[0]])) < rounds or (time.perf_counter() < end and n < 10 * rounds):
        draw.shuffle(order)
        for name in order:
            wait(device)
            start = time.perf_counter()
            steps[name]()
            wait(device)
            found[name].append(time.perf_counter() - start)
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Median and quartiles, to four digits."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * values
    low, middle, high = rounded(quartiles, 4)
    return {"median": middle, "low": low, "high": high}


def ratio(over: list[float], under: list[float]) -> dict[str, float]:
    """Ratio of the medians, and the quartiles of the ratios round by round."""
    each = summary([a / b for a, b in zip(over, under, strict=True)])
    return each | {"median": significant(statistics.median(over) / statistics.median(under), 4)}


@dataclass(frozen=True)
class Timing:
    """The quietest of some attempts.

    Attributes:
        seconds: step → one entry a round.
        attempts: how many there were.
        spread: of the reference step: (third − first quartile) / median.
        load: the machine's load average (over a minute) before and after; what computes here counts too.
    """

    seconds: dict[str, list[float]]
    attempts: int
    spread: float
    load: tuple[float, float]

    @property
    def quiet(self) -> bool:
        return self.spread <= QUIET and max(self.load) <= torch.get_num_threads() + OTHERS

    def record(self) -> dict:
        times = {name: summary(values) for name, values in self.seconds.items()}
        noise = {"attempts": self.attempts, "spread": round(self.spread, 4), "quiet": self.quiet}
        return {"n": len(next(iter(self.seconds.values()))), **noise, "load": list(self.load), "seconds": times}


def guarded(
    steps: dict[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    *,
    reference: str = "plain",
    attempts: int = 3,
    seconds: float = 0.0,
) -> Timing:
    """Interleaved timings, repeated until the reference step is quiet, or else the quietest attempt."""
    best = None
    for attempt in range(1, attempts + 1):
        before = _load()
        found = interleaved(steps, rounds, device, seconds)
        middle = summary(found[reference])
        spread = (middle["high"] - middle["low"]) / middle["median"]
        if best is None or spread < best.spread:
            best = Timing(found, attempt, spread, (before, _load()))
        if best.quiet:
            break
    return replace(best, attempts=attempt)


def _load() -> float:
    return round(os.getloadavg()[0], 2)
