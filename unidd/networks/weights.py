"""Networks from files of weights: of this package, or of others for an architecture that it builds.

A file is safetensors, or a state dict of `torch.save`, read without running code from it. What to build is read from
the card beside it if there is one, else from names and shapes; what they do not show is asked for.
"""

import json
import pickle
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..data.datasets import ImageData
from ..files import atomic, save_json
from .models import ModelConfig, build, weights_hash

Tensors = dict[str, Tensor]
Constants = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of each channel

# What published teachers were trained with. Source: the released code of UniDD, and torchvision's for ImageNet.
PUBLISHED: dict[str, Constants] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "teacher")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "teacher.")
_RESNETS = {20: "resnet18", 36: "resnet34", 53: "resnet50", 104: "resnet101", 155: "resnet152"}  # by convolutions
_AUXILIARY = re.compile(r"(aux\d|AuxLogits)\.")  # heads that torchvision's networks use in training alone


@dataclass(frozen=True)
class Stored:
    """What a file of weights holds.

    Attributes:
        path: of the file.
        tensors: by name, in float32.
        card: what stands beside it; empty if nothing does.
    """

    path: Path
    tensors: Tensors
    card: dict = field(default_factory=dict)

    @property
    def constants(self) -> Constants | None:
        """Mean and std that the network was trained with; None if the card does not say."""
        return (tuple(self.card["mean"]), tuple(self.card["std"])) if "mean" in self.card else None


def read_weights(path: str | Path) -> Stored:
    """Read a file of weights, or the folder of a teacher; no code in it is run.

    Args:
        path: *.safetensors, a state dict of `torch.save` (alone, or in a dict beside others), or a folder with
            model.safetensors and card.json.
    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or holds no state dict.
    """
    path = Path(path).expanduser()
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no teacher {path}: say a file of weights, or the folder of a teacher")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from None
    tensors = _plain(_state_dict(content, path))
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path}: {broken[0]} is not finite")
    card = _card(path.with_name("card.json")) if path.name == "model.safetensors" else {}
    return Stored(path, tensors, card)


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError):
        advice = "save network.state_dict() where it was trained, by torch.save or as safetensors"
        raise ValueError(f"{path} is damaged, or holds more than tensors, which is not run: {advice}") from None


def _card(path: Path) -> dict:
    try:
        card = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(card, dict):
        raise ValueError(f"{path} is damaged: not an object")
    return card


def _state_dict(content: Any, path: Path) -> Tensors:
    """Return the tensors of a state dict, which may lie in a dict beside other things."""
    if isinstance(content, dict):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if any(tensor.ndim > 1 for tensor in tensors.values()):
            return tensors
        inside = [content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)]
        inside += [value for name, value in content.items() if isinstance(value, dict) and name not in _WRAPPERS]
        for value in inside:
            try:
                return _state_dict(value, path)
            except ValueError:
                continue
    raise ValueError(f"{path} holds no state dict: save network.state_dict()")


def _plain(tensors: Tensors) -> Tensors:
    """Return weights as float32, without the prefixes that wrappers give all names."""
    tensors = {name: value for name, value in tensors.items() if name != "n_averaged"}  # of an averaged model
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def fit(
    stored: Stored,
    data: ImageData,
    *,
    model: str | None = None,
    pooling: str | None = None,
    order: Sequence[str] | None = None,
) -> tuple[nn.Module, ModelConfig]:
    """Return the network that stored weights are of, in eval mode and frozen, on the data's device; and what it is.

    Args:
        data: give channels, size and classes.
        model: the architecture, if neither card nor shapes tell; see `ModelConfig`.
        pooling: of a ConvNet, if its card does not tell: "avg" or "max".
        order: class names in the order of the outputs, if it is not that of the data; may hold more classes.
    Raises:
        ValueError: no architecture of the package has such weights; something has to be said; the message says what.
    """
    config, tensors = _recognised(stored, model)
    if config.name == "convnet":
        config = replace(config, pooling=pooling or _pooling(stored, config))
    network = build(config, data.channels, data.size, data.classes)
    head = _head(network)
    if order is not None:
        tensors = _reordered(tensors, head, list(order), data)
    _check_shapes(stored.path, tensors, network, head, config, data)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False).to(data.device), config


def _recognised(stored: Stored, model: str | None) -> tuple[ModelConfig, Tensors]:
    """Return architecture and tensors by the names of the package."""
    if "model" in stored.card:
        try:
            return ModelConfig(**stored.card["model"]), stored.tensors
        except TypeError:
            raise ValueError(f"the card beside {stored.path} names no architecture of the package") from None
    if model in (None, "convnet") and (found := _as_convnet(stored.tensors)):
        return found
    tensors = {name: value for name, value in stored.tensors.items() if not _AUXILIARY.match(name)}
    convolutions = sum(value.ndim == 4 for value in tensors.values())
    if model in (None, "convnet") and "layer1.0.conv1.weight" in tensors:
        model = _RESNETS.get(convolutions, model)
    if model in (None, "convnet"):
        names = ", ".join(list(tensors)[:3])
        raise ValueError(f"{stored.path} is of another architecture than ConvNet and ResNet ({names}, …): say --model")
    if model.startswith("resnet"):  # as others call the same layers
        renamed = {"shortcut.": "downsample.", "linear.": "fc.", "classifier.": "fc."}
        tensors = {_renamed(name, renamed): value for name, value in tensors.items()}
    return ModelConfig(model), tensors


def _renamed(name: str, parts: dict[str, str]) -> str:
    for theirs, ours in parts.items():
        name = re.sub(rf"(^|\.){re.escape(theirs)}", rf"\1{ours}", name)
    return name


def _as_convnet(tensors: Tensors) -> tuple[ModelConfig, Tensors] | None:
    """Return the ConvNet that tensors are of, by their shapes alone, whatever their names; None if they are of another.

    They are if there are 3×3 convolutions of one width, each with a norm of that width or none with any, and one linear
    layer.
    """
    modules: dict[str, Tensors] = {}
    for name, value in tensors.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = value
    kinds: dict[int, list[Tensors]] = {1: [], 2: [], 4: []}
    for parts in modules.values():
        if "weight" not in parts or parts["weight"].ndim not in kinds:
            return None
        kinds[parts["weight"].ndim].append(parts)
    norms, heads, convolutions = kinds.values()
    if len(heads) != 1 or not convolutions or len(norms) not in (0, len(convolutions)):
        return None
    width = len(convolutions[0]["weight"])
    shapes = [tuple(parts["weight"].shape) for parts in convolutions]
    if shapes[1:] != [(width, width, 3, 3)] * (len(shapes) - 1) or shapes[0][2:] != (3, 3):
        return None
    if any(len(parts["weight"]) != width for parts in norms):
        return None
    batch = bool(norms) and "running_mean" in norms[0]
    norm = "batch" if batch else "instance" if norms else "none"
    return ModelConfig("convnet", width, len(convolutions), norm), _our_convnet(convolutions, norms, heads[0])


def _our_convnet(convolutions: list[Tensors], norms: list[Tensors], head: Tensors) -> Tensors:
    """Return parts of layers by the names of our ConvNet; a bias that is not there is 0."""
    layers = {f"features.{4 * i}": parts for i, parts in enumerate(convolutions)}
    layers |= {f"features.{4 * i + 1}": parts for i, parts in enumerate(norms)}
    ours: Tensors = {}
    for layer, parts in {**layers, "head": head}.items():
        absent: Tensors = {"bias": torch.zeros(len(parts["weight"]))}
        if "running_mean" in parts:
            absent["num_batches_tracked"] = torch.tensor(0)
        ours |= {f"{layer}.{part}": value for part, value in {**absent, **parts}.items()}
    return ours


def _pooling(stored: Stored, config: ModelConfig) -> str:
    """Return how a ConvNet pools: as its card says, or as the released code does, by whose names it is known."""
    if "model" in stored.card:
        return config.pooling
    if "layers.conv.0.weight" in stored.tensors:
        return "avg"
    raise ValueError(
        f"{stored.path} is a ConvNet of width {config.width} and depth {config.depth}, and does not show how it pools: "
        "unidd import-teacher it with --pooling avg or max"
    )


def _head(network: nn.Module) -> str:
    """Return the name of the layer that gives the logits."""
    return [n for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]


def _reordered(tensors: Tensors, head: str, order: list[str], data: ImageData) -> Tensors:
    """Return tensors whose outputs are the data's classes, given the names of the outputs as they are."""
    weight = tensors.get(f"{head}.weight")
    if weight is None or len(weight) != len(order) or len(set(order)) != len(order):
        outputs = "no head" if weight is None else f"{len(weight)} outputs"
        raise ValueError(f"the network has {outputs}, and the order {len(set(order))} different names: name each once")
    if missing := [name for name in data.class_names if name not in order]:
        raise ValueError(
            f"the order lacks {', '.join(missing[:3])}: it must hold the classes {_some(data.class_names)}"
        )
    index = torch.tensor([order.index(name) for name in data.class_names])
    turned = {name: tensors[name][index] for name in (f"{head}.weight", f"{head}.bias") if name in tensors}
    return tensors | turned


def _check_shapes(
    path: Path, tensors: Tensors, network: nn.Module, head: str, config: ModelConfig, data: ImageData
) -> None:
    """Raise a ValueError unless the tensors are those of the network."""
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in tensors.items()}
    given = theirs.get(f"{head}.weight", (data.classes,))
    if given[0] != data.classes:
        raise ValueError(
            f"{path} has {given[0]} outputs, and {data.name} {data.classes} classes: say the names of the outputs by "
            "unidd import-teacher --order, or take a network of these classes"
        )
    what = f"the {config.name} of this package for {data.name} ({data.channels}×{data.size}×{data.size})"
    for name in [*theirs, *ours]:
        if name not in ours or name not in theirs:
            where = "the file" if name in theirs else what
            raise ValueError(f"{path} is not {what}: only {where} has {name}")
        if theirs[name] != ours[name]:
            raise ValueError(f"{path} is not {what}: {name} is {theirs[name]}, not {ours[name]}")


def said_constants(
    stored: Stored, name: str | None = None, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Constants | None:
    """Return the mean and std of each channel that a network was trained with, as they are said.

    Args:
        stored: whose card may say them.
        name: a key of `PUBLISHED`; or "data", for those of the training images: None is returned.
        mean, std: in place of a name.
    Raises:
        ValueError: nobody says them, or only in part.
    """
    if name and (mean or std):
        raise ValueError("say either --normalisation, or --mean and --std")
    if bool(mean) != bool(std):
        raise ValueError("say both --mean and --std")
    if name and name not in (*PUBLISHED, "data"):
        raise ValueError(f"unknown normalisation {name!r}: choose one of {', '.join(PUBLISHED)}, data")
    given = (tuple(mean), tuple(std)) if mean and std else stored.constants
    if not name and given is None:
        raise ValueError(
            f"{stored.path} does not say which mean and std it was trained with: say --mean and --std, or "
            f"--normalisation {', '.join(PUBLISHED)}, or data for those of the training images"
        )
    return PUBLISHED.get(name) if name else given


def save_weights(
    network: nn.Module, config: ModelConfig, folder: str | Path, constants: Constants, about: dict
) -> Path:
    """Write a network as `read_weights` reads it: model.safetensors and card.json; both or neither.

    Args:
        constants: mean and std of each channel that it was trained with.
        about: what else the card says.
    """
    folder = Path(folder)
    card = {**about, "model": asdict(config), "mean": constants[0], "std": constants[1], "hash": weights_hash(network)}
    with atomic(folder / "model.safetensors") as temporary:
        save_file({name: value.cpu().contiguous() for name, value in network.state_dict().items()}, temporary)
        save_json(card, folder / "card.json")
    return folder


def _some(names: Sequence[str]) -> str:
    return " ".join(names[:10]) + (" …" if len(names) > 10 else "")


def statistics_files(path: str | Path) -> list[Path]:
    """Return the files that a path stands for, see `unidd.engine.released`.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are of several networks.
    """
    path = Path(path).expanduser()
    files = sorted(path.glob("*=*/running.npz") if path.is_dir() else path.parent.glob(f"{path.name}=*/running.npz"))
    if not files:
        raise FileNotFoundError(f"there are no statistics {path}: say a folder with <network>=<layer>/running.npz")
    networks = sorted({file.parent.name.rpartition("=")[0] for file in files})
    if len(networks) > 1:
        raise ValueError(
            f"{path} holds statistics of {', '.join(networks)}: add the name of one, as {path}/{networks[0]}"
        )
    return files
