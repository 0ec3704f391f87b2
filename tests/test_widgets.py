"""Explorers on the Python side: traits, their limits, and what a page without a kernel gets."""

import json

import pytest
import torch
from traitlets import TraitError

from unidd.widgets import EXPLORER, FILTERS, FilterExplorer

SPECTRA = {"first": [4.0, 0.5, 0.001], "second": torch.tensor([0.1, 2.0, -1e-9], dtype=torch.float64)}


def test_state_is_plain_json_and_complete():
    explorer = FilterExplorer(SPECTRA, layer="second", beta=0.25, steps=7, filters=["ridge"])
    state = explorer._repr_mimebundle_()[0][EXPLORER]
    assert json.loads(json.dumps(state)) == state
    assert state["kind"] == "filters"
    assert state["layer"] == "second"
    assert (state["beta"], state["rate"], state["steps"], state["filters"]) == (0.25, 1.0, 7, ["ridge"])


def test_eigenvalues_are_sorted_and_never_negative():
    assert FilterExplorer(SPECTRA).eigenvalues == {"first": [4.0, 0.5, 0.001], "second": [2.0, 0.1, 0.0]}


def test_a_live_notebook_still_gets_the_widget():
    data, _ = FilterExplorer(SPECTRA)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("Explorer")


def test_every_shared_trait_is_synchronised():
    """What the page needs is also what a kernel keeps in step: the two ways show the same."""
    explorer = FilterExplorer(SPECTRA)
    assert set(explorer.state()) <= set(explorer.trait_names(sync=True))


def test_the_drawing_has_a_response_for_each_filter():
    source = str(FilterExplorer(SPECTRA)._esm)
    assert all(f"\n  {name}: (" in source and f'name: "{name}"' in source for name in FILTERS)


def test_values_move_both_ways():
    explorer, heard = FilterExplorer(SPECTRA), []
    explorer.observe(lambda change: heard.append(change.new), "beta")
    explorer.beta = 0.3
    explorer.set_state({"beta": 0.6})  # as a slider in the browser does
    assert heard == [0.3, 0.6]
    assert explorer.beta == 0.6


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0},
        {"beta": float("nan")},
        {"beta": float("inf")},
        {"rate": 2.0},
        {"rate": -0.1},
        {"steps": 0},
        {"steps": 1001},
        {"filters": ["wiener"]},
        {"layer": "third"},
        {"eigenvalues": {}},
        {"eigenvalues": {"dead": [0.0, 0.0]}},
        {"eigenvalues": {"bad": [1.0, float("nan")]}},
        {"eigenvalues": {"indefinite": [1.0, -0.5]}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(TraitError):
        FilterExplorer(**{"eigenvalues": SPECTRA} | wrong)


def test_a_refused_change_leaves_the_old_value():
    explorer = FilterExplorer(SPECTRA, beta=0.3)
    with pytest.raises(TraitError, match="beta must lie between 0 and"):
        explorer.beta = -1
    assert explorer.beta == 0.3
