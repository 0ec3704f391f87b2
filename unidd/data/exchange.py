"""Synthetic sets in the formats of others: what goes out, and what comes in."""

import json
from pathlib import Path

import torch

from ..files import atomic
from .synthetic import CARD, SyntheticSet, metadata, read_card


def to_imagefolder(synthetic: SyntheticSet, folder: str | Path) -> Path:
    """Export as <folder>/<class>/<number>.png, 8 bits a pixel, with the card beside them.

    Raises:
        FileExistsError: something stands in that folder already.
        ValueError: class names cannot be the names of folders.
    """
    from torchvision.transforms.functional import to_pil_image

    folder, names = Path(folder), _folder_names(synthetic.class_names)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: export to a new folder")
    for i, (image, label) in enumerate(zip(synthetic.images, synthetic.labels.tolist(), strict=True)):
        path = folder / names[label] / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image((image * 255).round().to(torch.uint8).cpu()).save(path)
    with atomic(folder / "card.json") as temporary:
        temporary.write_text(json.dumps({name: getattr(synthetic, name) for name in CARD}, indent=1) + "\n")
    return folder


def from_imagefolder(folder: str | Path) -> SyntheticSet:
    """Read such a folder back, in the original order.

    Raises:
        FileNotFoundError: the card or the images are missing.
        ValueError: the card or an image is damaged, or images differ in size.
    """
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    folder = Path(folder)
    if not (folder / "card.json").is_file():
        raise FileNotFoundError(f"{folder} is not an exported set: card.json is missing")
    found = metadata(read_card(folder))
    index = {name: k for k, name in enumerate(_folder_names(found["class_names"]))}
    paths = sorted((p for p in folder.glob("*/*.png") if p.parent.name in index), key=lambda p: p.name)
    if not paths:
        raise FileNotFoundError(f"{folder} has no images in folders named after its classes")
    try:
        images = torch.stack([pil_to_tensor(Image.open(p)) for p in paths]).float() / 255
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{folder}: the images cannot be read, or differ in size ({error})") from None
    return SyntheticSet(images, torch.tensor([index[p.parent.name] for p in paths]), **found)


def _folder_names(class_names: tuple[str, ...]) -> list[str]:
    names = [name.replace("/", "-") for name in class_names]
    if len(set(names)) < len(names) or {"", ".", ".."} & set(names):
        raise ValueError(f"the class names {', '.join(class_names)} cannot all be the names of folders")
    return names
