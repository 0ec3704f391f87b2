"""Settings that the tests of the book share."""

import pandas as pd
import pytest


@pytest.fixture(autouse=True)
def options_as_they_were():
    """Pages of the book change how pandas shows a table."""
    names = ("display.max_rows", "display.max_columns", "display.max_colwidth")
    with pd.option_context(*(part for name in names for part in (name, pd.get_option(name)))):
        yield
