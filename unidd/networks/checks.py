"""Look at a network before it teaches: what it returns, which layers are matched, whether its answers fit the classes.

A network that a user brings may be in any mode and of any make. It is looked at with a few images, it is not changed by
it, and what is wrong is one error that says what to do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ..core.frozen import frozen, joined
from ..data.datasets import ImageData
from .models import real_batch, tapped_layers

_FEW, _MANY = 3, 500  # images that the network's form, and at first its answers, are looked at with
_SURE = 4.0  # standard deviations
_LAST_AXIS = (nn.Linear, nn.LayerNorm)
_KINDS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, *_LAST_AXIS)


def check_network(
    model: nn.Module, data: ImageData, layers: Sequence[str] | None = (), *, gradient: bool = False
) -> list[str]:
    """Return the names of the layers that are matched, after a look at the network with three images.

    Args:
        model: in any mode; it is as before afterwards.
        layers: those that are to be matched, see `tapped_layers`; None takes the convolutions, () none.
        gradient: whether images are to descend on what the network says of them.
    Raises:
        ValueError: it does not take the images; it does not return float32 logits (n, classes) that are finite; it
            changes its own weights; no gradient reaches the images; a layer is not called once, or there is none.
    """
    names = tapped_layers(model, layers)
    if layers is None and not names:
        raise ValueError(f"the network has no convolution, so there is no layer to match: {_advice(model)}")
    images = _first(model, data)
    held = [*model.parameters(), *model.buffers()]
    before = [tensor._version for tensor in held]
    with frozen(model):
        with torch.enable_grad():
            x = images.clone().requires_grad_()
            calls = _Calls(model, names)
            logits = _logits(model, calls, x, data)
        with torch.no_grad():
            _logits(model, again := _Calls(model, names), images, data)
    if [tensor._version for tensor in held] != before:
        raise ValueError("the network changes its own weights or buffers in eval mode: give one that does not")
    for found in (calls, again):
        found.check(len(images))
    if gradient and not _reaches(logits, x):
        raise ValueError("no gradient reaches the images: is the forward pass under torch.no_grad, or detached?")
    if layers is None and calls.see_only(x) and _linear(model):
        raise ValueError(f"{_join(names)} would be matched alone, whose input is the image itself: {_advice(model)}")
    return names


def _first(model: nn.Module, data: ImageData) -> Tensor:
    """Return a few images as the network takes them: (n, C, H, W)."""
    types = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    if other := types - {torch.float32, torch.float64}:
        raise ValueError(f"the network's weights are {_join(map(_word, other))}: give it as float32, network.float()")
    places = {tensor.device for tensor in model.parameters()}
    if places - {data.device}:
        raise ValueError(f"the network is on {_join(map(str, places))}, the images on {data.device}: move one of them")
    images = data.normalise(data.train.images[:_FEW])
    return images.double() if types == {torch.float64} else images


def _logits(model: nn.Module, calls: "_Calls", x: Tensor, data: ImageData) -> Tensor:
    shape = tuple(x.shape[1:])
    try:
        with calls:
            logits = model(x)
    except Exception as error:  # the network is anybody's code
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"the network does not take images {shape}: {reason}") from error
    if not isinstance(logits, Tensor):
        parts = f" ({', '.join(map(str, logits))})" if isinstance(logits, dict) else ""
        what = f"a {type(logits).__name__}{parts}"
        raise ValueError(f"the network returns {what}, not logits (n, classes): wrap it so that forward returns those")
    if logits.ndim != 2 or len(logits) != len(x):
        raise ValueError(f"the network returns {tuple(logits.shape)} for {len(x)} images, not logits (n, classes)")
    if logits.shape[1] != data.classes:
        says = f"the network has {logits.shape[1]} outputs, and {data.name} {data.classes} classes"
        raise ValueError(f"{says}: give a network whose output k stands for class k of the data")
    if logits.dtype != x.dtype:
        raise ValueError(
            f"the network's logits are {_word(logits.dtype)}, not {_word(x.dtype)}: convert them in forward"
        )
    if not logits.isfinite().all():
        raise ValueError("the network's logits are not finite: train it again")
    return logits


def _reaches(logits: Tensor, x: Tensor) -> bool:
    if not logits.requires_grad:
        return False
    try:
        (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), x, allow_unused=True)
    except RuntimeError as error:
        raise ValueError(f"the network has no gradient: {str(error).splitlines()[0]}") from error
    return gradient is not None


@dataclass
class _Calls:
    """Sees how named layers are called in a forward pass."""

    model: nn.Module
    names: list[str]
    seen: dict[str, list[Tensor]] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> None:
        known = dict(self.model.named_modules())
        self._handles = [known[n].register_forward_pre_hook(partial(self._hook, n)) for n in self.names]

    def _hook(self, name: str, _: nn.Module, inputs: tuple) -> None:
        first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else torch.empty(0)
        self.seen.setdefault(name, []).append(first)
        self._versions[name] = first._version

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()

    def check(self, images: int) -> None:
        """Raise a ValueError unless each layer was called once, with features that can be matched."""
        for name in self.names:
            module, features = self.model.get_submodule(name), self.seen.get(name, [])
            if len(features) != 1:
                how = f"{len(features)} times" if features else "never"
                raise ValueError(f"the layer {name} is called {how} in a forward pass, not once: name others by layers")
            (x,) = features
            if x.ndim < 2 or not x.is_floating_point():
                raise ValueError(f"the layer {name} is not called with a tensor of features: name another by layers")
            if len(x) != images:
                raise ValueError(f"the first axis of the layer {name}'s input {tuple(x.shape)} is not the images'")
            if x.ndim > 3 and not isinstance(module, _KINDS):
                kind = f"{type(module).__name__} {name} of {tuple(x.shape)}"
                raise ValueError(f"which axis of the {kind} holds the features is not known: name a layer inside it")
            if x._version != self._versions[name]:
                raise ValueError(f"the input of the layer {name} is changed in place after it: name another by layers")

    def see_only(self, x: Tensor) -> bool:
        """Return whether the layers see nothing but the image."""
        inputs = [features for found in self.seen.values() for features in found]
        return all(found.shape == x.shape and found.data_ptr() == x.data_ptr() for found in inputs)


def _linear(model: nn.Module) -> list[str]:
    """Return the linear layers but for the last, which gives the logits."""
    return [name for name, module in model.named_modules() if type(module) is nn.Linear][:-1]


def _advice(model: nn.Module) -> str:
    names = _linear(model) or [name for name, module in model.named_modules() if type(module) is nn.Linear]
    some = names[:: max(1, len(names) // 3)][:3]
    return "name layers by layers" + (f", such as {_join(some)}" if some else "")


@dataclass(frozen=True)
class Answers:
    """How a network answers for some test images.

    Attributes:
        accuracy: in %.
        images: how many.
        note: what is to be said of it; empty if nothing is.
    """

    accuracy: float
    images: int
    note: str = ""


@torch.no_grad()
def check_answers(model: nn.Module, data: ImageData, most: int | None = _MANY) -> Answers:
    """Look at the network's answers for test images of all classes.

    Args:
        most: images to look at; None takes all, since a few say little where classes are many, as that two of two
            hundred have changed places.
    Raises:
        ValueError: they fit the classes much better in another order.
    """
    labels = data.test.labels
    index = labels.sort(stable=True).indices
    count = min(len(index), most or len(index))
    index = index[torch.linspace(0, len(index) - 1, count, dtype=torch.float64).round().long().to(index.device)]
    with frozen(model):
        images = (data.normalise(data.test.images[part]) for part in index.split(real_batch(data.size, data.device)))
        surest, predicted = joined((model(x).double().softmax(1).max(1) for x in images), count)
    predicted, labels = predicted.cpu(), labels[index].cpu()
    right = int((predicted == labels).sum()) / count
    confident = float(surest.mean())
    order, trained = better_order(predicted, labels, data.classes), min(2 / data.classes, (1 + 1 / data.classes) / 2)
    if order and min(order[0], confident) > trained:  # a network that knows nothing is not out of order
        better, outputs = order
        moved = [(k, data.class_names[c]) for k, c in enumerate(outputs) if k != c]
        stand = " and ".join(f"output {k} {'stands ' * (i == 0)}for {name!r}" for i, (k, name) in enumerate(moved[:3]))
        raise ValueError(
            f"the network seems to have another class order than {data.name}: {100 * right:.1f} % of {len(index)} test "
            f"images as it is, {100 * better:.1f} % if {stand}{' and so on' * (len(moved) > 3)}: "
            "say the class names in the order of the outputs (unidd import-teacher --order)"
        )
    chance = 1 / data.classes
    if right < chance + 3 * math.sqrt(chance * (1 - chance) / len(index)):
        note = f"the teacher gets {100 * right:.1f} % of {len(index)} test images of {data.name}, no better than chance"
        return Answers(100 * right, len(index), f"{note}: is it trained, on these classes, and with this mean and std?")
    return Answers(100 * right, len(index))


def better_order(predicted: Tensor, labels: Tensor, classes: int) -> tuple[float, list[int]] | None:
    """Return what an order of the outputs gets that fits the labels much better than the plain one; None if none does.

    The best assignment of outputs to classes on one half of the images is tried on the other half, and the other way
    round, so that luck does not count.

    Args:
        predicted, labels: (n,), images of a class side by side.
    Returns:
        The part of right answers on images not used to find the order, and the class that each output stands for.

    >>> labels = torch.arange(6).repeat_interleave(40)
    >>> better_order((labels + 1) % 6, labels, 6)
    (1.0, [5, 0, 1, 2, 3, 4])
    """
    halves = (slice(0, None, 2), slice(1, None, 2))
    fits = torch.zeros(len(labels), dtype=torch.bool)
    for seen, tried in (halves, halves[::-1]):
        fits[tried] = _assigned(predicted[seen], labels[seen], classes)[predicted[tried]] == labels[tried]
    plain = predicted == labels
    gained, lost = int((fits & ~plain).sum()), int((plain & ~fits).sum())
    if gained - lost <= _SURE * math.sqrt(gained + lost + 1):  # McNemar's test
        return None
    return float(fits.double().mean()), _assigned(predicted, labels, classes).tolist()


def _assigned(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the class that each output best stands for, each class once; its own where the images do not tell."""
    from scipy.optimize import linear_sum_assignment

    counts = torch.eye(classes, dtype=torch.float64) / 2
    counts.index_put_((predicted, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    return torch.from_numpy(linear_sum_assignment(-counts.numpy())[1])


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _join(names) -> str:
    return ", ".join(names)
