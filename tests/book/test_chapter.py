"""What the chapters on methods share."""

import pytest
import torch

from unidd.book import chapter
from unidd.book.palette import look
from unidd.data.datasets import load


def test_samples_are_pixels_as_they_are_with_one_hot_labels():
    (x, y), (x_s, y_s), (x_t, y_t) = chapter.samples(load("digits"), ipc=3)
    assert [tuple(part.shape) for part in (x, y, x_s, y_s)] == [(1437, 64), (1437, 10), (30, 64), (30, 10)]
    assert tuple(x_t.shape) == (360, 64)
    assert len(y_t) == 360
    assert y_s.sum(0).tolist() == [3.0] * 10
    assert (x.min(), x.max()) == (0, 1)
    assert x.mean(0).max() > 0.5, "not centred"
    assert torch.cdist(x_s, x).min(1).values.max() < 1e-6, "the small side is made of real images"


def test_check_says_what_it_found_and_fails_above_its_tolerance(capsys):
    one = torch.ones(3, dtype=torch.float64)
    chapter.check("twins", one, one + 1e-12)
    assert capsys.readouterr().out == "twins: relative difference 1e-12\n"
    for other in (one + 1e-3, one * float("nan")):
        with pytest.raises(AssertionError, match="strangers"):
            chapter.check("strangers", other, one)


def test_an_interval_needs_five_repetitions():
    low, high = chapter.interval([0.1, 0.2, 0.3, 0.2, 0.2])
    assert (low, high) == pytest.approx((0.1122, 0.2878), abs=1e-4)  # 2.776 standard errors of 0.0316 either way
    with pytest.raises(ValueError, match="n = 4"):
        chapter.interval([0.1, 0.2, 0.3, 0.2])


def test_lines_have_the_look_of_their_method():
    curves = {"a": chapter.Line("krr", [1, 2], [3, 4]), "b": chapter.Line("dc", [1, 2], [3, 4], [0.1, 0.2], "dot")}
    figure = chapter.lines(curves, "two lines", "steps", "share", xaxis={"type": "log"})
    first, second = figure.data
    assert (first.line.color, first.line.dash, first.mode) == (look("ridge").colour, look("ridge").dash, "lines")
    assert (second.line.color, second.line.dash, second.marker.symbol) == (look("linear").colour, "dot", "square")
    assert tuple(second.error_y.array) == (0.1, 0.2)
    assert (figure.layout.xaxis.title.text, figure.layout.xaxis.type, figure.layout.yaxis.title.text) == (
        "steps",
        "log",
        "share",
    )
