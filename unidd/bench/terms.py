"""CFM with one of its two matching terms: for the ablation of the loss.

Not a method to use, and so not in the folder of methods: a suite names it by its path, `unidd.bench.terms.OneTerm`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import tensor

from ..engine.descent import Batch
from ..methods.cfm import CFM, FrequencyMatching


@dataclass(frozen=True)
class OneTerm(CFM):
    """CFM whose loss has cross-entropy and one matching term: the filter term or the signal term.

    Args:
        term: the one that is kept.
    """

    term: Literal["filter", "signal"] = "filter"
    acts_as: ClassVar[str] = "1/(λ + β), from flat to high-pass, of one term alone"

    def objective_class(self) -> "type[OneTermMatching]":
        return OneTermMatching


class OneTermMatching(FrequencyMatching):
    """The loss of `OneTerm`: that of CFM, the weight of the other term 0 in every layer."""

    method: OneTerm

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        kept = tensor([self.method.term == "filter", self.method.term == "signal"])
        stacks = tuple(replace(s, weights=s.weights * kept.to(s.weights)) for s in self.matching.stacks)
        self.matching = replace(self.matching, stacks=stacks)
