"""Explorers: interactive drawings that run in the published book without a kernel, and two-way in Jupyter.

All drawing is JavaScript (`explorer.js`). In Jupyter, anywidget runs it and keeps the traits in step with
Python; in the book, the page runs the same file from the state that `_repr_mimebundle_` leaves in the output.
"""

import math
from pathlib import Path

import anywidget
import traitlets
from torch import Tensor

EXPLORER = "application/vnd.unidd.explorer+json"
FILTERS = ("allpass", "linear", "ridge", "landweber", "residual")


class Explorer(anywidget.AnyWidget):
    """What explorers share: the drawing code, a label for screen readers, the state a static page needs."""

    _esm = Path(__file__).with_name("explorer.js")
    kind = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    shared: tuple[str, ...] = ("kind", "label")

    def state(self) -> dict:
        """The traits the drawing reads, as plain JSON values."""
        return {name: getattr(self, name) for name in self.shared}

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**data, "text/plain": self.label, EXPLORER: self.state()}, metadata


class FilterExplorer(Explorer):
    """f(λ) of the filters over the real eigenvalues of a network's layers.

    Args:
        eigenvalues: layer name → eigenvalues of its FFC, (d,) or a list, one of them above 0; at least one layer.
        layer: the layer shown first; the first one if left out.
        beta: β of the ridge filter, above 0, in the units of λ.
        rate: learning rate α *times the layer's largest eigenvalue*, in (0, 2), where descent is stable.
        steps: steps t of gradient descent, 1 … 1000.
        filters: names out of `FILTERS`.
    Raises:
        traitlets.TraitError: a value is out of range; the message says which are allowed.
    Source: UniDD, §3 and Figure 1; the chapter "A zoo of filters".

    >>> explorer = FilterExplorer({"conv1": [1.0, 0.1, 0.01]}, beta=0.1)
    >>> explorer.layer, explorer.filters
    ('conv1', ['linear', 'ridge', 'landweber'])
    """

    kind = traitlets.Unicode("filters").tag(sync=True)
    label = traitlets.Unicode("Explorer: filters over the eigenvalues of a layer").tag(sync=True)
    eigenvalues = traitlets.Dict().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    beta = traitlets.Float(0.1).tag(sync=True)
    rate = traitlets.Float(1.0).tag(sync=True)
    steps = traitlets.Int(20).tag(sync=True)
    filters = traitlets.List(traitlets.Enum(FILTERS), default_value=["linear", "ridge", "landweber"]).tag(sync=True)
    shared = (*Explorer.shared, "eigenvalues", "layer", "beta", "rate", "steps", "filters")

    def __init__(self, eigenvalues: dict[str, Tensor | list[float]], layer: str | None = None, **traits):
        eigenvalues = {name: _rounded(values) for name, values in eigenvalues.items()}
        if not eigenvalues:
            raise traitlets.TraitError("an explorer needs the eigenvalues of at least one layer")
        super().__init__(eigenvalues=eigenvalues, layer=layer or next(iter(eigenvalues)), **traits)

    @traitlets.validate("eigenvalues")
    def _check_eigenvalues(self, proposal):
        for name, values in proposal.value.items():
            if not values or not max(values) > 0 or not all(math.isfinite(v) and v >= 0 for v in values):
                raise traitlets.TraitError(f"layer {name} needs finite eigenvalues >= 0, one of them above 0")
        return proposal.value

    @traitlets.validate("layer")
    def _check_layer(self, proposal):
        if proposal.value not in self.eigenvalues:
            raise traitlets.TraitError(f"no layer {proposal.value!r}; there are: {', '.join(self.eigenvalues)}")
        return proposal.value

    @traitlets.validate("beta", "rate", "steps")
    def _check_number(self, proposal):
        name, value = proposal.trait.name, proposal.value
        low, high = {"beta": (0, math.inf), "rate": (0, 2), "steps": (0, 1001)}[name]
        if not low < value < high:
            raise traitlets.TraitError(f"{name} must lie between {low} and {high} (both excluded), not {value}")
        return value


def _rounded(values: Tensor | list[float]) -> list[float]:
    """Five significant digits, largest first; a rounding error below 0 counts as 0."""
    values = values.tolist() if isinstance(values, Tensor) else values
    return sorted((0.0 if -1e-6 <= v <= 0 else float(f"{v:.5g}") for v in values), reverse=True)
