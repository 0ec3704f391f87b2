"""Numbers that occur twice in the built book under one name."""

from collections import Counter

import pytest
from visits import BOOK, pages

from unidd.book.named import disagreements, marks

pytestmark = pytest.mark.browser


def test_numbers_under_one_name_agree_over_the_whole_book(site):
    texts = {page: (BOOK / page).read_text() for page in pages()}
    often = Counter(name for text in texts.values() for name, _ in marks(text))
    assert sum(count > 1 for count in often.values()) >= 3, "names that occur twice, or nothing is compared"
    assert disagreements(texts) == []
