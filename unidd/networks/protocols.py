"""How the authors of published methods train and label students, by name: what their numbers mean.

Each protocol says which label regimes it has, which student it trains unless told otherwise, and how. All report the
last epoch, also where the authors took the best. What differs from the released code:

    all       batches of an epoch are of equal size; images are normalised and not whitened
    dc        MNIST and students with batch norm were augmented
    frepo     Siamese operations: colours change more, and the square that is cut out is twice as large; images are
              mixed anew in every epoch
    sre2l     the teacher labels every view anew, where its outputs were stored in half precision; on Tiny-ImageNet the
              rate falls to a hundredth, and not to 0; on CIFAR-100 images have the mean and std of their own data set,
              and the teacher is in eval mode
    sre2l, rded   crops that would stick out of the image are cut off, and not drawn again
    rded      the student has no further pass over each batch, which updated its running statistics twice; the rate and
              batch that ConvNets had on CIFAR-100 are those of the other sets

Where suites train a method's students under another's protocol, its authors' own differs: KIP's networks have width
1024 and take 5,000 steps of SGD with momentum, here frepo; CDA has batches of 128, here sre2l; FADRM has batches of 16,
crops from 8 % on and a teacher in train mode, here rded.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from ..data.siamese import STRATEGY
from ..data.synthetic import said_rate
from .evaluation import RECORDED, REGIMES
from .training import Recipe

_STEPS = {10: 1000, 100: 2000, 200: 20000, 400: 5000, 500: 5000, 1000: 10000, 2000: 40000, 5000: 40000}
_RATES = {"vgg": 5e-4, "efficientnet_b0": 2e-3, "mobilenet": 2.5e-3, "alexnet": 1e-4, "vit": 1e-4, "swin": 1e-4}


@dataclass(frozen=True)
class Students:
    """What the training of students goes by.

    Attributes:
        images, ipc, classes: of the set.
        channels: of an image.
        model: name of the students' architecture.
        card: what the set's card says under "config".
        share: part of the published epochs that is trained.
    """

    images: int
    ipc: int | None
    classes: int
    channels: int = 3
    model: str = "convnet"
    card: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0

    def part(self, epochs: float) -> int:
        return max(1, round(self.share * epochs))

    @property
    def rate(self) -> float | None:
        """The learning rate that was learnt with the images; 0.01 if none was, None if the card does not say."""
        return said_rate(self.card) or (None if "import" in self.card else 0.01)


@dataclass(frozen=True)
class Protocol:
    """How students are trained and labelled.

    Attributes:
        regimes: label regimes that it has.
        recipe: returns the training; None: the package's own, which the budget gives.
        model: name of the students' architecture; None: that of the teacher.
        centred: whether fixed soft labels are numbers, one-hot less 1/c at first, to be met as such.
    """

    regimes: tuple[str, ...]
    recipe: Callable[[Students], Recipe] | None = None
    model: str | None = None
    centred: bool = False

    @property
    def recorded(self) -> tuple[str, ...]:
        """The label regimes of a record, unless others are asked for."""
        return self.regimes if self.recipe else RECORDED


def dc(students: Students) -> Recipe:
    """Return DC's training, 301 epochs without augmentation: SGD, whose rate drops once and whose momentum is lost.

    Source: Zhao, Mopuri & Bilen, ICLR 2021, and its code, `evaluate_synset`.
    """
    return Recipe(students.part(300) + 1, 256, "sgd", lr=0.01, weight_decay=5e-4, crop="none", schedule="drop")


def dsa(students: Students) -> Recipe:
    """Return the training of DSA and DM, as DC's, with 1001 epochs and Siamese augmentation.

    Its operations are those that the set was made with, if its card says which: digits are not flipped.

    Source: Zhao & Bilen, ICML 2021, and its code, `evaluate_synset`.
    """
    epochs, said = students.part(1000) + 1, students.card.get("strategy", "none")
    how: dict[str, Any] = {"lr": 0.01, "weight_decay": 5e-4, "crop": "none", "schedule": "drop"}
    return Recipe(epochs, 256, "sgd", **how, strategy=STRATEGY if said == "none" else said)


def mtt(students: Students) -> Recipe:
    """Return the training of MTT and TESLA: DSA's, but it starts from the rate that was learnt with the images.

    Raises:
        ValueError: the set was imported, and nobody says the rate.
    Source: Cazenavette et al., CVPR 2022, and its code, `evaluate_synset`.
    """
    if students.rate is None:
        raise ValueError(
            "the protocol mtt starts from the rate that was learnt with the images, which the set's card does not say: "
            "import it with --rate, or take the protocol dsa, which is the same at 0.01"
        )
    return replace(dsa(students), lr=students.rate)


def frepo(students: Students) -> Recipe:
    """Return FRePo's training: Adam, whose rate rises for 500 steps and falls to a hundredth.

    Steps go by the number of images; where it is not one of the published ones, by the next larger one. Grey images are
    not flipped.

    Source: Zhou, Nezhadarya & Ba, NeurIPS 2022, and its code, script/eval.py.
    """
    batch = min(students.images, 500)
    steps = students.part(_STEPS[min((n for n in _STEPS if n >= students.images), default=5000)])
    how: dict[str, Any] = {"crop": "none", "schedule": "warm-up", "warmup": round(500 * students.share)}
    strategy = "flip_" * (students.channels > 1) + "color_scale_rotate_crop_cutout"
    return Recipe(-(-steps // -(-students.images // batch)), batch, "adam", lr=3e-4, **how, strategy=strategy)


_DECOUPLED: dict[str, Any] = {
    **{"optimizer": "adamw", "weight_decay": 0.01, "decay": "weights", "schedule": "epochs"},
    **{"cutmix": True, "temperature": 20.0, "t_squared": False},
}


def sre2l(students: Students) -> Recipe:
    """Return SRe2L's training. It goes by the number of classes: 100 as on CIFAR-100, 200 as on Tiny-ImageNet, and all
    others as on ImageNet-1K: AdamW, a cosine to 0, crops and CutMix, batches of up to 1024.

    Source: Yin, Xing & Shen, NeurIPS 2023, and its code, train_FKD.py and that for the smaller sets.
    """
    if students.classes == 200:
        batch, epochs = min(256, students.images), students.part(100)
        warmup = round(5 * students.share) * -(-students.images // batch)
        how: dict[str, Any] = {"lr": 0.2, "weight_decay": 1e-4, "crop": "resized", "temperature": 20.0}
        return Recipe(epochs, batch, "sgd", **how, schedule="warm-up", warmup=warmup)
    if students.classes == 100:
        how = _DECOUPLED | {"decay": "all", "cutmix": False, "mixup": 0.8, "temperature": 30.0, "crop": "pad"}
        return Recipe(students.part(400), min(128, students.images), lr=1e-3, **how)
    return Recipe(students.part(300), min(1024, students.images), lr=1e-3, crop="resized", **_DECOUPLED)


def rded(students: Students) -> Recipe:
    """Return RDED's training: AdamW and a cosine to half the rate; the patches of its own mosaics are shuffled.

    The rate goes by the student, the batch by images per class (published for 1, 10 and 50), and the smallest crop by
    the patches along a side, as the card says: whole images are only flipped.

    Source: Sun et al., CVPR 2024, and its code, validation/main.py and argument.py.
    """
    twice = 1 if students.classes <= 10 or students.classes == 200 else 2
    batch = 100 if students.classes == 200 else {1: 10, 10: 50}.get(students.ipc or 0, 100) * twice
    rate = next((rate for name, rate in _RATES.items() if students.model.startswith(name)), 1e-3)
    factor = students.card.get("factor", 1) if students.card.get("method") == "rded" else 1
    seen: dict[str, Any] = (
        {"crop": "resized", "scale": 1 / factor, "shuffle": factor} if factor > 1 else {"crop": "flip"}
    )
    return Recipe(students.part(300), min(batch, students.images), lr=rate, period=2.0, **_DECOUPLED, **seen)


PROTOCOLS = {
    "unidd": Protocol(REGIMES),
    "dc": Protocol(("hard",), dc, "convnet-instance"),
    "dsa": Protocol(("hard",), dsa, "convnet-instance"),
    "mtt": Protocol(("hard",), mtt, "convnet-instance"),
    "frepo": Protocol(("fixed-soft",), frepo, "convnet-doubling-none", centred=True),
    "sre2l": Protocol(("online-soft",), sre2l, "resnet18"),
    "rded": Protocol(("online-soft",), rded, "resnet18"),
}


def beside(card: dict[str, Any]) -> dict[str, Any]:
    """Return what of a set's card random real images beside it are trained with: the rate and the operations."""
    rate, told = Students(1, 1, 1, card=card).rate, {name: card[name] for name in ("strategy",) if name in card}
    return told | ({"learnt": {"lr": rate}} if rate else {})


def find_protocol(name: str, regimes: Collection[str] = ()) -> Protocol:
    """Return a protocol by name.

    Args:
        regimes: label regimes that it shall have.
    Raises:
        ValueError: there is none of this name, or it has no such label regime.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    found = PROTOCOLS[name]
    if wrong := [regime for regime in regimes if regime not in found.regimes]:
        known = " and ".join(found.regimes)
        raise ValueError(f"the protocol {name} has {known} labels alone, not {wrong[0]}: leave the label regimes out")
    return found
