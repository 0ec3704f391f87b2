"""Methods are found by the folder they lie in, or by a dotted path; and their hyper-parameters are checked."""

import importlib
import inspect
import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

import pytest

from unidd import methods
from unidd.data.datasets import ImageData
from unidd.data.synthetic import SyntheticSet
from unidd.methods import Count, Fraction, Method, NotNegative, Positive, Range, find, found
from unidd.methods.cfm import CFM, HFM, LFM, Classification, Relative

FOLDER = Path(methods.__file__).parent

# ------------------------------------------------------------------------------------------------- by name


@pytest.mark.parametrize("cls", found(), ids=lambda cls: cls.__name__)
def test_a_method_is_found_by_its_name(cls):
    assert find(cls.__name__.lower()) is cls
    assert cls.path() == cls().name == cls.__name__.lower()


@pytest.mark.parametrize("name", ["mtt2", "CFM", "", "method", "descending", "_descending", "cfm "])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=f"unknown method {name!r}: choose one of .*, or the dotted path of") as caught:
        find(name)
    assert all(cls.path() in str(caught.value) for cls in found())


def test_every_file_of_the_folder_has_methods_and_no_name_is_taken_twice():
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert {cls.__module__.rpartition(".")[2] for cls in found()} == files
    names = [cls.path() for cls in found()]
    assert len(set(names)) == len(names)
    ours = [cls for cls in found() if cls.__module__ == CFM.__module__]
    assert ours == [CFM, HFM, LFM, Relative, Classification]


def test_no_list_names_the_methods(monkeypatch, tmp_path):
    """A file more in the folder is a method more, and a file less is a method less."""
    for path in FOLDER.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "cfm.py").unlink()
    (tmp_path / "newest.py").write_text(MINE)
    before = found()
    monkeypatch.setattr(methods, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    try:
        assert {cls.__name__ for cls in found()} - {cls.__name__ for cls in before} == {"Mine"}
        assert set(before) - set(found()) == {CFM, HFM, LFM, Relative, Classification}
        assert find("mine").path() == "mine"
        with pytest.raises(ValueError, match="unknown method 'cfm'"):
            find("cfm")
    finally:
        sys.modules.pop("unidd.methods.newest", None)


@pytest.mark.parametrize("cls", found(), ids=lambda cls: cls.__name__)
def test_a_method_says_what_it_is(cls):
    assert cls.summary()
    assert "\n" not in cls.summary()
    for text in (cls.source, cls.acts_as, cls.labels):
        assert isinstance(text, str)
        assert text
    assert cls.role in get_args(methods.Role)
    assert cls.has_ipc == (cls.role != "ceiling")
    with pytest.raises(AttributeError):  # frozen
        cls().name = "other"


# ------------------------------------------------------------------------------------------ by dotted path

MINE = '''
from dataclasses import dataclass
from typing import ClassVar
from unidd.methods import Method

@dataclass(frozen=True)
class Mine(Method):
    """Mine."""
    source: ClassVar[str] = "me"
    acts_as: ClassVar[str] = "none"

    def distill(self, data, teacher, run):
        raise NotImplementedError
'''
MANY = (
    MINE.replace("Mine(", "First(")
    + MINE.replace("Mine(", "Second(")
    + MINE.replace("Mine(", "Many_Of_Them(")
    + """
from unidd.methods.cfm import CFM as theirs

class Base(Method):
    other = 3

def function(): ...
"""
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes modules to the working folder, which Python does not look into by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])

    def files(sources: dict[str, str]) -> None:
        for name, source in sources.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(source)
        importlib.invalidate_caches()

    yield files
    for name in [name for name in sys.modules if name.startswith("found_")]:
        del sys.modules[name]


def test_a_module_with_one_method_is_enough_to_name_it(write):
    write({"found_lab/__init__.py": "", "found_lab/one.py": MINE})
    cls = find("found_lab.one")
    assert (cls.__module__, cls.__name__) == ("found_lab.one", "Mine")
    assert cls.path() == "found_lab.one.Mine"
    assert find(cls.path()) is cls
    assert cls().name == "mine"


def test_a_module_that_is_in_no_package(write):
    write({"found_alone.py": MINE})
    cls = find("found_alone.Mine")
    assert cls.path() == "found_alone.Mine"
    assert find(cls.path()) is find("found_alone") is cls


def test_a_name_of_this_folder_is_not_taken_by_a_module_of_ones_own(write):
    write({"cfm.py": "raise SystemExit('it ran')\n"})
    assert find("cfm") is CFM


def test_of_several_methods_the_one_of_the_modules_name_or_the_class_that_is_named(write):
    write({"found_lab/__init__.py": "", "found_lab/many.py": MANY, "found_lab/second.py": MANY})
    with pytest.raises(ValueError, match="has the methods first, second, many_of_them: name one, as in found_lab"):
        find("found_lab.many")
    assert find("found_lab.many.First").path() == "found_lab.many.First"
    assert find("found_lab.second").path() == "found_lab.second.Second"
    assert find("found_lab.many.theirs") is CFM, "a class that the module has from elsewhere, if it is named"


@pytest.mark.parametrize(
    "path", ["found_lab.many.Base", "found_lab.many.function", "found_lab.many.Third", "found_lab.many.first"]
)
def test_what_is_no_method_of_a_module(write, path):
    write({"found_lab/__init__.py": "", "found_lab/many.py": MANY})
    with pytest.raises(ValueError, match=f"unknown method '{path}': choose one of .* or the dotted path of a module"):
        find(path)


@pytest.mark.parametrize(
    "path", ["found_nowhere", "found_nowhere.one", "found_lab.nowhere", "os.path.join", ".", "a..b"]
)
def test_where_there_is_nothing(write, path):
    write({"found_lab/__init__.py": ""})
    with pytest.raises(ValueError, match=f"unknown method {path!r}"):
        find(path)


def test_a_module_without_methods(write):
    write({"found_lab/__init__.py": "", "found_lab/none.py": "x = 1\n"})
    for path in ("found_lab", "found_lab.none", "json", "unidd.methods"):
        with pytest.raises(ValueError, match=f"the module '{path}' has no method"):
            find(path)


def test_a_module_of_this_folder_by_its_whole_path():
    assert find("unidd.methods.cfm") is CFM
    assert find("unidd.methods.cfm.HFM") is HFM


@pytest.mark.parametrize("missing", ["found_missing", "f", "found", "found_lab.missing", "found_lab.broken2"])
def test_what_is_missing_within_a_module_is_named_as_it_is(write, missing):
    write({"found_lab/__init__.py": "", "found_lab/broken.py": f"import {missing}\n" + MINE})
    for path in ("found_lab.broken", "found_lab.broken.Mine"):
        with pytest.raises(ValueError, match=f"cannot be imported: No module named '{missing}'"):
            find(path)


# ------------------------------------------------------------------------------------- what is checked of it


@dataclass(frozen=True)
class Toy(Method):
    """A toy."""

    real: float = 0.5
    whole: int = 3
    flag: bool = True
    text: str = "a"
    choice: Literal["one", "two"] = "one"
    positive: Positive = 1.0
    from_zero: NotNegative = 0.0
    count: Count = 2
    part: Fraction = 0.5
    among: Annotated[int, Range(2, 4)] = 3
    maybe: float | None = None
    bounded: Annotated[float, Range(0, above=True)] | None = None
    chosen: Literal["one", "two"] | None = None
    either: int | str = 1

    source: ClassVar[str] = "none"
    acts_as: ClassVar[str] = "none"

    def distill(self, data: ImageData, teacher, run) -> SyntheticSet:
        raise NotImplementedError


GOOD = {
    "real": [0.0, -1.5, 2, math.inf],
    "whole": [0, -5],
    "flag": [True, False],
    "text": ["", "b"],
    "choice": ["two"],
    "positive": [1e-300, 5, 1e300],
    "from_zero": [0, 0.0, 7.5],
    "count": [0, 10**9],
    "part": [1, 1.0, 1e-9],
    "among": [2, 4],
    "maybe": [None, 0.0, 3, -1.5],
    "bounded": [None, 0.25, 3],
    "chosen": [None, "one"],
    "either": [2, "b"],
}
BAD = {
    "real": ["0.5", None, True, [0.5], 1j],
    "whole": [1.0, "1", None, True, False],
    "flag": [1, 0, "yes", None],
    "text": [1, None, b"a", True],
    "choice": ["three", None, 1, "ONE", ["one"]],
    "positive": [0, -1, math.inf, math.nan, True, "1"],
    "from_zero": [-1e-9, math.inf, math.nan, -math.inf],
    "count": [-1, 1.0, True, math.nan],
    "part": [0, 1.0001, math.nan, False],
    "among": [1, 5, 3.0, True],
    "maybe": ["0.5", True, [None]],
    "bounded": [0, -0.5, math.inf, math.nan, True, "0.25"],
    "chosen": ["three", "", 0, False],
    "either": [1.5, None, True],
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in GOOD.items() for v in values])
def test_a_value_of_the_type_and_in_the_range_is_taken_as_it_is(name, value):
    assert getattr(Toy(**{name: value}), name) is value


@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in BAD.items() for v in values])
def test_a_value_of_another_type_or_out_of_range_is_one_clear_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be ") as caught:
        Toy(**{name: value})
    assert str(caught.value).endswith(f"not {value!r}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice": "three"}, "choice must be one of one, two, not 'three'"),
        ({"real": "a"}, "real must be a value like 0.5, not 'a'"),
        ({"positive": 0}, "positive must be a finite number above 0, not 0"),
        ({"from_zero": -1}, "from_zero must be a finite number from 0, not -1"),
        ({"part": 1.5}, "part must be a finite number above 0 up to 1, not 1.5"),
        ({"among": 5}, "among must be a finite number from 2 up to 4, not 5"),
        ({"bounded": 0.0}, "bounded must be a finite number above 0, not 0.0"),
    ],
    ids=str,
)
def test_the_message_says_what_is_allowed(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Toy(**changes)


def test_a_field_without_a_default_is_checked_too():
    @dataclass(frozen=True)
    class Needy(Toy):
        text: str

    with pytest.raises(ValueError, match=r"^text must be a value, not 3|^text must be a value like 'a', not 3"):
        Needy(text=3)


@pytest.mark.parametrize("cls", found(), ids=lambda cls: cls.__name__)
def test_every_hyper_parameter_of_every_method_is_checked(cls):
    for f in fields(cls):
        for wrong in (object(), [f.default]):
            with pytest.raises(ValueError, match=f"^{f.name} must be "):
                cls(**{f.name: wrong})
    with pytest.raises(TypeError):
        cls(no_such_hyper_parameter=1)


def test_a_method_that_does_not_distill_is_not_made():
    with pytest.raises(TypeError, match="abstract"):
        Method()
    assert inspect.isabstract(methods.Descending)
