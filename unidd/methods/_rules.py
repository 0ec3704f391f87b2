"""Rules that choose some of a class's images, the first-chosen first, by their features, a kernel, or their scores.

Sums over features are in float64, so that a tie is a tie of images, not of roundings.
"""

import torch
from torch import Generator, Tensor


def largest(scores: Tensor, place: Tensor, own: Tensor) -> Tensor:
    """Return the numbers `own` by falling score; of equal scores, by rising place: all (n_k,)."""
    order = place.argsort()
    return own[order[scores[order].argsort(descending=True, stable=True)]]


def herded(x: Tensor, count: int) -> Tensor:
    """Return which of the features x (n, d) herding takes, in order: (count,)."""
    mean, total, chosen = x.mean(0), torch.zeros_like(x[0]), []
    for i in range(count):
        gaps = ((i + 1) * mean - total - x).norm(dim=1)
        gaps[torch.tensor(chosen, dtype=torch.long)] = torch.inf
        chosen.append(int(gaps.argmin()))
        total = total + x[chosen[-1]]
    return torch.tensor(chosen)


def centres(x: Tensor, count: int) -> Tensor:
    """Return which of the features x (n, d) greedy k-center takes, in order: (count,)."""
    chosen = [int((x - x.mean(0)).norm(dim=1).argmin())]
    nearest = (x - x[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        nearest[chosen[-1]] = -1.0  # apart from copies of it, which are at 0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen)


class Kernel:
    """⟨z, z'⟩ of filtered features z (n, d) plus ⟨u, u'⟩² of u (n, d), each over its mean ⟨z, z⟩.

    No matrix (n, n) is made: of a class of many thousand images it would not fit the memory.

    Attributes:
        diagonal, means: the kernel of each image with itself, and its mean with all, (n,) each.
    """

    def __init__(self, first: Tensor, second: Tensor):
        self._parts, self.diagonal, self.means = [], torch.zeros_like(first[:, 0]), torch.zeros_like(first[:, 0])
        means = first @ first.mean(0), ((second @ (second.T @ second / len(second))) * second).sum(1)
        for x, power, mean in zip((first, second), (1, 2), means, strict=True):
            diagonal = x.square().sum(1) ** power
            size = diagonal.mean()
            if size > 0:
                self._parts.append((x, power, size))
                self.diagonal += diagonal / size
                self.means += mean / size

    def rows(self, numbers: Tensor) -> Tensor:
        """Return the kernel of some images (m,) with all: (m, n)."""
        found = torch.zeros(len(numbers), len(self.means), dtype=self.means.dtype)
        for x, power, size in self._parts:
            found += (x[numbers] @ x.T) ** power / size
        return found


def greedy(kernel: Kernel, count: int) -> Tensor:
    """Return which mean is the nearest to the mean of all, under a kernel, each the best next one: (count,).

    The squared distance of the means is mean K − 2 mean K[S] + mean K[S, S] for those chosen, S.
    """
    sums, chosen = torch.zeros_like(kernel.means), torch.empty(0, dtype=torch.long)  # sums over the chosen
    for i in range(1, count + 1):
        change = (2 * sums + kernel.diagonal) / i**2 - 2 * kernel.means / i  # less what is the same for all
        change[chosen] = torch.inf
        chosen = torch.cat([chosen, change.argmin()[None]])
        sums = sums + kernel.rows(chosen[-1:])[0]
    return chosen


def swapped(kernel: Kernel, chosen: Tensor, most: int) -> Tensor:
    """Return the chosen after the best swap with another, again and again: (count,).

    It ends where no swap lowers the distance that `greedy` has, or when `most` are made.
    """
    chosen, count, means, sizes = chosen.clone(), len(chosen), kernel.means, kernel.diagonal
    least = 1e-12 * sizes.mean()  # below which a change is rounding
    pairs = kernel.rows(chosen)  # out (count), in (n)
    for _ in range(most):
        sums = pairs.sum(0)
        change = 2 * (sums - sums[chosen, None]) + sizes + sizes[chosen, None] - 2 * pairs
        change = change / count**2 - 2 * (means - means[chosen, None]) / count
        change[:, chosen] = torch.inf
        out, into = divmod(int(change.argmin()), len(means))
        if change[out, into] >= -least:
            break
        chosen[out] = into
        pairs[out] = kernel.rows(chosen[out : out + 1])[0]
    return chosen


def spread(z: Tensor, epsilon: float, count: int) -> Tensor:
    """Return which of z (n, d) make log det(Z_S Z_Sᵀ + εI) the largest, step by step: (count,).

    A pivoted Cholesky decomposition of ZZᵀ + εI, of which only the columns of the pivots are worked out.

    Args:
        epsilon: ε, in units of the mean of ‖z‖².
    Source: Chen, Zhang & Zhou, Fast Greedy MAP Inference for Determinantal Point Process, NeurIPS 2018.
    """
    sizes = z.square().sum(1)
    rest = sizes + epsilon * sizes.mean()  # what the determinant is multiplied by if this one is added
    factor, chosen = z.new_zeros(count, len(z)), []
    for i in range(count):
        open_ = rest.clone()
        open_[torch.tensor(chosen, dtype=torch.long)] = -torch.inf
        best = int(open_.argmax())
        factor[i] = (z @ z[best] - factor[:i].T @ factor[:i, best]) / rest[best].sqrt()
        rest = rest - factor[i].square()
        chosen.append(best)
    return torch.tensor(chosen)


def stratified(scores: Tensor, count: int, strata: int, generator: Generator) -> Tensor:
    """Return which of scores (n,) are drawn from strata of one width, those of the smallest stratum first: (count,)."""
    strata = min(strata, count)
    width = (scores.max() - scores.min()) / strata
    # equal scores are one stratum
    stratum = ((scores - scores.min()) / width).nan_to_num(0.0).long().clamp(max=strata - 1)
    members = sorted(((stratum == s).nonzero().flatten() for s in range(strata)), key=len)
    chosen, left = [], count
    for i, own in enumerate(members):
        taken = own[torch.randperm(len(own), generator=generator)[: left // (strata - i)]]
        chosen.append(taken)
        left -= len(taken)
    return torch.cat(chosen)
