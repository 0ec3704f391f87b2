"""Carry out a descent: show its progress, keep its state on disk, look that the loss stays finite."""

import math
from contextlib import nullcontext
from time import monotonic

from tqdm.auto import tqdm

from ..bars import progress_bar
from .descent import Objective, Position, Taken, steps
from .run import Run

_LOOK = 20  # steps between two looks at the loss, each of which waits for the device
_OFTEN = 300.0  # seconds after which the state is kept again


def carry_out(objective: Objective, position: Position, run: Run, identity: dict, title: str) -> None:
    """Take all steps that are left, from the state in the run's checkpoint if there is one.

    Args:
        identity: what the run depends on, by name: a state of another is refused.
        title: of the progress bar.
    Raises:
        ValueError: the loss is not finite; the state is damaged, or another run's.
        ConnectionError: another process of the run has stopped.
        OSError: the state cannot be written.
    """
    shown, total = run.progress and run.ranks.first, len(position.batches) * position.descent.steps
    with run.checkpoint or nullcontext() as checkpoint:
        state = checkpoint.load(identity) if checkpoint else None
        if checkpoint and state:
            objective.restore(state["objective"])
            position.unpack(state["position"], checkpoint.load_batch)
            if shown:
                tqdm.write(f"going on from {position.where(position.batch, position.step)}")
        kept = monotonic()
        with progress_bar(total, title, shown=shown, initial=position.done) as bar:
            for taken in steps(objective, position):
                asked = taken.last or (run.save_every > 0 and taken.count % run.save_every == 0)
                save = checkpoint and (asked or _old(kept, taken, run))
                if save or taken.last or taken.count % _LOOK == 0:
                    _look(taken, position, objective.remedy, bar)
                if checkpoint and save:
                    kept = monotonic()
                    if taken.last:
                        checkpoint.save_batch(taken.batch.number, position.pixels(taken.batch.number))
                    checkpoint.save({"position": position.pack(), "objective": objective.state()})


def _old(kept: float, taken: Taken, run: Run) -> bool:
    """Return whether the state that was kept then is old by now; several processes agree on it, when they look."""
    if run.ranks.world > 1 and taken.count % _LOOK:
        return False
    return run.ranks.from_first(lambda: monotonic() - kept >= _OFTEN)


def _look(taken: Taken, position: Position, remedy: str, bar: tqdm) -> None:
    """Show the terms, and raise a ValueError unless they and the pixels are finite."""
    where, terms = position.where(taken.batch.number, taken.count), taken.step.values(position.ranks)
    if not all(map(math.isfinite, terms.values())):
        raise ValueError(f"{where}: the loss is not finite ({terms}): {remedy}")
    pixels = position.pixels(taken.batch.number) if taken.last else position.x
    if pixels is not None and not pixels.isfinite().all():
        raise ValueError(f"{where}: the gradient is not finite: {remedy}")
    bar.set_postfix({name: f"{value:.3g}" for name, value in (taken.step.notes | terms).items()}, refresh=False)
    bar.update(position.done - bar.n)
