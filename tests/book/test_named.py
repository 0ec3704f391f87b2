"""Numbers with a name."""

import json

import pytest

from unidd.book.named import disagreements, marks, named


def page(*sentences: str, **figure: float) -> str:
    state = json.dumps({"layout": {"meta": {"named": figure}}}).replace("</", "<\\/")
    return f'<p>{" ".join(sentences)}</p><script type="application/json" class="any-data">{state}</script>'


def test_marks_of_a_page_are_those_of_its_sentences_and_of_its_figures():
    name = 'a teacher\'s "share" <b>'
    found = list(marks(page(named(name, 0.25, "25 %"), detail=0.5)))
    assert found == [(name, 0.25), ("detail", 0.5)]


@pytest.mark.parametrize(
    "pages",
    [
        {"one": page(named("detail", 0.110, "11.0 %")), "other": page(detail=0.184)},
        {"one": page(named("detail", 0.110, "11.0 %"), named("detail", 0.184, "18.4 %"))},
    ],
)
def test_a_name_with_two_numbers_is_a_disagreement_that_says_where(pages):
    (said,) = disagreements(pages)
    assert said.startswith("detail: 0.11 on one, 0.184 on ")


def test_numbers_that_differ_by_rounding_or_by_name_agree():
    pages = {"one": page(named("detail", 0.1839, "18 %")), "other": page(detail=0.18395, other=0.5)}
    assert disagreements(pages) == []
