"""Draws the picture on the first page, images/landing.svg: real patches as mean colours, a filter, distilled images.

Run from the root: `python book/landing.py`. Every part is computed: the patches are `photos`, the ticks are eigenvalues
of the teacher's last layer, the ten images are distilled here by HFM, which CFM is with one round.
"""

import math
from pathlib import Path

import torch

from unidd import distill, teach
from unidd.book.pictures import encoded
from unidd.core.filters import Ridge
from unidd.core.statistics import real_statistics
from unidd.data.datasets import load
from unidd.data.grids import grid
from unidd.networks.models import tapped_layers

GREY, BLUE = "#7d8794", "#1f78c8"


def mosaic(images: torch.Tensor, columns: int, gap: int, lossless: bool) -> str:
    """Images (n, C, H, W) in [0, 1] side by side, as a data URI."""
    return encoded(grid(images, columns, gap), "webp", lossless=lossless, quality=55, method=6)


def picture(uri: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<image {place} preserveAspectRatio="none" style="image-rendering:pixelated" href="{uri}"/>'


def label(x: float, content: str) -> str:
    return f'<text x="{x}" y="274" text-anchor="middle">{content}</text>'


def filter_drawing(lam: torch.Tensor, left: float, right: float, top: float, bottom: float) -> str:
    """β/(λ + β) at three β of a falling schedule, above the eigenvalues as ticks."""
    logs = lam[lam > lam.max() * 1e-4].log10()
    low, high = float(logs.min()), float(logs.max())
    parts = []
    for beta, opacity in ((0.3, 0.35), (0.1, 0.6), (0.02, 1)):
        grid = torch.logspace(low, high, 60, dtype=lam.dtype)
        heights = Ridge(beta).response(grid) * beta
        points = [
            f"{left + (right - left) * k / 59:.1f} {bottom - (bottom - top) * float(v):.1f}"
            for k, v in enumerate(heights)
        ]
        parts.append(f'<path d="M{"L".join(points)}" stroke="{BLUE}" stroke-width="3" opacity="{opacity}"/>')
    ticks = [f"M{left + (right - left) * (float(v) - low) / (high - low):.1f} {bottom + 10}v12" for v in logs]
    parts.append(f'<path d="{"".join(ticks)}" stroke="{GREY}" stroke-width="1.5"/>')
    return f'<g fill="none" stroke-linecap="round">{"".join(parts)}</g>'


def main() -> None:
    data = load("photos")
    teacher = teach(data)
    images, labels = data.normalise(data.train.images), data.train.labels
    layer = tapped_layers(teacher.model)[-1]
    batches = zip(images.split(500), labels.split(500), strict=True)
    ffc = real_statistics(teacher.model, batches, [layer])[layer].ffc
    distilled = distill(data, "hfm", ipc=1, teacher=teacher).images

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    real = data.train.images[order[:176]].float() / 255
    # the photographs themselves stay out of the repository: each patch is reduced to 4×4 mean colours
    small = torch.nn.functional.avg_pool2d(real, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    arrow = f'stroke="{GREY}" stroke-width="2.5" fill="none" stroke-linecap="round" stroke-linejoin="round"'
    parts = [
        picture(mosaic(small, 16, 1, False), 0, 8, 352, 236),
        f'<path d="M374 126h34m-9-8 9 8-9 8" {arrow}/>',
        filter_drawing(torch.linalg.eigvalsh(ffc), 430, 590, 56, 190),
        f'<path d="M612 126h34m-9-8 9 8-9 8" {arrow}/>',
        picture(mosaic(distilled, 5, 2, True), 668, 58, 332, 132),
        label(176, f"{len(labels):,} patches"),
        label(510, "spectral filter"),
        label(834, f"{len(distilled)} images"),
    ]
    style = f'font-family="system-ui,sans-serif" font-size="24" fill="{GREY}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 284"><g {style}>{"".join(parts)}</g></svg>\n'
    path = Path(__file__).parent / "images" / "landing.svg"
    path.write_text(svg)
    print(f"{path.name}: {math.ceil(len(svg) / 1000)} kB")


if __name__ == "__main__":
    main()
