"""Explorers: interactive drawings that run in the published book without a kernel, and two-way in Jupyter.

All drawing is JavaScript (the folder `explorers`). In Jupyter, anywidget runs it and keeps the traits in step with
Python; in the book, the page runs the same code from the state that `_repr_mimebundle_` leaves in the output.
What takes an eigendecomposition, a photograph or a data set is worked out here, once; what a control changes is worked
out in JavaScript by the formulas of `unidd.core.filters`, and tests compare the two.
"""

import math
from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor

from ..bench.records import Record
from ..core.bands import KINDS
from ..core.spectra import normalised_power, participation, share_above
from ..data.datasets import ImageData
from . import linear
from .bundle import bundle, script
from .listing import limits, listing
from .matched import sheet_shape, summary
from .palette import LOOKS, look
from .pictures import digits, packed, photograph, sheet, size_of
from .rounding import rounded

__all__ = [
    *("BandExplorer", "CurriculumPlayer", "DigitsExplorer", "FilterExplorer", "ImageExplorer", "MatchingExplorer"),
    "ResultsTable",
    "photograph",
]

EXPLORER = "application/vnd.unidd.explorer+json"
COLUMNS = ("method", "data", "student", "regime", "ipc", "mean", "gain", "bytes", "seconds")
FILTERS = ("allpass", "linear", "ridge", "landweber", "residual", "bandpass")
MOST = 6  # methods that can be told apart in one drawing


_MAIN = Path(__file__).with_name("explorers") / "main.js"


def module() -> str:
    """Return the explorers as one ES module, which anywidget loads."""
    return bundle(_MAIN)


def page_script() -> str:
    """Return the explorers as one classic script, which a published page loads: it sets the global `unidd`."""
    return script(_MAIN, "unidd")


class Explorer(anywidget.AnyWidget):
    """What explorers share: the drawing code, a label for screen readers, the state a static page needs."""

    _esm = module()
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
    """f(λ) of the filters over the real eigenvalues of a network's layers, and what they do to a photograph.

    Args:
        eigenvalues: layer name → eigenvalues of its FFC, (d,) or a list, one of them above 0; at least one layer,
            or none with a picture.
        layer: the layer shown first; the first one if left out.
        picture: (n, n), grey in [0, 1], such as `photograph()`: adds a first layer, its 8×8 patches, and for each
            filter the picture whose patches are filtered by f(Ψ), put together with its own contrast.
        ffc: (d, d), Ψ of square patches with d pixels, row by row; by default that of the picture's own 8×8 patches.
        beta: β of the ridge filter, above 0, in the units of λ.
        rate: learning rate α *times the layer's largest eigenvalue*, in (0, 2), where descent is stable.
        steps: steps t of gradient descent, 1 … 1000.
        centre: the middle, on a logarithmic scale, of the decade of λ that band-pass keeps.
        filters: names out of `FILTERS`.
        linked: tie β to 1/(αt), whatever it is set to.
    Raises:
        traitlets.TraitError: a value is out of range; the message says which are allowed.
        ValueError: the shapes of picture and ffc do not fit each other.
    Source: UniDD, §3 and Figure 1; the chapter "A zoo of filters".

    >>> explorer = FilterExplorer({"conv1": [1.0, 0.1, 0.01]}, beta=0.1)
    >>> explorer.layer, explorer.filters
    ('conv1', ['linear', 'ridge', 'landweber'])
    >>> FilterExplorer({"conv1": [1.0, 0.1]}, rate=0.5, steps=8, linked=True).beta
    0.25
    """

    kind = traitlets.Unicode("filters").tag(sync=True)
    label = traitlets.Unicode("Explorer: filters over the eigenvalues of a layer").tag(sync=True)
    eigenvalues = traitlets.Dict().tag(sync=True)
    picture = traitlets.Dict().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    beta = traitlets.Float(0.1).tag(sync=True)
    rate = traitlets.Float(1.0).tag(sync=True)
    steps = traitlets.Int(20).tag(sync=True)
    centre = traitlets.Float(0.1).tag(sync=True)
    filters = traitlets.List(traitlets.Enum(FILTERS), default_value=["linear", "ridge", "landweber"]).tag(sync=True)
    linked = traitlets.Bool(False).tag(sync=True)
    shared = (*Explorer.shared, "eigenvalues", "picture", "layer", "beta", "rate", "steps", "centre", "filters")
    shared = (*shared, "linked")

    def __init__(
        self,
        eigenvalues: dict[str, Tensor | list[float]],
        layer: str | None = None,
        picture: Tensor | None = None,
        ffc: Tensor | None = None,
        **traits,
    ):
        eigenvalues = {name: digits(values) for name, values in eigenvalues.items()}
        if picture is not None:
            state, lam, _ = packed(picture, ffc)
            state["layer"] = f"pixels, {state['side']}×{state['side']} patches"
            eigenvalues = {state["layer"]: lam} | eigenvalues
            traits["picture"] = state
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
        return _one_of(proposal.value, self.eigenvalues, "layer")

    @traitlets.validate("beta", "rate", "steps", "centre")
    def _check_number(self, proposal):
        name, value = proposal.trait.name, proposal.value
        low, high = {"rate": (0, 2), "steps": (0, 1001)}.get(name, (0, math.inf))
        if not low < value < high:
            raise traitlets.TraitError(f"{name} must lie between {low} and {high} (both excluded), not {value}")
        return self._tied() if name == "beta" and self.linked else value

    @traitlets.observe("linked", "layer", "rate", "steps")
    def _tie(self, change):
        if self.linked:
            self.beta = self._tied()

    def _tied(self) -> float:
        """1/(αt) of the layer: α is `rate` over its largest eigenvalue."""
        return max(self.eigenvalues[self.layer]) / (self.rate * self.steps)


class BandExplorer(Explorer):
    """Keep or drop a band of eigendirections of a photograph's patches.

    Args:
        picture: (n, n), grey in [0, 1], such as `photograph()`.
        ffc: (d, d), Ψ of square patches with d pixels, row by row; by default that of the picture's own 8×8 patches.
        flc: (d, k), their class signal, of which each direction's share is shown; None leaves it out.
        first, last: ends of the band, in either order: directions 1 … d, from the largest eigenvalue on.
        mode: "keep" or "drop".
        stretch: give the result the photograph's own contrast.
    Raises:
        traitlets.TraitError: a value is out of range.
        ValueError: the shapes of picture, ffc and flc do not fit each other.
    Source: the chapter "Correlation matrices and their spectrum".
    """

    kind = traitlets.Unicode("band").tag(sync=True)
    label = traitlets.Unicode("Explorer: keep or drop a band of eigendirections of a photograph").tag(sync=True)
    picture = traitlets.Dict().tag(sync=True)
    eigenvalues = traitlets.List().tag(sync=True)
    signal = traitlets.List().tag(sync=True)
    first = traitlets.Int(1).tag(sync=True)
    last = traitlets.Int(8).tag(sync=True)
    mode = traitlets.Enum(("keep", "drop"), default_value="keep").tag(sync=True)
    stretch = traitlets.Bool(False).tag(sync=True)
    shared = (*Explorer.shared, "picture", "eigenvalues", "signal", "first", "last", "mode", "stretch")

    def __init__(self, picture: Tensor, ffc: Tensor | None = None, flc: Tensor | None = None, **traits):
        state, lam, basis = packed(picture, ffc)
        if flc is not None and (flc.ndim != 2 or len(flc) != len(lam)):
            raise ValueError(f"the class signal must be ({len(lam)}, k), not {tuple(flc.shape)}")
        signal = [] if flc is None else rounded(participation(basis, flc), 9)
        super().__init__(picture=state, eigenvalues=lam, signal=signal, **traits)

    @traitlets.validate("first", "last")
    def _check_direction(self, proposal):
        if not 1 <= proposal.value <= len(self.eigenvalues):
            allowed = f"{proposal.trait.name} must lie in 1 … {len(self.eigenvalues)}"
            raise traitlets.TraitError(f"{allowed}, not {proposal.value}")
        return proposal.value


class ImageExplorer(Explorer):
    """Distilled images of a filter beside those they started from, and their power over spatial frequencies.

    Args:
        images: name of a filter → its images (n, C, H, W) in [0, 1], of which the first 20 are shown.
        start: (n, C, H, W), the images distillation started from.
        real: (N, C, H, W), floats in [0, 1] or uint8, the real data; None if `powers` holds "real".
        powers: name, "start" or "real" → `spectra.normalised_power`, a mean over images, a row a seed, (k, f): drawn as
            the mean ± one standard deviation of the rows. Missing ones are worked out from the images.
        names: classes of the images in order, for their description.
        columns: images in a row.
        about: which images these are, such as "photos": then their shares of fine detail are named numbers of the book.
        chosen, against: the filter shown, and the one, or "start", it is compared with.
    Raises:
        traitlets.TraitError: there is no filter of that name.
        ValueError: there is no image, or nothing to tell the real data's power by.
    Source: UniDD, Figure 2; the chapter "What a filter writes into an image".
    """

    kind = traitlets.Unicode("images").tag(sync=True)
    label = traitlets.Unicode("Explorer: distilled images and their power spectra, by filter").tag(sync=True)
    sheets = traitlets.Dict().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    frequency = traitlets.List().tag(sync=True)
    powers = traitlets.Dict().tag(sync=True)
    looks = traitlets.Dict().tag(sync=True)
    named = traitlets.Dict().tag(sync=True)
    names = traitlets.Unicode().tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)
    against = traitlets.Unicode().tag(sync=True)
    shared = (
        *(*Explorer.shared, "sheets", "shape", "frequency", "powers"),
        *("looks", "named", "names", "chosen", "against"),
    )

    def __init__(
        self,
        images: dict[str, Tensor],
        start: Tensor,
        real: Tensor | None = None,
        *,
        powers: dict[str, Tensor] | None = None,
        names: tuple[str, ...] = (),
        columns: int = 5,
        about: str = "",
        chosen: str | None = None,
        against: str = "start",
    ):
        sets = {"start": start, **images}
        if not images or any(x.ndim != 4 or len(x) == 0 for x in sets.values()):
            raise ValueError("an explorer of images needs at least one set (n, C, H, W), and the images at the start")
        powers = dict(powers or {})
        if real is None and "real" not in powers:
            raise ValueError('give the real images, or their normalised power as powers["real"]')
        for name, x in sets.items() if "real" in powers else {**sets, "real": real}.items():
            if name not in powers:
                mean = normalised_power(x.double() / 255 if x.dtype == torch.uint8 else x)[1].mean(0)
                powers[name] = mean[None]
        sheets = {name: sheet(x[:20], columns) for name, x in sets.items()}
        frequency = torch.arange(1, start.shape[-1] // 2 + 1) / start.shape[-1]
        curves = {name: _mean_and_spread(values) for name, values in powers.items()}
        means = {name: torch.tensor(curve["mean"], dtype=torch.float64) for name, curve in curves.items() if about}
        shares = {name: float(share_above(frequency.double(), mean)) for name, mean in means.items()}
        super().__init__(
            sheets={name: uri for name, (uri, _) in sheets.items()},
            shape=sheets["start"][1],
            frequency=frequency.tolist(),
            powers=curves,
            looks={name: _look(name) for name in images},
            named={f"fine detail of {name}, {about}": share for name, share in shares.items()},
            names=f": {', '.join(names)}" if names else "",
            chosen=chosen or next(iter(images)),
            against=against,
        )

    @traitlets.validate("chosen", "against")
    def _check_name(self, proposal):
        known = [name for name in self.sheets if proposal.trait.name == "against" or name != "start"]
        return _one_of(proposal.value, known, "filter")


class CurriculumPlayer(Explorer):
    """A distillation round by round: β, what ridge passes of a layer's spectrum, and the images.

    Args:
        record: as `benchmarks/curriculum.py` writes it.
        images, start: (B·c, C, H, W) in [0, 1], round by round, distilled under the schedule `pictured`, and what the
            rounds started from; None shows no pictures.
        names: classes of the images in order, for their description.
        round: 0 … B − 1.
        schedule, layer: which of the record is shown; by default "cosine" and the last layer.
    Raises:
        traitlets.TraitError: a value is out of range; the message says which are allowed.
        ValueError: the images are not as many rounds as the record's.
    Source: UniDD, Algorithm 1; the chapter "CFM, the algorithm".
    """

    kind = traitlets.Unicode("curriculum").tag(sync=True)
    label = traitlets.Unicode("Explorer: the curriculum of a distillation, round by round").tag(sync=True)
    record = traitlets.Dict().tag(sync=True)
    sheets = traitlets.Dict().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    names = traitlets.Unicode().tag(sync=True)
    pictured = traitlets.Unicode("cosine").tag(sync=True)
    round = traitlets.Int(0).tag(sync=True)
    schedule = traitlets.Unicode("cosine").tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    shared = (*Explorer.shared, "record", "sheets", "shape", "names", "pictured", "round", "schedule", "layer")

    def __init__(
        self, record: dict, images: Tensor | None = None, start: Tensor | None = None, *, names=(), layer=None, **traits
    ):
        record = {part: record[part] for part in ("real", "start", "runs")}
        if images is not None:
            rounds = _rounds(record)
            if start is None or start.shape != images.shape or len(images) % rounds:
                raise ValueError(f"give images of {rounds} rounds, and as many that they started from")
            (distilled, shape), (begun, _) = (sheet(x, len(x) // rounds) for x in (images, start))
            traits |= {"sheets": {"start": begun, "distilled": distilled}, "shape": shape}
        names = f": {', '.join(names)}" if names else ""
        super().__init__(record=record, names=names, layer=layer or list(record["real"])[-1], **traits)

    @traitlets.validate("schedule", "layer", "round")
    def _check_shown(self, proposal):
        name, value = proposal.trait.name, proposal.value
        if name != "round":
            return _one_of(value, self.record["runs" if name == "schedule" else "real"], name)
        if not 0 <= value < _rounds(self.record):
            raise traitlets.TraitError(f"round must lie in 0 … {_rounds(self.record) - 1}, not {value}")
        return value


class MatchingExplorer(Explorer):
    """What methods leave unmatched in each band of a layer's frequencies, and the filter that their gradients act as.

    Args:
        record: of a study, as `benchmarks/spectra_of_methods.py` writes it; its "rows" are enough.
        sheets: method → data URI of a sheet of tiles: a column an image; in the first row the images, then for each of
            `layers` and each of its bands, low frequencies first, a row of the same images filtered to that band. The
            gap between tiles is found from its size: 2 pixels of `pictures.sheet`, or none. None shows no images.
        offered: methods that can be chosen, in this order; by default all of the record.
        reference: the method of real images, always shown.
        methods: those chosen, at most 6; by default the first three.
        epoch: of the networks that sets and gradients are seen through; "0": with random weights.
        layer: the last one of the record if left out.
        band: 0 … J − 1, low frequencies first.
        view: of images as they are, "clean", or as each method sees them, "own".
        measure: "residual", e, or "transfer", 1 − T.
        term: the statistic: "filter" (FFC), "class" (class signal) or "mean" (mean feature).
        at: place of the descent where the gradient is looked at; by default the last.
        layers: of the sheets, in their order; by default those of the record.
        tile: side of a tile of the sheets, in pixels.
        names: what the images of the sheets are of, in order, for their description.
    Raises:
        traitlets.TraitError: a value is out of range; the message says which are allowed.
        ValueError: the record cannot be read, see `matched.summary`, or a sheet does not have these tiles.
    Source: the chapter "Do the deep methods keep the promise?".
    """

    kind = traitlets.Unicode("matching").tag(sync=True)
    label = traitlets.Unicode("Explorer: what methods leave unmatched, band by band of a layer").tag(sync=True)
    study = traitlets.Dict().tag(sync=True)
    sheets = traitlets.Dict().tag(sync=True)
    shape = traitlets.Dict().tag(sync=True)
    pictured = traitlets.List().tag(sync=True)
    names = traitlets.Unicode().tag(sync=True)
    methods = traitlets.List(traitlets.Unicode(), maxlen=MOST).tag(sync=True)
    epoch = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    band = traitlets.Int(0).tag(sync=True)
    view = traitlets.Enum(("clean", "own"), default_value="clean").tag(sync=True)
    measure = traitlets.Enum(("residual", "transfer"), default_value="residual").tag(sync=True)
    term = traitlets.Enum(KINDS, default_value="filter").tag(sync=True)
    at = traitlets.Unicode().tag(sync=True)
    shared = (*Explorer.shared, "study", "sheets", "shape", "pictured", "names")
    shared = (*shared, "methods", "epoch", "layer", "band", "view", "measure", "term", "at")

    def __init__(
        self,
        record: dict,
        sheets: dict[str, str] | None = None,
        *,
        offered: tuple[str, ...] | None = None,
        reference: str = "random",
        methods: tuple[str, ...] | None = None,
        epoch: str = "10",
        layer: str | None = None,
        at: float | None = None,
        layers: tuple[str, ...] | None = None,
        tile: int = 32,
        names: tuple[str, ...] = (),
        **traits,
    ):
        study = summary(record, offered, reference)
        pictured = list(layers or study["layers"])
        sheets = {name: uri for name, uri in (sheets or {}).items() if name in study["seeds"]}
        shapes = {
            name: sheet_shape(size_of(uri), tile, 1 + len(pictured) * study["bands"]) for name, uri in sheets.items()
        }
        if any(shape != next(iter(shapes.values())) for shape in shapes.values()):
            raise ValueError(f"all sheets must be of one size: {shapes}")
        super().__init__(
            study=study,
            sheets=sheets,
            shape=next(iter(shapes.values()), {}),
            pictured=pictured,
            names=f": {', '.join(names)}" if names else "",
            methods=list(study["methods"][:3] if methods is None else methods),
            epoch=str(epoch),
            layer=layer or study["layers"][-1],
            at=f"{at:g}" if at is not None else (study["places"] or [""])[-1],
            **traits,
        )

    @traitlets.validate("methods")
    def _check_methods(self, proposal):
        return [_one_of(name, self.study["methods"], "method") for name in dict.fromkeys(proposal.value)]

    @traitlets.validate("epoch", "layer", "at")
    def _check_name(self, proposal):
        name = proposal.trait.name
        known = self.study[{"epoch": "epochs", "layer": "layers", "at": "places"}[name]]
        return _one_of(proposal.value, known or [""], name)

    @traitlets.validate("band")
    def _check_band(self, proposal):
        if not 0 <= proposal.value < self.study["bands"]:
            raise traitlets.TraitError(f"band must lie in 0 … {self.study['bands'] - 1}, not {proposal.value}")
        return proposal.value


class ResultsTable(Explorer):
    """All results in one table, to be sorted and filtered; a row opens to a card with images and a spectrum.

    Args:
        records: at least one.
        images: name of a data set → its images, by which bytes are counted where a record does not have them.
        looks: "data/ipc/method" → "picture", a data URI, and "spectrum", see `listing.looks`.
        data, regime, ipc, role: what rows must have to be shown; "" lets all pass; "all" of ipc are all images.
        most: bytes that a row takes at most; 0 lets all pass, those too whose bytes are not known.
        sort: a name out of `COLUMNS`; "" as `tables.table` has them.
        down: whether the largest comes first.
        row: key of the one whose card is seen; "" for none.
    Raises:
        traitlets.TraitError: no row has that value.
        ValueError: there is no record.
    Source: the chapter "All results in one table".
    """

    kind = traitlets.Unicode("results").tag(sync=True)
    label = traitlets.Unicode("Explorer: all results in one table, to be sorted and filtered").tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    cards = traitlets.List().tag(sync=True)
    methods = traitlets.Dict().tag(sync=True)
    looks = traitlets.Dict().tag(sync=True)
    limits = traitlets.List().tag(sync=True)
    data = traitlets.Unicode().tag(sync=True)
    regime = traitlets.Unicode().tag(sync=True)
    ipc = traitlets.Unicode().tag(sync=True)
    role = traitlets.Unicode().tag(sync=True)
    most = traitlets.Int(0, min=0).tag(sync=True)
    sort = traitlets.Enum(("", *COLUMNS), default_value="").tag(sync=True)
    down = traitlets.Bool(False).tag(sync=True)
    row = traitlets.Unicode().tag(sync=True)
    shared = (*Explorer.shared, "rows", "cards", "methods", "looks", "limits")
    shared = (*shared, "data", "regime", "ipc", "role", "most", "sort", "down", "row")

    def __init__(
        self,
        records: list[Record],
        images: dict[str, ImageData] | None = None,
        looks: dict[str, dict] | None = None,
        **traits,
    ):
        if not records:
            raise ValueError("a table of results needs a record")
        found = listing(records, images)
        super().__init__(**found, looks=looks or {}, limits=limits(found["rows"]), **traits)

    @traitlets.validate("data", "regime", "ipc", "role", "row")
    def _check_shown(self, proposal):
        name = proposal.trait.name
        known = (one["key" if name == "row" else name] for one in self.rows)
        return _one_of(proposal.value, ["", *dict.fromkeys("all" if v is None else str(v) for v in known)], name)


class DigitsExplorer(Explorer):
    """Ten digits distilled in the page through a filter: images, spectrum, and what two learners make of them.

    Args:
        data: 8×8 images of one channel, such as `load("digits")`.
        features: "pixels", or "relu", random features of them.
        filter: out of `linear.FILTERS`.
        beta: β of the ridge filter, in units of the mean eigenvalue, 0.001 … 10.
        steps: t of descent from 0, 1 … 512.
        start: numbers of the training images at the start, one of each class in order; by default some at random.
    Raises:
        traitlets.TraitError: a value is out of range.
        ValueError: the images are not 8×8 and grey.
    Source: the first page; `unidd.book.linear` is the same in PyTorch.
    """

    kind = traitlets.Unicode("digits").tag(sync=True)
    label = traitlets.Unicode("Explorer: ten digits distilled through a filter").tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    spectra = traitlets.Dict().tag(sync=True)
    nearest = traitlets.Float().tag(sync=True)
    features = traitlets.Enum(linear.FEATURES, default_value="pixels").tag(sync=True)
    filter = traitlets.Enum(linear.FILTERS, default_value="ridge").tag(sync=True)
    beta = traitlets.Float(0.1).tag(sync=True)
    steps = traitlets.Int(16).tag(sync=True)
    start = traitlets.List(traitlets.Int()).tag(sync=True)
    guess = traitlets.Enum(("", "as much", "less", "lose"), default_value="").tag(sync=True)
    shared = (*Explorer.shared, "data", "spectra", "nearest", "features", "filter", "beta", "steps", "start", "guess")

    def __init__(self, data: ImageData, start: list[int] | None = None, **traits):
        if (data.channels, data.size) != (1, 8):
            raise ValueError(
                f"{data.name}: the page distils grey images of 8×8 pixels, not {data.channels} × {data.size}²"
            )
        kinds = {kind: linear.Digits(data, kind) for kind in linear.FEATURES}
        one = kinds["pixels"]
        super().__init__(
            data=linear.packed(data),
            spectra={kind: linear.packed_spectrum(found) for kind, found in kinds.items()},
            nearest=one.nearest_accuracy(one.train, data.train.labels) / 100,
            start=start or one.first(),
            **traits,
        )

    @traitlets.validate("beta", "steps")
    def _check_number(self, proposal):
        low, high = {"beta": (1e-3, 10), "steps": (1, 512)}[proposal.trait.name]
        if not low <= proposal.value <= high:
            raise traitlets.TraitError(f"{proposal.trait.name} must lie in {low} … {high}, not {proposal.value}")
        return proposal.value


def _look(name: str) -> str:
    """The name that the explorers' style has for the look of a filter, such as "ridge, β = 0.1"; "own" without one."""
    try:
        wanted = look(name.split(",")[0])
    except KeyError:
        return "own"
    return next(known for known, found in LOOKS.items() if found == wanted).replace("-", "")


def _rounds(record: dict) -> int:
    return min(len(run["beta"]) for run in record["runs"].values())


def _one_of(value: str, known, what: str) -> str:
    if value not in known:
        raise traitlets.TraitError(f"no {what} {value!r}; there are: {', '.join(known)}")
    return value


def _mean_and_spread(values: Tensor) -> dict[str, list[float]]:
    """Mean (f,), and standard deviation (f,) or nothing, over rows (k, f): six significant digits."""
    values = torch.as_tensor(values).double()
    found = {"mean": values.mean(0), "std": values.std(0) if len(values) > 1 else values.new_zeros(0)}
    return {name: rounded(row, 6) for name, row in found.items()}
