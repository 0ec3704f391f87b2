"""The page of an audit: what is in it, that it stands alone, and that its charts draw what they are given."""

import copy
import html.parser
import itertools
import json
import re
from dataclasses import replace

import audits
import pytest
import torch
import toys

from unidd.bench.audit import audit
from unidd.book.report import page
from unidd.book.svg import HEIGHT, WIDTH, Axis, Series, bars, lines

VOID = {"meta", "img", "br", "hr", "rect", "line", "circle", "polyline"}


class Read(html.parser.HTMLParser):
    """Tags with their attributes, the text, and whether every element that opens also closes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data

    def named(self, *names: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag in names]


def words(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def drawn():
    """An audit with all parts, accuracies made up, and its set."""
    synthetic = audits.drawn(3)
    found = copy.deepcopy(audit(synthetic, audits.data(), toys.teacher()))
    found["accuracy"] = audits.accuracies()
    return found, synthetic


@pytest.fixture(scope="module")
def read(drawn):
    found, synthetic = drawn
    return Read(page(found, synthetic, audits.data(), "my set"))


def test_it_asks_for_nothing_and_runs_nothing(drawn, read):
    text = page(*drawn, audits.data(), "my set")
    assert not read.named("script", "link", "iframe", "object", "embed", "video")
    assert not re.search(r"https?:|url\(|@import|javascript:|\son\w+=", text)
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in read.named("img"))
    assert len(text) < 1_000_000


def test_it_has_a_title_a_language_and_headings_in_order(read):
    assert read.named("html")[0]["lang"] == "en"
    assert read.named("meta")[0]["charset"] == "utf-8"
    assert any(m.get("name") == "viewport" for m in read.named("meta"))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert "Audit of my set" in read.text


def test_every_picture_and_chart_is_described(read):
    assert all(len(picture["alt"]) > 20 for picture in read.named("img"))
    charts = [chart for chart in read.named("svg") if "aria-hidden" not in chart]
    assert len(charts) == 2 + 1 + 3, "distances, power, layers"
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)


def test_tables_name_their_rows_and_columns(read):
    assert len(read.named("caption")) == len(read.named("table")) >= 7
    assert {cell["scope"] for cell in read.named("th")} == {"row", "col"}


def test_it_is_for_light_and_dark_for_phones_and_for_paper(drawn):
    text = page(*drawn)
    for rule in ("prefers-color-scheme: dark", "@media print", "color-scheme: light dark", "max-width: 40rem"):
        assert rule in text


def test_every_sentence_and_every_missing_part_is_on_it(drawn, read):
    for sentence in drawn[0]["verdicts"]:
        assert sentence in words(read.text)
    synthetic = audits.drawn(1)
    alone = audit(synthetic)
    text = words(Read(page(alone, synthetic)).text)
    for one in alone["missing"]:
        assert f"{one['part']}: {one['say']}" in text
    assert "Spectrum of its features" not in text
    assert "Diversity Each class has one image" in text.replace("DiversityEach", "Diversity Each")


def test_its_numbers_are_those_of_the_audit(drawn, read):
    found, text = drawn[0], words(read.text)
    for one in found["layers"]:
        assert f"{100 * one['coverage']:.0f}" in text
        assert one["layer"] in text
    for value in ("52.0 ± 2.8 %", "45.0 ± 7.1 %", "82.0 ± 2.8 %", "7.0 ± 4.2", "7.000 ± 4.200"):
        assert value in text
    assert "not the released percentages" in text or "leaves percentages in the exponent" in text
    for word in ("Coverage is the mean of min(ρ, 1)", "T² KL(softmax(z/T) ‖ softmax(s/T))", "seeds 0, 1, 2"):
        assert word in text


def test_names_that_look_like_code_are_text():
    odd = ('<script>alert("1")</script>', 'a"b', "c & d", "e<f")
    synthetic = audits.drawn(2, class_names=odd, config={"method": "<b>", "import": {"file": '"><img src=x>'}})
    found = audit(synthetic)
    read = Read(page(found, synthetic, title="<i>mine</i> & yours"))
    assert not read.named("script", "i", "b")
    assert all(name in read.text for name in odd)
    assert "Audit of <i>mine</i> & yours" in read.text
    assert len(read.named("img")) == 1


@pytest.mark.parametrize(("channels", "pictures"), [(1, 1), (2, 0), (3, 1), (4, 0)])
def test_images_of_any_channels(channels, pictures):
    about = {"mean": (0.5,) * channels, "std": (0.2,) * channels}
    synthetic = audits.made(toys.rand(8, channels, 8, 8), torch.arange(8) % 4, **about)
    assert len(Read(page(audit(synthetic), synthetic)).named("img")) == pictures


@pytest.mark.parametrize("labels", [[0, 0, 0, 2, 2, 3], [1], [0, 1, 2, 3, 3, 3]])
def test_classes_that_are_unequal_have_bars(labels):
    synthetic = audits.made(audits.waves(len(labels), 3), torch.tensor(labels))
    read = Read(page(audit(synthetic), synthetic))
    assert len(read.named("rect")) == 4
    assert any("Images of each class: ant" in chart.get("aria-label", "") for chart in read.named("svg"))


def test_many_classes_are_a_sentence():
    names = tuple(f"class {k}" for k in range(300))
    synthetic = audits.drawn(2, class_names=names)
    text = words(Read(page(audit(synthetic), synthetic)).text)
    assert "300 classes of between 0 and 2 images" in text
    assert not re.search("class 299.*class 298", text)


def test_the_page_of_numbers_read_back_is_the_same(drawn):
    found, synthetic = drawn
    again = json.loads(json.dumps(found, allow_nan=False))
    assert page(again, synthetic, audits.data()) == page(found, synthetic, audits.data())


def test_a_set_of_soft_labels_says_their_kind():
    synthetic = replace(audits.drawn(2), soft=torch.full((8, 4), 0.25))
    assert "The set stores soft labels (probabilities)." in Read(page(audit(synthetic), synthetic)).text


# ---- charts


def points(chart: str) -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, pair.split(","))) for pair in line.split()]
        for line in re.findall(r'<polyline class="\w+" points="([^"]*)"', chart)
    ]


def test_a_line_goes_through_its_points():
    """The corners of the range are as far from each other as the axes are long, but for the room around them."""
    (line,) = points(lines([Series("set", [0, 1, 2], [0, 10, 5])], Axis("x"), Axis("y"), "a line"))
    assert line[1][0] == pytest.approx((line[0][0] + line[2][0]) / 2, abs=0.2)
    assert line[2][1] == pytest.approx((line[0][1] + line[1][1]) / 2, abs=0.2)
    assert line[0][1] > line[2][1] > line[1][1], "up is more"
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in line)


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors_and_no_zero():
    series = Series("set", [1, 2, 3, 4, 5, 6], [1, 10, 100, 0, -1, float("nan")])
    (line,) = points(lines([series], Axis("x"), Axis("y", log=True), "a line"))
    assert len(line) == 3
    assert line[0][1] - line[1][1] == pytest.approx(line[1][1] - line[2][1], abs=0.2)


@pytest.mark.parametrize(("x", "y"), [([3], [2]), ([1, 2], [5, 5]), ([], []), ([1], [0])])
def test_one_point_a_flat_line_or_nothing_at_all_is_drawn(x, y):
    chart = lines([Series("real", x, y)], Axis("x"), Axis("y", log=True), "little")
    assert "nan" not in chart
    assert "inf" not in chart
    assert len(points(chart)) == (len(x) > 1)
    assert ("<circle" in chart) == (x == [3])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [(0.2, 1), (-3, 7), (0.001, 0.0042), (1e-9, 12345), (5, 5.1), (7, 7)])
def test_ticks_are_round_and_inside(values, log):
    axis = Axis("x", log)
    low, high = axis.range(values)
    ticks = axis.ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-9 <= where <= high + 1e-9 for where, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)
    for where, text in ticks:
        if "·" not in text and "⁻" not in text:
            assert axis.on_axis(float(text)) == pytest.approx(where)


def test_bars_are_as_long_as_their_values():
    chart = bars(["one", "two & three", "none"], [2, 4, 0], "three bars")
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="12"', chart)]
    assert widths == [pytest.approx(widths[1] / 2), widths[1], 0]
    assert "two &amp; three" in chart


def test_a_chart_without_a_description_is_refused():
    for draw in (lambda: lines([], Axis("x"), Axis("y"), " "), lambda: bars(["a"], [1], "")):
        with pytest.raises(ValueError, match="needs a description"):
            draw()
