"""Captions and looks."""

import re

import pytest

from unidd.book import palette
from unidd.book.captions import Captioned


@pytest.mark.parametrize(("caption", "name"), [("", "fig-a"), ("  ", "tab-a"), ("What to see.", "a")])
def test_a_caption_and_its_name_are_asked_for(caption, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        Captioned(None, caption, name)


def test_looks_differ_in_more_than_colour():
    looks = palette.LOOKS.values()
    assert len({look.colour for look in looks}) == len({look.symbol for look in looks}) == len(looks)
    assert palette.look("CFM") == palette.look("ridge")
    with pytest.raises(KeyError, match=r"palette.*cfm"):
        palette.look("none")
