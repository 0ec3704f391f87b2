"""Pictures of many images: where each pixel goes, by a slow oracle, and what is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unidd.data.grids import grid


def placed(rows, columns, gap, margin):
    """The picture pixel by pixel: NaN where it is see-through."""
    high, wide = rows[0].shape[2:]
    across = max(len(row[:columns]) for row in rows)
    size = 2 * margin + len(rows) * (high + gap) - gap, 2 * margin + across * (wide + gap) - gap
    picture = torch.full((3, *size), math.nan)
    for r, row in enumerate(rows):
        for c, image in enumerate(row[:columns]):
            for y in range(high):
                for x in range(wide):
                    picture[:, margin + r * (high + gap) + y, margin + c * (wide + gap) + x] = image[:, y, x]
    return picture


def check(found, expected):
    visible = ~expected[0].isnan()
    assert found.shape[1:] == expected.shape[1:]
    assert torch.equal(found[3], visible.float())
    assert torch.equal(found[:3], expected.nan_to_num(0.0))


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4)),
    columns=st.integers(1, 5),
    gap=st.integers(0, 3),
    data=st.data(),
)
def test_each_image_stands_in_its_row_and_the_rest_is_see_through(lengths, shape, columns, gap, data):
    margin = data.draw(st.integers(0, gap))
    rows = [torch.rand(n, *shape, generator=torch.Generator().manual_seed(n)) for n in lengths]
    check(grid(rows, columns, gap, margin), placed(rows, columns, gap, margin))


@given(n=st.integers(1, 7), columns=st.integers(1, 9))
def test_images_alone_go_row_after_row(n, columns):
    images = torch.rand(n, 3, 2, 3, generator=torch.Generator().manual_seed(n))
    check(grid(images, columns), placed(images.split(columns), columns, 2, 0))


def test_values_are_clipped_and_leave_the_graph():
    images = torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1).double().requires_grad_()
    found = grid(images, 2, gap=0)
    assert found[0].tolist() == [[0.0, 1.0]]
    assert (found.dtype, found.requires_grad) == (torch.float32, False)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.zeros(0, 3, 2, 2), {}, "at least one"),
        ([], {}, "not none"),
        (torch.zeros(2, 2, 4, 4), {}, r"\(2, 2, 4, 4\)"),
        (torch.zeros(3, 4, 4), {}, r"\(3, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4), {"gap": 1, "margin": 2}, r"margin must be 0 … 1"),
    ],
)
def test_what_is_no_grid_is_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        grid(images, 4, **options)
