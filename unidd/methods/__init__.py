"""Methods of dataset distillation, a file each; `find` imports one by the name of its file, class or dotted path.

No list names the methods: the command line, the batch, the tables and the book read this folder. A method is a frozen
dataclass whose fields are its hyper-parameters, with the paper's names. See the page "How to add a method".
"""

import importlib
import inspect
import math
import os
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet, choose

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ..core.statistics import Moments
    from ..engine.run import Run
    from ..networks.training import Teacher
    from ._descending import Descending as Descending

Role = Literal["method", "coreset", "baseline", "ceiling"]


@dataclass(frozen=True)
class Range:
    """Bounds of a hyper-parameter, for `Annotated`.

    Args:
        low, high: the bounds; `high` may be reached if it is finite.
        above: whether `low` itself is out of range.
    """

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        bound = f"{'above' if self.above else 'from'} {self.low:g}"
        return f"a finite number {bound}" + (f" up to {self.high:g}" if self.high < math.inf else "")


Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Count = Annotated[int, Range(0)]
Whole = Annotated[int, Range(1)]
Fraction = Annotated[float, Range(0, 1, above=True)]


@dataclass(frozen=True)
class Part:
    """What a method does beside its descent, as far as it is still to be done, for `unidd plan`.

    Attributes:
        name: what is done, for people.
        count, unit: of how many, of what.
        trial: does `each` of them; nothing of it is kept.
        kept: bytes that are left in the cache.
        held: bytes of main memory that the whole takes and a trial does not.
    """

    name: str
    count: int
    unit: str
    trial: Callable[[], object]
    each: int = 1
    kept: int = 0
    held: int = 0


@dataclass(frozen=True)
class Method(ABC):
    """Makes a synthetic set of a data set. Subclasses are frozen dataclasses; fields are hyper-parameters.

    Attributes:
        source: the paper.
        acts_as: the filter that UniDD says it is.
        labels: what labels it stores.
        role: "method"; "coreset", real images chosen by a rule; "baseline", a choice of real images to beat, of which a
            table has one; or "ceiling", all real images.
        has_ipc: whether a number of images per class is asked for.
        seeded: whether the seed decides anything but the order of equal ones; if not, data and teacher do alone.
        needs_teacher: whether it looks at the data through a trained network.
        presets: name, such as that of a data set → hyper-parameters published for it that differ from the defaults.
        presets_source: where these are from; every method with presets says so.
        architecture: of the networks that it draws anew, if it does.
        unbudgeted: hyper-parameters that no budget changes, since one value is published for data of all sizes.
    Raises:
        ValueError: a hyper-parameter has a wrong type or is out of range; the message names it.
    """

    source: ClassVar[str]
    acts_as: ClassVar[str]
    labels: ClassVar[str] = "hard"
    role: ClassVar[Role] = "method"
    has_ipc: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    needs_teacher: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    presets_source: ClassVar[str] = ""
    architecture: ClassVar[str] = "convnet"
    unbudgeted: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        hints = typing.get_type_hints(type(self), include_extras=True)
        for f in fields(self):
            _check(f.name, getattr(self, f.name), hints[f.name], f.default)

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @classmethod
    def summary(cls) -> str:
        """Return the first sentence of the docstring."""
        return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ").removesuffix(".")

    @classmethod
    def path(cls) -> str:
        """Return what `find` finds the method by."""
        ours = cls.__module__.startswith(f"{__name__}.")
        return cls.__name__.lower() if ours else f"{cls.__module__}.{cls.__qualname__}"

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return the method as published under a name of `presets`, but for some changes.

        Raises:
            ValueError: there is no such preset.
        """
        if name not in cls.presets:
            known = f"choose one of {', '.join(cls.presets)}" if cls.presets else f"{cls.path()} has none"
            raise ValueError(f"no preset {name!r}: {known}")
        return cls(**{**cls.presets[name], **changes})

    def settled(self, data: ImageData, ipc: int | None = None) -> Self:
        """Return the method with every hyper-parameter that data and images per class decide; by default none."""
        return self

    def config(self, data: ImageData, run: "Run") -> dict:
        """Return all that decides the set beside data and teacher, as plain values, for its card."""
        asked = {"ipc": run.ipc} if self.has_ipc else {}
        return {"method": self.name, **asked, "seed": run.seed, **asdict(self.settled(data, run.ipc))}

    def check(self, data: ImageData, run: "Run") -> None:
        """Raise now, as a ValueError, what would otherwise fail after long work."""
        if run.start is not None:
            raise ValueError(f"the method {self.name!r} takes real images: leave out the set to start from")
        if self.has_ipc:
            choose(data, run.ipc, run.seed)

    def parts(self, data: ImageData, teacher: "Teacher", run: "Run") -> tuple[Part, ...]:
        """Return what is to be done beside descending on images and training the teacher; by default nothing.

        Args:
            teacher: as in `distill`, or an untrained network of its architecture.
        """
        return ()

    @property
    def real_signal(self) -> str | None:
        """The signal of the real-side statistics that are needed; None if none are."""
        return None

    def check_statistics(self) -> None:
        """Raise a ValueError if the method matches no statistics of the real side."""
        if not self.real_signal:
            raise ValueError(f"the method {self.name!r} matches no statistics of the real side: leave them out")

    def read_statistics(self, path: str | Path, data: ImageData, teacher: "Teacher | None") -> dict[str, "Moments"]:
        """Read the statistics that the method matches, of a teacher, from files.

        Args:
            data: as the teacher sees them.
        Raises:
            FileNotFoundError: there are none.
            ValueError: the method matches none; there is no teacher; they are not this teacher's.
        """
        self.check_statistics()
        return {}

    def view(self, images: "Tensor", generator: "Generator", real: bool = False) -> "Tensor":
        """Return what the method sees of images in one draw, network input (n, C, H, W); by default they themselves.

        It is for measurements alone: a method whose loss is of augmented images says so here.

        Args:
            generator: a draw that is the same for real and synthetic images comes of the same state.
            real: whether they are the real images.
        """
        return images

    @abstractmethod
    def distill(self, data: ImageData, teacher: "Teacher", run: "Run") -> SyntheticSet:
        """Return the synthetic set.

        Args:
            data: the real images, on the device to compute on.
            teacher: a trained network; not looked at unless `needs_teacher`.
        """


def find(name: str) -> type[Method]:
    """Return a method by name ("cfm", "hfm"), or by the dotted path of a module or class of yours.

    Raises:
        ValueError: there is none, or a module has several and none of its name.

    >>> find("cfm").summary()
    'Curriculum frequency matching: the ridge filter, whose β falls from round to round'
    """
    classes = {cls.__name__.lower(): cls for cls in found()}
    if name in classes:
        return classes[name]
    known = ", ".join(classes)
    unknown = f"unknown method {name!r}: choose one of {known}, or the dotted path of a module of yours"
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(unknown)
    try:
        return _of_module(_imported(name), name.rpartition(".")[2])
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"the module {name!r} cannot be imported: {error}") from error
    parent, _, last = name.rpartition(".")
    try:
        named = getattr(_imported(parent), last, None) if parent else None
    except ModuleNotFoundError:
        named = None
    if inspect.isclass(named) and issubclass(named, Method) and not inspect.isabstract(named):
        return named
    raise ValueError(unknown)


def role(name: str, otherwise: str = "method") -> str:
    """Return the role of a method that is known here, and what is said otherwise of any other.

    >>> role("random"), role("herding"), role("of others")
    ('baseline', 'coreset', 'method')
    """
    try:
        return find(name).role
    except ValueError:
        return otherwise


def found() -> list[type[Method]]:
    """Return all methods of this folder, file by file, in the order they are written in."""
    files = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))
    return [cls for stem in files for cls in _defined(importlib.import_module(f"{__name__}.{stem}"))]


def _defined(module: ModuleType) -> list[type[Method]]:
    classes = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Method)]
    return [c for c in classes if c.__module__ == module.__name__ and not inspect.isabstract(c)]


def _of_module(module: ModuleType, last: str) -> type[Method]:
    classes = {cls.__name__.lower(): cls for cls in _defined(module)}
    if len(classes) != 1 and last not in classes:
        what = f"the methods {', '.join(classes)}: name one, as in {module.__name__}.Class" if classes else "no method"
        raise ValueError(f"the module {module.__name__!r} has {what}")
    return classes.get(last) or next(iter(classes.values()))


def _imported(path: str) -> ModuleType:
    """Import a module, also one that lies in the working folder; processes started from here find it too."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(path)


def _check(name: str, value: Any, hint: Any, default: Any) -> None:
    """Raise a ValueError unless a value fits a type hint: numbers, strings, `Literal`, `Range`, and unions of them."""
    ranges = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range)]
    kind = hint.__origin__ if ranges else hint
    options = typing.get_args(kind) if _is_union(kind) else (kind,)
    if value is None and type(None) in options:
        return
    if choices := [c for option in options for c in typing.get_args(option) if typing.get_origin(option) is Literal]:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")
        return
    for option in options:
        if option is not type(None) and getattr(option, "__metadata__", ()):
            return _check(name, value, option, default)
    if not any(_fits(value, option) for option in options):
        example = "" if default is MISSING else f" like {default!r}"
        raise ValueError(f"{name} must be a value{example}, not {value!r}")
    for bounds in ranges:
        if value is None or value not in bounds:
            raise ValueError(f"{name} must be {bounds}, not {value}")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, type(int | None))


def _fits(value: Any, kind: Any) -> bool:
    kind = typing.get_origin(kind) or kind
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float if kind is float else kind)


def __getattr__(name: str) -> Any:  # its module imports the engine, which a method that only chooses does not need
    if name == "Descending":
        return importlib.import_module("._descending", __name__).Descending
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
