"""Augmentation: what each function may and may not change."""

import pytest
import torch
from torch import Generator
from toys import rand as noise

from unidd.data import augment

FUNCTIONS = {
    "random_resized_crop": augment.random_resized_crop,
    "flip": augment.flip,
    "roll": augment.roll,
    "random_crop": augment.random_crop,
    "cutmix": lambda x, g: augment.cutmix(x, g)[0],
}


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def numbered(n: int, height: int = 6, width: int = 6) -> torch.Tensor:
    """Every pixel of the batch has a value of its own, from 1; float64, one channel."""
    return torch.arange(1.0, n * height * width + 1, dtype=torch.float64).view(n, 1, height, width)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5, 3, 16, 16), (1, 1, 8, 8), (2, 2, 9, 7)])
def test_shape_range_type_and_the_input_itself_are_kept(name, shape):
    x = noise(*shape).double()
    before = x.clone()
    for seed in range(5):
        y = FUNCTIONS[name](x, generator(seed))
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.min() >= 0
        assert y.max() <= 1 + 1e-12
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_generator_alone_decides(name):
    x = noise(16, 3, 8, 8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = FUNCTIONS[name](x, generator(3))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    assert torch.equal(FUNCTIONS[name](x, generator(3)), first)
    assert any(not torch.equal(FUNCTIONS[name](x, generator(seed)), first) for seed in range(4, 8))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_reach_the_images(name):
    x = noise(4, 3, 8, 8).requires_grad_()
    FUNCTIONS[name](x, generator(1)).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


def test_the_whole_image_as_crop_is_the_image():
    x = noise(4, 3, 11, 11).double()
    y = augment.random_resized_crop(x, generator(), scale=(1, 1), ratio=(1, 1))
    assert torch.allclose(y, x, atol=1e-6)


def test_a_crop_is_a_rectangle_inside_the_image():
    """On a ramp of columns and rows the crop is again a ramp: its slope is the side, its values the place."""
    size, n = 64, 400
    ramp = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    x = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)]).expand(n, 2, size, size)
    y = augment.random_resized_crop(x, generator(), scale=(0.2, 0.5))
    middle = y[..., size // 4 : -size // 4, size // 4 : -size // 4]
    sides = torch.stack([middle[:, 0].diff(dim=-1).mean((1, 2)), middle[:, 1].diff(dim=-2).mean((1, 2))]) * size
    area, aspect = sides.prod(0), sides[0] / sides[1]
    assert area.min() > 0.2 - 0.01
    assert area.max() < 0.5 + 0.01
    assert area.max() - area.min() > 0.25
    assert aspect.min() > 0.75 - 0.01
    assert aspect.max() < 4 / 3 + 0.01
    assert aspect.min() < 0.85
    assert aspect.max() > 1.2
    centres = torch.stack([middle[:, 0].mean((1, 2)), middle[:, 1].mean((1, 2))])
    assert (centres - sides / 2).min() > -0.01, "never over the left or upper edge"
    assert (centres + sides / 2).max() < 1.01
    assert centres.std(1).min() > 0.08, "each image has a place of its own"


def test_flip_mirrors_half_of_the_images_and_leaves_the_rest():
    x = noise(200, 2, 4, 5)
    y = augment.flip(x, generator())
    mirrored = (y == x.flip(-1)).all(-1).all(-1).all(-1)
    same = (y == x).all(-1).all(-1).all(-1)
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130


def test_roll_moves_all_pixels_together_by_at_most_its_reach():
    x, seen = numbered(3, 12, 12), set()
    for seed in range(60):
        y = augment.roll(x, generator(seed), pixels=2)
        (shift,) = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if torch.equal(y, x.roll((a, b), (-2, -1)))]
        seen.add(shift)
    assert {a for a, _ in seen} == {b for _, b in seen} == {-2, -1, 0, 1, 2}
    assert torch.equal(augment.roll(x, generator(), pixels=0), x)


def test_random_crop_shifts_each_image_by_itself_into_a_border_of_zeros():
    x = numbered(40)
    padded = nn.functional.pad(x, [2] * 4)
    y = augment.random_crop(x, generator(), padding=2)
    found = []
    for i in range(40):
        found += [(a, b) for a in range(5) for b in range(5) if torch.equal(y[i], padded[i, :, a : a + 6, b : b + 6])]
    assert len(found) == 40
    assert len(set(found)) > 10
    assert {a for a, _ in found} == {b for _, b in found} == set(range(5))
    assert torch.equal(augment.random_crop(x, generator(), padding=0), x)


def test_cutmix_pastes_one_rectangle_and_knows_its_share():
    x = numbered(6, 10, 14)
    for seed in range(60):
        y, permutation, share = augment.cutmix(x, generator(seed))
        assert sorted(permutation.tolist()) == list(range(6))
        own = y == x
        assert torch.equal(torch.where(own, x, x[permutation]), y)
        moved = permutation != torch.arange(6)
        if not moved.any():
            continue
        kept = own[moved].double().mean((1, 2, 3))
        assert torch.allclose(kept, torch.full_like(kept, share), atol=1e-12)
        pasted = ~own[moved][0, 0]
        assert pasted.sum() == pasted.any(0).sum() * pasted.any(1).sum(), "one rectangle"
        assert torch.equal(own[moved], own[moved][:1].expand_as(own[moved])), "the same one in every image"


def test_the_share_of_cutmix_is_uniform_but_for_what_falls_over_the_edge():
    x, draws = numbered(1, 200, 200), generator()
    shares = torch.tensor([augment.cutmix(x, draws)[2] for _ in range(3000)])
    # a side s = √u loses s²/4 on average: E (s − s²/4)² = 1/2 − 1/5 + 1/48
    assert shares.mean().item() == pytest.approx(1 - 0.3208, abs=0.02)
    assert shares.min() < 0.05
    assert shares.max() > 0.99
