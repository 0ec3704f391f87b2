"""Augmentation: what each function may and may not change, and with which probability."""

import math
from collections import Counter
from itertools import pairwise, permutations, product

import pytest
import torch
from scipy import stats
from torch import Generator
from torchvision.transforms import v2
from toys import rand as noise

from unidd.data import augment

FUNCTIONS = {
    "random_resized_crop": augment.random_resized_crop,
    "flip": augment.flip,
    "roll": augment.roll,
    "random_crop": augment.random_crop,
    "crop_flip_roll": augment.crop_flip_roll,
    "cutmix": lambda x, g: augment.cutmix(x, g)[0],
    "mixup": lambda x, g: augment.mixup(x, g, 0.8)[0],
}
RARE = 1e-4  # seeds are fixed: a p-value below this is a wrong distribution, not bad luck


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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_images_on_another_device_stay_there(name):
    """Random numbers are drawn on the CPU; `meta` stands for any other device, and refuses tensors of the CPU."""
    assert FUNCTIONS[name](torch.zeros(5, 3, 8, 8, device="meta"), generator()).device.type == "meta"


@pytest.mark.parametrize("name", ["random_resized_crop", "flip", "crop_flip_roll"])
def test_slots_of_a_batch_are_the_batch(name):
    x = noise(7, 3, 8, 8)
    whole = getattr(augment, name)(x, generator(5))
    for sizes in ((7,), (3, 4), (1, 5, 1)):
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        slots = [(x[first : first + n], first) for first, n in zip(starts, sizes, strict=True)]
        parts = [getattr(augment, name)(part, generator(5), slot=(first, 7)) for part, first in slots]
        assert torch.equal(torch.cat(parts), whole)


def test_the_augmentation_of_cfm_is_its_three_parts_in_order():
    x = noise(6, 3, 16, 16)
    for options, scale, shift in (({}, 0.08, 4), ({"scale": 0.5, "shift": 2}, 0.5, 2)):
        for seed in range(10):
            draws = generator(seed)
            expected = augment.random_resized_crop(x, draws, (scale, 1.0), (3 / 4, 4 / 3))
            expected = augment.roll(augment.flip(expected, draws), draws, shift)
            assert torch.equal(augment.crop_flip_roll(x, generator(seed), **options), expected)


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


def test_a_crop_at_the_border_is_as_bright_as_elsewhere():
    """Between the outermost pixels' centres and the border there is nothing to interpolate with, which is not black."""
    x = torch.ones(400, 1, 8, 8)
    assert torch.allclose(augment.random_resized_crop(x, generator()), x)


def test_a_rectangle_longer_than_the_image_is_cut_to_it():
    """Where torchvision draws again, to end with the whole image."""
    for wide, ratio in ((True, (3.0, 3.0)), (False, (1 / 3, 1 / 3))):
        height, width, down, across = crops(50, scale=(0.9, 0.9), ratio=ratio)
        long, short = (width, height) if wide else (height, width)
        assert torch.allclose(long, torch.ones(50).double(), atol=1e-5)
        assert torch.allclose(short, torch.full((50,), 0.3**0.5).double(), atol=1e-5)
        assert torch.allclose(across if wide else down, torch.zeros(50).double(), atol=1e-5)


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
    padded = torch.nn.functional.pad(x, [2] * 4)
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


def test_cutmix_tells_where_its_rectangles_came_from_on_the_images_device():
    assert augment.cutmix(torch.zeros(3, 1, 4, 4, device="meta"), generator())[1].device.type == "meta"


def test_mixup_mixes_every_image_with_another_of_the_batch_by_one_share():
    x = numbered(6, 4, 3)
    for seed in range(10):
        y, permutation, share = augment.mixup(x, generator(seed), 0.8)
        assert sorted(permutation.tolist()) == list(range(6))
        assert 0 < share < 1
        assert torch.allclose(y, torch.stack([share * x[i] + (1 - share) * x[j] for i, j in enumerate(permutation)]))


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 3.0])
def test_the_share_of_mixup_is_of_the_beta_distribution(alpha):
    draws = generator()
    shares = [augment.mixup(torch.zeros(2, 1, 1, 1), draws, alpha)[2] for _ in range(3000)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > RARE


def test_the_share_of_cutmix_is_uniform_but_for_what_falls_over_the_edge():
    x, draws = numbered(1, 200, 200), generator()
    shares = torch.tensor([augment.cutmix(x, draws)[2] for _ in range(3000)])
    # a side s = √u loses s²/4 on average: E (s − s²/4)² = 1/2 − 1/5 + 1/48
    assert shares.mean().item() == pytest.approx(1 - 0.3208, abs=0.02)
    assert shares.min() < 0.05
    assert shares.max() > 0.99


# ---------------------------------------------------------------------------------------- distributions


def crops(n: int, **options) -> tuple[torch.Tensor, ...]:
    """Height, width and centre (down, across; in [−1, 1]) of n crops, read off a ramp: exact, for it is linear."""
    size = 8
    ramp = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    x = torch.stack([ramp[:, None].expand(size, size), ramp.expand(size, size)]).expand(n, 2, size, size)
    middle = augment.random_resized_crop(x, generator(1), **options)[:, :, 3:5, 3:5]
    height, width = (
        (middle[:, 0, 1] - middle[:, 0, 0]).mean(1) * 4,
        (middle[:, 1, :, 1] - middle[:, 1, :, 0]).mean(1) * 4,
    )
    return height, width, middle[:, 0].mean((1, 2)), middle[:, 1].mean((1, 2))


def assert_uniform(sample, low: float, high: float) -> None:
    assert stats.kstest(sample, stats.uniform(low, high - low).cdf).pvalue > RARE


def assert_alike(one, other) -> None:
    assert stats.ks_2samp(one, other).pvalue > RARE


def assert_independent(*samples: torch.Tensor) -> None:
    """Neither the values nor their sizes go together."""
    for rows in (torch.stack(samples), torch.stack(samples).abs()):
        off = torch.corrcoef(rows) - torch.eye(len(samples))
        assert off.abs().max() < 4.5 / len(samples[0]) ** 0.5


@pytest.mark.parametrize(("scale", "ratio"), [((0.1, 0.7), (3 / 4, 4 / 3)), ((0.2, 0.3), (0.5, 3.0))])
def test_area_is_uniform_aspect_log_uniform_and_the_centre_anywhere_inside(scale, ratio):
    """Where every rectangle fits the image, so that none is cut to it."""
    height, width, down, across = crops(20_000, scale=scale, ratio=ratio)
    area, aspect = height * width, (width / height).log()
    assert_uniform(area, *scale)
    assert_uniform(aspect, math.log(ratio[0]), math.log(ratio[1]))
    places = down / (1 - height), across / (1 - width)
    for place in places:
        assert_uniform(place, -1, 1)
    assert_independent(area - area.mean(), aspect - aspect.mean(), *places)


def test_crops_against_torchvision():
    """Torchvision draws again, up to ten times, a rectangle longer than the image, and ours is cut to it: on purpose,
    for a whole batch is then one draw. The rest are distributed alike.
    """
    transform, image = v2.RandomResizedCrop(8), torch.zeros(1, 2000, 2000)  # so large that its whole pixels do not show
    assert (transform.scale, tuple(transform.ratio)) == ((0.08, 1.0), (3 / 4, 4 / 3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = [transform.make_params([image]) for _ in range(5000)]
    theirs = (
        torch.tensor([[p[k] for k in ("height", "width", "top", "left")] for p in found], dtype=torch.float64) / 2000
    )
    height, width, down, across = crops(20_000)
    assert float((height * width).min()) == pytest.approx(0.08, abs=1e-3)
    fits = (height < 1 - 1e-6) & (width < 1 - 1e-6)
    # P(area > e^−|log aspect|), for an area in [0.08, 1] and |log aspect| up to b
    b = math.log(4 / 3)
    cut = (1 - (1 - math.exp(-b)) / b) / 0.92
    assert stats.binomtest(int((~fits).sum()), len(fits), cut).pvalue > RARE
    assert_alike((height * width)[fits], theirs[:, 0] * theirs[:, 1])
    assert_alike((width / height)[fits], theirs[:, 1] / theirs[:, 0])
    assert_alike((1 + down - height)[fits] / 2, theirs[:, 2])
    assert_alike((1 + across - width)[fits] / 2, theirs[:, 3])


def test_flip_is_a_fair_coin_for_each_image():
    assert v2.RandomHorizontalFlip().p == 0.5
    mirrored = augment.flip(torch.tensor([0.0, 1.0]).expand(20_000, 1, 1, 2), generator())[:, 0, 0, 0]
    assert stats.binomtest(int(mirrored.sum()), 20_000, 0.5).pvalue > RARE
    changes = int((mirrored.diff() != 0).sum())  # a coin that remembers changes side more or less often
    assert stats.binomtest(changes, 19_999, 0.5).pvalue > RARE


def assert_every_shift_alike(pairs: list[tuple[int, int]], values: range) -> None:
    counts = Counter(pairs)
    assert set(counts) <= set(product(values, values))
    assert stats.chisquare([counts[pair] for pair in product(values, values)]).pvalue > RARE


@pytest.mark.parametrize(("options", "reach"), [({}, 4), ({"pixels": 1}, 1)])
def test_every_roll_is_as_likely(options, reach):
    x, draws, found = numbered(1, 11, 11), generator(), []
    for _ in range(40 * (2 * reach + 1) ** 2):
        down, across = divmod(int(augment.roll(x, draws, **options).argmin()), 11)
        found.append(((down + 5) % 11 - 5, (across + 5) % 11 - 5))
    assert_every_shift_alike(found, range(-reach, reach + 1))


@pytest.mark.parametrize(("options", "padding"), [({}, 4), ({"padding": 1}, 1)])
def test_every_place_of_a_random_crop_is_as_likely(options, padding):
    """As torchvision's, whose places are counted alike."""
    n, size, places = 40 * (2 * padding + 1) ** 2, 2 * padding + 1, range(2 * padding + 1)
    x = numbered(1, size, size).expand(n, 1, size, size)
    middle = augment.random_crop(x, generator(), **options)[:, 0, padding, padding].long() - 1
    assert_every_shift_alike(list(zip((middle // size).tolist(), (middle % size).tolist(), strict=True)), places)
    transform = v2.RandomCrop(size, padding=padding)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        params = [transform.make_params([x[0]]) for _ in range(n)]
    assert_every_shift_alike([(p["top"], p["left"]) for p in params], places)


def box_law(height: int, width: int) -> Counter:
    """Probability of each rectangle of CutMix: λ uniform, centre any pixel, half sides ⌊√(1 − λ) · side / 2⌋ pixels."""
    jumps = sorted({(2 * k / side) ** 2 for side in (height, width) for k in range(side // 2 + 1)} | {1.0})
    law = Counter()
    for low, high in pairwise(jumps):  # of 1 − λ
        half = [math.floor(side * ((low + high) / 2) ** 0.5 / 2) for side in (height, width)]
        for y, x in product(range(height), range(width)):
            rows, columns = (
                range(max(0, c - h), min(side, c + h)) for c, h, side in zip((y, x), half, (height, width), strict=True)
            )
            box = (rows, columns) if rows and columns else None
            law[box] += (high - low) / (height * width)
    return law


def test_the_rectangles_of_cutmix_have_the_law_of_the_paper():
    height, width, n = 6, 4, 6000
    x, draws, found, law = numbered(8, height, width), generator(), Counter(), box_law(6, 4)
    for _ in range(n):
        y, permutation, _ = augment.cutmix(x, draws)
        moved = int((permutation != torch.arange(8)).double().argmax())
        assert permutation[moved] != moved
        rows, columns = (torch.where((y != x)[moved, 0].any(dim))[0].tolist() for dim in (1, 0))
        box = (range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1)) if rows else None
        found[box] += 1
    assert sum(law.values()) == pytest.approx(1)
    assert set(found) <= set(law)
    assert stats.chisquare([found[box] for box in law], [n * p for p in law.values()]).pvalue > RARE


@pytest.mark.parametrize(("height", "width"), [(200, 200), (40, 120)])
def test_the_share_of_cutmix_is_torchvisions(height, width):
    """Torchvision pairs each image with the one before; ours is a permutation, for batches need not be shuffled."""
    x, draws = torch.zeros(1, 1, height, width), generator()
    shares = [augment.cutmix(x, draws)[2] for _ in range(4000)]
    transform = v2.CutMix(num_classes=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [transform.make_params([x])["lam_adjusted"] for _ in range(4000)]
    assert_alike(shares, theirs)


def test_every_permutation_of_cutmix_is_as_likely():
    x, draws = torch.zeros(3, 1, 1, 1), generator()
    counts = Counter(tuple(augment.cutmix(x, draws)[1].tolist()) for _ in range(1200))
    assert stats.chisquare([counts[order] for order in permutations(range(3))]).pvalue > RARE


@pytest.mark.parametrize(("size", "factor"), [(4, 2), (6, 3), (5, 2)])
def test_patches_are_shuffled_by_columns_and_by_rows_each_image_by_itself(size, factor):
    """Every image is one of all that such orders give, and all of these occur."""
    image = torch.arange(size * size, dtype=torch.float32).view(1, size, size)
    parts = [list(part) for part in torch.arange(size).tensor_split(factor)]
    orders = [[int(i) for part in order for i in part] for order in permutations(parts)]
    expected = {tuple(image[:, rows][:, :, columns].flatten().tolist()) for rows in orders for columns in orders}
    shuffled = augment.shuffle_patches(image.expand(600, -1, -1, -1), Generator().manual_seed(0), factor)
    assert {tuple(one.flatten().tolist()) for one in shuffled} == expected


def test_one_patch_is_not_shuffled():
    images = torch.rand(3, 2, 5, 5)
    assert torch.equal(augment.shuffle_patches(images, Generator(), 1), images)
