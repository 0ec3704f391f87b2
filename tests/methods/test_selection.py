"""Coresets: scores and rules against slow float64 code, exhaustive search, and hand-made cases."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
import toys
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from unidd.bench.cell import budgeted
from unidd.core.filters import AllPass, Linear, Ridge
from unidd.core.objectives import Side, filter_loss, signal_loss
from unidd.data.datasets import ImageData
from unidd.data.synthetic import SyntheticSet, choose, places
from unidd.engine.run import Run
from unidd.methods import _rules, _scores, find, spectral
from unidd.methods._proxies import Dynamics, proxy
from unidd.methods.pruning import CCS, EL2N, Forgetting, GraNd
from unidd.methods.selection import Easiest, Hardest, Herding, KCenter, Margin, Moderate
from unidd.methods.spectral import SpectralHerding, SpectralVolume
from unidd.networks import training
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import Teacher, TrainConfig

FROM_A_TEACHER = ["herding", "kcenter", "moderate", "margin", "easiest", "hardest", "spectralherding", "spectralvolume"]
FROM_PROXIES = ["forgetting", "el2n", "grand", "ccs"]
NAMES = [*FROM_A_TEACHER, *FROM_PROXIES]
LABELS = torch.tensor([0, 2, 1, 1, 2, 0])
few = st.integers(0, 2**20)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))


def logits(n: int = 6, classes: int = 3, seed: int = 0) -> Tensor:
    return 2 * toys.randn(n, classes, seed=seed)


def slow_softmax(row: Tensor) -> list[float]:
    e = [math.exp(float(v)) for v in row]
    return [v / sum(e) for v in e]


def chosen_of(method, ipc: int = 2, data=None, **asked) -> Tensor:
    """Numbers of the training images that a method takes, found again by their pixels."""
    data = data or toys.data()
    made = method.distill(data, toys.teacher(), Run(ipc=ipc, **asked))
    return torch.tensor([number_of(image, data) for image in made.images])


def number_of(image: Tensor, data: ImageData) -> int:
    same = data.train.images == (image * 255).round().byte()
    return int(same.flatten(1).all(1).nonzero()[0, 0])


def of_class(numbers: Tensor, k: int) -> list[int]:
    return [int(i) for i in numbers if int(toys.data().train.labels[i]) == k]


def teacher_says() -> tuple[Tensor, Tensor]:
    """Features (n, d) and logits (n, c), by running the layers by hand."""
    data, model = toys.data(), toys.teacher().model
    x = data.normalise(data.train.images)
    with torch.no_grad():
        features = model[:-1](x)
        return features.double(), model[-1](features).double()


# ---- scores


def test_a_teacher_is_seen_before_its_last_linear_layer():
    found = _scores.seen(toys.teacher().model, toys.data())
    features, answers = teacher_says()
    torch.testing.assert_close(found.features.double(), features)
    torch.testing.assert_close(found.logits.double(), answers)


def test_tokens_are_averaged_over_positions():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, toys.CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.flatten(2).mT).mean(1)

    data = toys.data()
    found = _scores.seen(Positions(), data)
    torch.testing.assert_close(found.features, data.normalise(data.train.images).mean((2, 3)))


@pytest.mark.parametrize("model", [nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()), nn.Identity()])
def test_a_network_without_a_linear_layer_is_one_clear_error(model):
    with pytest.raises(ValueError, match="no linear layer"):
        _scores.seen(model, toys.data())


def test_answers_that_are_not_finite_are_one_clear_error():
    teacher = toys.teacher()
    teacher.model[-1].weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        Herding().distill(toys.data(), teacher, Run())


def test_scores_of_answers():
    answers = logits()
    for i, (row, y) in enumerate(zip(answers, LABELS.tolist(), strict=True)):
        p = slow_softmax(row)
        others = [v for k, v in enumerate(p) if k != y]
        error = math.sqrt(sum((v - (k == y)) ** 2 for k, v in enumerate(p)))
        assert float(_scores.cross_entropy(answers, LABELS)[i]) == pytest.approx(-math.log(p[y]))
        assert float(_scores.top_two(answers)[i]) == pytest.approx(sorted(p)[-1] - sorted(p)[-2])
        assert float(_scores.own_margin(answers, LABELS)[i]) == pytest.approx(p[y] - max(others))
        assert float(_scores.el2n(answers, LABELS)[i]) == pytest.approx(error)


def test_grand_is_the_gradient_of_the_last_layer():
    features, layer = toys.randn(6, 5, seed=1), nn.Linear(5, 3).double()
    found = _scores.grand(_scores.Seen(features, layer(features).detach()), LABELS)
    for i in range(6):
        layer.zero_grad()
        F.cross_entropy(layer(features[i : i + 1]), LABELS[i : i + 1]).backward()
        norm = torch.cat([layer.weight.grad.flatten(), layer.bias.grad]).norm()
        assert float(found[i]) == pytest.approx(float(norm), rel=1e-10)


def test_forgetting_counts_falls_and_what_was_never_learnt_is_infinite():
    by_image = [[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0], [0, 1, 1, 1]]
    assert _scores.forgetting(torch.tensor(by_image).bool().T).tolist() == [2, math.inf, 0, 1, 0]


@pytest.mark.parametrize("n", [1, 4, 5])
def test_the_median_of_an_even_number_is_between_the_middle_two(n):
    x = toys.randn(n, 3)
    for column, found in zip(x.T.tolist(), _scores.median(x).tolist(), strict=True):
        ordered = sorted(column)
        assert found == pytest.approx((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


def test_moderation_is_by_class():
    x, labels = toys.randn(9, 2, seed=2), torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 0])
    found = _scores.moderation(x, labels)
    for k in (0, 1):
        own = x[labels == k]
        distances = (own - own.quantile(0.5, dim=0)).norm(dim=1)
        torch.testing.assert_close(found[labels == k], (distances - distances.quantile(0.5)).abs())


# ---- dynamics


def test_a_proxy_is_seen_after_every_epoch_as_it_then_is():
    data, config, noted = toys.data(), TrainConfig(epochs=3, batch=5), []
    network = proxy(data, ModelConfig(width=8), config, 7, lambda *seen: noted.append(seen))
    assert len(noted) == 3
    torch.testing.assert_close(noted[-1][0], _scores.seen(network, data).logits)
    assert not torch.equal(noted[0][0], noted[1][0])
    assert torch.equal(noted[0][1], data.train.labels)
    silent = proxy(data, ModelConfig(width=8), config, 7)
    same = zip(network.state_dict().values(), silent.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same), "a look changes no training"


def test_dynamics_keep_each_epoch():
    found, epochs = Dynamics(), [logits(seed=s) for s in range(4)]
    for answers in epochs:
        found.note(answers, LABELS)
    assert torch.equal(torch.stack(found.correct), torch.stack([a.argmax(1) == LABELS for a in epochs]))
    torch.testing.assert_close(torch.stack(found.margins)[2], _scores.own_margin(epochs[2], LABELS))
    torch.testing.assert_close(torch.stack(found.el2n)[3], _scores.el2n(epochs[3], LABELS))


@pytest.mark.parametrize(("cls", "score"), [(EL2N, "el2n"), (GraNd, "grand")])
def test_early_scores_are_a_mean_over_proxies_the_largest_first(cls, score):
    data, method = toys.data(), cls(net_width=8, proxy_epochs=2, proxy_seeds=3)
    seeds = torch.randint(2**31, (3,), generator=torch.Generator().manual_seed(4)).tolist()
    wanted = torch.zeros(len(data.train), dtype=torch.float64)
    for seed in seeds:
        network = proxy(data, ModelConfig(width=8), TrainConfig(epochs=2, period=10.0), seed)
        seen = _scores.seen(network, data)
        wanted += getattr(_scores, score)(seen if score == "grand" else seen.logits, data.train.labels) / 3
    numbers = chosen_of(method, 2, seed=4)
    for k in range(toys.CLASSES):
        own = (data.train.labels == k).nonzero().flatten()
        assert of_class(numbers, k) == own[wanted[own].argsort(descending=True)[:2]].tolist()


def test_early_proxies_are_trained_once_for_all_methods_and_numbers_of_images(monkeypatch):
    data, asked, trained = toys.data(), {"net_width": 6, "proxy_epochs": 1, "proxy_seeds": 2}, []
    train = training.train
    monkeypatch.setattr(training, "train", lambda *task, **how: (trained.append(how["seed"]), train(*task, **how))[1])
    for cls, ipc in itertools.product((EL2N, GraNd), (1, 2)):
        cls(**asked).distill(data, toys.teacher(), Run(ipc=ipc, seed=6))
    assert len(trained) == len(set(trained)) == 2
    EL2N(**asked).distill(data, toys.teacher(), Run(seed=7))
    assert len(set(trained)) == 4, "a repetition has its own"


def test_a_plan_counts_the_early_proxies_that_are_still_to_be_trained():
    data, method = toys.data(), EL2N(net_width=6, proxy_epochs=3, proxy_seeds=2)

    def planned(seed: int) -> list[tuple[int, bool]]:
        return [(part.count, part.kept > 0) for part in method.parts(data, toys.teacher(), Run(seed=seed))]

    n, tests = len(data.train), len(data.test)
    whole = [(2 * 3, True), (2 * n + 2 * tests, False)]  # one step an epoch
    assert planned(6) == whole
    next(method.early(data, Run(seed=6)))
    assert planned(6) == [(3, True), (2 * n + tests, False)]
    GraNd(net_width=6, proxy_epochs=3, proxy_seeds=2).distill(data, toys.teacher(), Run(seed=6))
    assert planned(6) == [(0, False), (2 * n, False)]
    assert planned(7) == whole


def test_forgetting_takes_what_was_never_learnt_before_what_was_forgotten(monkeypatch):
    data, told = toys.data(), Dynamics()
    own = (data.train.labels == 0).nonzero().flatten()
    right = torch.ones(4, len(data.train), dtype=torch.bool)
    right[:, own[3]] = False
    right[1, own[1]] = right[3, own[1]] = False
    right[2, own[4]] = False
    told.correct = list(right)
    monkeypatch.setattr(Forgetting, "dynamics", lambda *_: told)
    assert of_class(chosen_of(Forgetting(), 3), 0) == own[[3, 1, 4]].tolist()
    ties = {tuple(of_class(chosen_of(Forgetting(), 3, seed=seed), 1)) for seed in range(8)}
    assert len(ties) > 4, "the seed decides between equals"


# ---- rules by features


@given(few, st.integers(2, 7), st.integers(1, 4))
def test_herding_takes_the_best_next_image(seed, n, d):
    x = toys.randn(n, d, seed=seed)
    order = _rules.herded(x, n).tolist()
    assert sorted(order) == list(range(n))
    for i in range(n):
        gaps = {j: float((x[[*order[:i], j]].mean(0) - x.mean(0)).norm()) for j in range(n) if j not in order[:i]}
        assert gaps[order[i]] == pytest.approx(min(gaps.values()), abs=1e-12)


def test_herding_is_no_argmax():
    """What DeepCore's code does goes away from the mean: its first image is the farthest."""
    x = toys.randn(50, 6, seed=3)
    distance = (x - x.mean(0)).norm(dim=1)
    first = int(_rules.herded(x, 1))
    assert first == int(distance.argmin()) != int(distance.argmax())
    mean, total, slip = x.mean(0), torch.zeros(6, dtype=torch.float64), []
    for i in range(5):
        gaps = ((i + 1) * mean - total - x).norm(dim=1)
        gaps[slip] = -1
        slip.append(int(gaps.argmax()))
        total += x[slip[-1]]
    herded = _rules.herded(x, 5)
    assert (x[herded].mean(0) - mean).norm() < 0.5 * (x[slip].mean(0) - mean).norm()


@given(few, st.integers(1, 7), st.integers(1, 3))
def test_k_center_takes_the_farthest_from_all_before(seed, n, d):
    x = toys.randn(n, d, seed=seed)
    order = _rules.centres(x, n).tolist()
    assert sorted(order) == list(range(n))
    assert order[0] == min(range(n), key=lambda j: float((x[j] - x.mean(0)).norm()))
    for i in range(1, n):
        far = {j: min(float((x[j] - x[c]).norm()) for c in order[:i]) for j in range(n) if j not in order[:i]}
        assert far[order[i]] == pytest.approx(max(far.values()))


@pytest.mark.parametrize("rule", [_rules.herded, _rules.centres, lambda x, n: _rules.spread(x, 1e-3, n)])
def test_copies_of_an_image_are_taken_once_each(rule):
    assert sorted(rule(torch.ones(4, 2, dtype=torch.float64), 4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(("cls", "rule"), [(Herding, _rules.herded), (KCenter, _rules.centres)])
def test_features_are_the_teachers_and_the_order_of_choosing_is_kept(cls, rule):
    features, labels, numbers = teacher_says()[0], toys.data().train.labels, chosen_of(cls(), 4)
    orders = []
    for k in range(toys.CLASSES):
        own = (labels == k).nonzero().flatten()
        orders.append(own[rule(features[own], 4)].tolist())
        assert of_class(numbers, k) == orders[-1]
    assert any(order != sorted(order) for order in orders), "not that of the data set, as in DeepCore"


@pytest.mark.parametrize("cls", [Margin, Easiest, Hardest, Moderate])
def test_scores_of_the_teacher_choose(cls):
    (features, answers), labels = teacher_says(), toys.data().train.labels
    wanted = {
        Margin: lambda own: answers[own].softmax(1).sort(1).values.diff(dim=1)[:, -1],  # the least sure first
        Easiest: lambda own: F.cross_entropy(answers[own], labels[own], reduction="none"),
        Hardest: lambda own: -F.cross_entropy(answers[own], labels[own], reduction="none"),
        Moderate: lambda own: _scores.moderation(features[own], labels[own]),
    }[cls]
    numbers = chosen_of(cls(), 3)
    for k in range(toys.CLASSES):
        own = (labels == k).nonzero().flatten()
        assert of_class(numbers, k) == own[wanted(own).argsort()[:3]].tolist()


@given(few)
def test_the_largest_scores_come_first_and_equal_ones_by_place(seed):
    scores = (3 * toys.rand(9, seed=seed)).long().double()
    place = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    own = torch.arange(100, 109)
    wanted = sorted(range(9), key=lambda i: (-float(scores[i]), int(place[i])))
    assert _rules.largest(scores, place, own).tolist() == [100 + i for i in wanted]


# ---- coverage-centric


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_strata_are_filled_from_the_smallest():
    """Strata of 1, 2 and 7 images and a budget of 6: 1, then 2 of (6 − 1)/2, then the rest, 3."""
    scores = torch.tensor([0.0, 4.0, 5.0, *(9 + i / 7 for i in range(7))])
    found = _rules.stratified(scores, 6, 3, generator())
    assert found[:3].tolist() in ([0, 1, 2], [0, 2, 1])
    assert len(set(found.tolist())) == 6


@given(few, st.integers(1, 12), st.integers(1, 60))
def test_as_many_as_asked_are_drawn_none_twice_and_strata_share_alike(seed, count, strata):
    scores = toys.randn(12, seed=seed)
    found = _rules.stratified(scores, count, strata, generator(seed)).tolist()
    assert len(found) == len(set(found)) == count
    parts = min(strata, count)
    low, width = float(scores.min()), float(scores.max() - scores.min()) / parts
    stratum = [min(int((float(s) - low) / width), parts - 1) for s in scores]
    taken = [sum(stratum[i] == s for i in found) for s in range(parts)]
    there = [stratum.count(s) for s in range(parts)]
    for s, t in itertools.permutations(range(parts), 2):  # nobody has two more than one who has images left
        assert taken[s] <= taken[t] + 1 or taken[t] == there[t]


def test_equal_scores_are_one_stratum():
    assert sorted(_rules.stratified(torch.ones(5), 5, 50, generator()).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("ratio", "ipc", "left"), [(0.4, 2, 3), (0.4, 4, 4), (1.0, 1, 1), (0.0, 3, 5)])
def test_what_looks_mislabelled_is_dropped_by_class_while_enough_are_left(monkeypatch, ratio, ipc, left):
    """The bug in the original counts the last class for all: here each class drops its own."""
    data, told = toys.data(), Dynamics()
    told.margins = [toys.randn(len(data.train), seed=s) for s in range(3)]
    told.el2n = [toys.rand(len(data.train), seed=9).double()] * 12
    monkeypatch.setattr(CCS, "dynamics", lambda *_: told)
    aum, drawn = sum(told.margins), [set() for _ in range(toys.CLASSES)]
    for seed, score in itertools.product(range(12), ("aum", "el2n")):
        numbers = chosen_of(CCS(mis_ratio=ratio, score=score), ipc, seed=seed)
        for k, seen in enumerate(drawn):
            assert len(of_class(numbers, k)) == ipc
            seen |= set(of_class(numbers, k))
    for k, seen in enumerate(drawn):
        own = (data.train.labels == k).nonzero().flatten()
        assert seen == set(own[aum[own].argsort(descending=True)[:left]].tolist())


def test_the_el2n_of_ccs_is_of_the_first_ten_epochs(monkeypatch):
    data, told, seen = toys.data(), Dynamics(), []
    told.margins = [toys.randn(len(data.train), seed=s) for s in range(12)]
    told.el2n = [toys.rand(len(data.train), seed=s).double() for s in range(12)]
    monkeypatch.setattr(CCS, "dynamics", lambda *_: told)
    monkeypatch.setattr(
        "unidd.methods.pruning.stratified", lambda s, count, *_: seen.append(s) or torch.arange(len(s))[:count]
    )
    chosen_of(CCS(mis_ratio=0.0, score="el2n"), 1)
    found = torch.cat(seen).sort().values
    torch.testing.assert_close(found, sum(told.el2n[:10]).sort().values)


# ---- spectral


def slow_mismatch(z: Tensor, u: Tensor, chosen: list[int]) -> float:
    """The loss of spectral herding for one class, from filtered features, with matrices written out."""
    gap = z.mean(0) - z[chosen].mean(0)
    second = sum(torch.outer(v, v) for v in u) / len(u) - sum(torch.outer(v, v) for v in u[chosen]) / len(chosen)
    a, b = z.square().sum(1).mean(), u.square().sum(1).square().mean()
    return float(gap.square().sum() / a + (second.square().sum() / b if b > 0 else 0))


@given(few, st.integers(1, 5), st.booleans())
def test_spectral_herding_takes_the_best_next_image(seed, count, second):
    z, u = toys.randn(6, 3, seed=seed), toys.randn(6, 3, seed=seed + 1) * second
    order = _rules.greedy(_rules.Kernel(z, u), count).tolist()
    assert len(set(order)) == count
    for i in range(count):
        losses = {j: slow_mismatch(z, u, [*order[:i], j]) for j in range(6) if j not in order[:i]}
        assert losses[order[i]] == pytest.approx(min(losses.values()), abs=1e-12)


@given(few, st.booleans())
def test_rows_diagonal_and_means_are_those_of_the_kernel_written_out(seed, second):
    z, u = toys.randn(6, 3, seed=seed), toys.randn(6, 3, seed=seed + 1) * second
    a, b = z.square().sum(1).mean(), u.square().sum(1).square().mean()
    slow = [[float(z[i] @ z[j] / a + ((u[i] @ u[j]) ** 2 / b if second else 0)) for j in range(6)] for i in range(6)]
    kernel, wanted = _rules.Kernel(z, u), torch.tensor(slow, dtype=torch.float64)
    torch.testing.assert_close(kernel.rows(torch.tensor([4, 1])), wanted[[4, 1]])
    torch.testing.assert_close(kernel.diagonal, wanted.diagonal())
    torch.testing.assert_close(kernel.means, wanted.mean(1))


def test_a_class_of_many_images_is_chosen_from_without_a_matrix_of_all_pairs():
    largest = [0]

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **kwargs or {})
            largest[0] = max(largest[0], found.numel() if isinstance(found, Tensor) else 0)
            return found

    n = 300
    with Seen():
        kernel = _rules.Kernel(toys.randn(n, 3), toys.randn(n, 3, seed=1))
        _rules.swapped(kernel, _rules.greedy(kernel, 5), 4)
        for rule in (_rules.herded, _rules.centres, lambda x, count: _rules.spread(x, 1e-3, count)):
            rule(toys.randn(n, 3), 5)
    assert n < largest[0] <= 5 * n


@given(few, st.integers(1, 4))
def test_no_swap_lowers_the_loss_of_what_swaps_end_with(seed, count):
    z, u = toys.randn(7, 3, seed=seed), toys.randn(7, 3, seed=seed + 1)
    kernel = _rules.Kernel(z, u)
    start = _rules.greedy(kernel, count)
    final = _rules.swapped(kernel, start, 1000).tolist()
    loss = slow_mismatch(z, u, final)
    assert len(set(final)) == count
    assert loss <= slow_mismatch(z, u, start.tolist()) + 1e-12
    for i, j in itertools.product(range(count), set(range(7)) - set(final)):
        assert slow_mismatch(z, u, [*final[:i], j, *final[i + 1 :]]) >= loss - 1e-10


def test_each_swap_is_the_best_one_and_they_can_be_counted():
    z, u = toys.randn(12, 3, seed=1), toys.randn(12, 3, seed=2)
    kernel, chosen = _rules.Kernel(z, u), torch.tensor([0, 1, 2])
    assert torch.equal(_rules.swapped(kernel, chosen, 0), chosen)
    after = _rules.swapped(kernel, chosen, 1).tolist()
    others = [[*[0, 1, 2][:i], j, *[0, 1, 2][i + 1 :]] for i in range(3) for j in range(3, 12)]
    assert after == min(others, key=lambda those: slow_mismatch(z, u, those))
    assert torch.equal(chosen, torch.tensor([0, 1, 2])), "what was given stays"


def sides() -> tuple[Tensor, Tensor, Tensor]:
    """Centred features of the teacher, their FFC, and its mean eigenvalue."""
    x = teacher_says()[0]
    x = x - x.mean(0)
    ffc = x.T @ x / len(x)
    return x, ffc, ffc.diagonal().mean()


@pytest.mark.parametrize(("name", "beta"), [("ridge", 0.3), ("linear", 1.0), ("all-pass", 1.0)])
def test_the_filter_is_that_of_the_real_side(name, beta):
    x, ffc, unit = sides()
    f = {"ridge": Ridge(beta * float(unit)), "linear": Linear(), "all-pass": AllPass()}[name]
    g = {"ridge": f.matrix(ffc), "linear": torch.eye(len(ffc)).double(), "all-pass": 0 * ffc}[name]
    z, u = x @ f.matrix(ffc), x @ g
    numbers = chosen_of(SpectralHerding(filter=name, beta=beta, swaps=0), 2)
    for k in range(toys.CLASSES):
        own = (toys.data().train.labels == k).nonzero().flatten()
        first, second = of_class(numbers, k)
        losses = {int(j): slow_mismatch(z[own], u[own], [i]) for i, j in enumerate(own)}
        assert losses[first] == pytest.approx(min(losses.values()), abs=1e-5)
        at = own.tolist().index(first)
        losses = {int(j): slow_mismatch(z[own], u[own], [at, i]) for i, j in enumerate(own) if i != at}
        assert losses[second] == pytest.approx(min(losses.values()), abs=1e-5)


@pytest.mark.parametrize("name", ["ridge", "linear", "all-pass"])
def test_parts_of_the_images_make_the_same_correlations(monkeypatch, name):
    whole = [chosen_of(find(each)(filter=name), 2) for each in ("spectralherding", "spectralvolume")]
    monkeypatch.setattr(spectral, "_PART", 3)
    parts = [chosen_of(find(each)(filter=name), 2) for each in ("spectralherding", "spectralvolume")]
    assert all(map(torch.equal, whole, parts))


@pytest.mark.parametrize("name", ["ridge", "linear", "all-pass"])
def test_its_second_term_is_the_filter_term_of_unidd_to_first_order(name):
    """‖f(Ψ) − f(Ψ + tΔ)‖ / t → ‖gΔg‖ with g = √|f'|."""
    x, ffc, unit = sides()
    f = {"ridge": Ridge(float(unit)), "linear": Linear(), "all-pass": AllPass()}[name]
    values, basis = torch.linalg.eigh(ffc)
    g = (basis * f.derivative(values.clamp_min(0)).abs().sqrt()) @ basis.T
    change = x[:3].T @ x[:3] / 3 - ffc
    t = 1e-6
    found = filter_loss(f, ffc, ffc + t * change) / t
    torch.testing.assert_close(found, (g @ change @ g).norm(), rtol=1e-4, atol=1e-9)


def test_all_pass_without_swaps_is_herding():
    assert torch.equal(chosen_of(SpectralHerding(filter="all-pass", swaps=0), 4), chosen_of(Herding(), 4))


@pytest.mark.parametrize("name", ["ridge", "linear"])
def test_its_images_are_nearer_in_unidds_own_terms_than_any_of_twenty_random_choices(digits, name):
    """The exact terms, with f at the synthetic FFC where it belongs, not the expansion that is minimised."""
    teacher = Teacher(build(ModelConfig(width=16), 1, 8, 10, seed=4).eval())
    x = _scores.seen(teacher.model, digits).features.double()
    x, y = x - x.mean(0), F.one_hot(digits.train.labels, 10).double()
    real = Side.of(x, y)
    f = Ridge(float(real.ffc.diagonal().mean())) if name == "ridge" else Linear()

    def terms(numbers: Tensor) -> list[float]:
        made = Side.of(x[numbers], y[numbers])
        return [float(filter_loss(f, real.ffc, made.ffc)), float(signal_loss(f, *real, *made))]

    made = SpectralHerding(filter=name).distill(digits, teacher, Run(ipc=10))
    ours = terms(torch.tensor([number_of(image, digits) for image in made.images]))
    drawn = zip(*(terms(choose(digits, 10, seed)) for seed in range(20)), strict=True)
    assert all(own < min(random) for own, random in zip(ours, drawn, strict=True))


@given(few, st.integers(1, 6), st.sampled_from([1e-3, 0.5]))
def test_volume_grows_by_what_the_determinant_does(seed, count, epsilon):
    z = toys.randn(6, 3, seed=seed)
    gram = z @ z.T + epsilon * z.square().sum(1).mean() * torch.eye(6, dtype=torch.float64)

    def volume(those: list[int]) -> float:
        return float(torch.linalg.slogdet(gram[those][:, those])[1])

    order = _rules.spread(z, epsilon, count).tolist()
    assert len(set(order)) == count
    for i in range(count):
        volumes = {j: volume([*order[:i], j]) for j in range(6) if j not in order[:i]}
        assert volumes[order[i]] == pytest.approx(max(volumes.values()), abs=1e-8)


def test_volume_is_of_filtered_features():
    x, ffc, unit = sides()
    gram = x @ Ridge(0.2 * float(unit)).matrix(ffc) @ x.T
    numbers = chosen_of(SpectralVolume(beta=0.2, epsilon=0.01), 2)
    for k in range(toys.CLASSES):
        own = (toys.data().train.labels == k).nonzero().flatten()
        of = gram[own][:, own]
        of = of + 0.01 * of.diagonal().mean() * torch.eye(len(own)).double()
        best = max(range(5), key=lambda i: float(of[i, i]))
        pair = max((j for j in range(5) if j != best), key=lambda j: float(torch.det(of[[best, j]][:, [best, j]])))
        assert of_class(numbers, k) == own[[best, pair]].tolist()


@pytest.mark.parametrize(("share", "count"), [(0.1, 2), (0.6, 3), (1.0, 5)])
def test_volume_may_be_of_the_easiest_images_alone(share, count):
    every = chosen_of(SpectralVolume(easiest=share), 5 if share == 1 else count)
    easiest = chosen_of(find("easiest")(), count)
    for k in range(toys.CLASSES):
        assert sorted(of_class(every, k)) == sorted(of_class(easiest, k))
    assert of_class(chosen_of(SpectralVolume(easiest=share), 1), 0)[0] in of_class(easiest, 0)


# ---- what all of them keep


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_balanced_in_rounds_and_no_image_is_twice(name):
    numbers = chosen_of(budgeted(find(name), "smoke"), 4)
    assert len(set(numbers.tolist())) == 4 * toys.CLASSES
    assert toys.data().train.labels[numbers].tolist() == [0, 1, 2, 3] * 4


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ccs"])
def test_the_first_images_of_a_larger_set_are_the_smaller_set(name):
    changes = {"swaps": 0} if name == "spectralherding" else {}
    method = budgeted(find(name), "smoke", **changes)
    larger = method.distill(toys.data(), toys.teacher(), Run(ipc=4))
    for ipc in (1, 2, 3):
        smaller = method.distill(toys.data(), toys.teacher(), Run(ipc=ipc))
        assert torch.equal(larger.first(ipc).images, smaller.images)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_all_and_who_taught(name):
    cls = find(name)
    made = budgeted(cls, "smoke").distill(toys.data(), toys.teacher(), Run(ipc=1))
    assert isinstance(made, SyntheticSet)
    assert made.config["seed"] == 0
    assert ("hash" in made.teacher) == cls.needs_teacher
    assert cls.needs_teacher != cls.seeded
    assert cls.role == "coreset"
    assert places(made.labels).max() == 0


@pytest.mark.parametrize(
    ("budget", "small"), [("smoke", (8, 2, 2)), ("embedded", (32, 10, 2)), ("paper", (128, 20, 10))]
)
def test_a_budget_makes_proxies_small(budget, small):
    method = budgeted(EL2N, budget)
    assert (method.net_width, method.proxy_epochs, method.proxy_seeds) == small


def test_an_unknown_proxy_is_an_error_before_any_training():
    with pytest.raises(ValueError, match="unknown model 'resnet1'"):
        Forgetting(proxy="resnet1").check(toys.data(), Run())


def test_a_proxy_of_torchvision_is_built():
    assert build(Forgetting(proxy="resnet18").network(), 3, 32, 10).fc.out_features == 10
