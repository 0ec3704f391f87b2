"""Pictures in a row."""

import re

import pytest
import torch

from unidd.book.chain import Chain, Link, signed


def test_a_chain_has_an_arrow_between_two_links_and_words_for_who_cannot_see_them():
    picture = torch.rand(4, 3, 3)
    shown = Chain(
        [Link("x < y", 'a "note"', picture), Link("f(x)", "12", picture), Link("g", "1", picture, sign="+")]
    )._repr_html_()
    assert re.findall(r">([→+])<", shown) == ["→", "+"]
    assert re.findall(r'alt="([^"]*)"', shown) == ["x &lt; y: a &quot;note&quot;", "f(x): 12", "g: 1"]
    assert len(re.findall(r'src="data:image/', shown)) == 3


def test_a_chain_needs_a_link():
    with pytest.raises(ValueError, match="a link"):
        Chain([])


def test_signs_are_colours_and_sizes_are_strength():
    picture = signed(torch.tensor([[4.0, -2.0], [0.0, -4.0]]))
    assert picture[3].tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert picture[0, 0, 0] > picture[2, 0, 0], "orange above 0"
    assert picture[2, 1, 1] > picture[0, 1, 1], "blue below"
    assert signed(torch.zeros(2, 2))[3].max() == 0
