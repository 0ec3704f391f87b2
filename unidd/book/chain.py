"""Pictures in a row, each worked out from the one before it: what happens between pixels and their gradient.

Plain HTML: no script draws it, and on a phone the row wraps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from .pictures import data_uri

ABOVE, BELOW = (0.82, 0.44, 0.04), (0.12, 0.47, 0.78)  # orange and blue: values above and below 0


@dataclass(frozen=True)
class Link:
    """A picture of the row.

    Args:
        title: what it is, a few words; letters of formulas are plain text.
        note: its numbers, below it.
        picture: RGBA in [0, 1] (4, H, W), as `grid` and `signed` give it.
        sign: what stands between it and the one before.
    """

    title: str
    note: str
    picture: Tensor
    sign: str = "→"


class Chain:
    """Show links from left to right, an arrow or another sign between two.

    Args:
        links: in order.
        width: of a picture, in pixels of a page.
    Raises:
        ValueError: there is no link.
    """

    def __init__(self, links: Sequence[Link], width: int = 128):
        if not links:
            raise ValueError("a chain needs a link")
        self.links, self.width = tuple(links), width

    def _repr_html_(self) -> str:
        look = "align-self:center;font-size:1.5em"
        signs = [
            "",
            *(f'<span aria-hidden="true" style="{look}">{escape(link.sign)}</span>' for link in self.links[1:]),
        ]
        parts = "".join(sign + self._part(link) for sign, link in zip(signs, self.links, strict=True))
        row = "display:flex;flex-wrap:wrap;gap:0.6em;align-items:flex-start"
        return f'<div class="unidd-chain" role="group" style="{row}">{parts}</div>'

    def _part(self, link: Link) -> str:
        title, note, alt = map(escape, (link.title, link.note, f"{link.title}: {link.note}"))
        look = f"width:{self.width}px;image-rendering:pixelated"
        image = f'<img src="{data_uri(link.picture)}" alt="{alt}" style="{look}">'
        words = f'<div style="font-size:0.85em;line-height:1.35"><strong>{title}</strong><br>{note}</div>'
        return f'<div style="width:{self.width}px">{image}{words}</div>'

    def __repr__(self) -> str:
        return " → ".join(f"{link.title} ({link.note})" for link in self.links)


def signed(values: Tensor) -> Tensor:
    """Return a matrix (H, W) as a picture (4, H, W): orange above 0, blue below, the fainter the nearer to 0.

    >>> signed(torch.tensor([[2.0, 0.0, -1.0]]))[3].tolist()
    [[1.0, 0.0, 0.5]]
    """
    share = values.double()
    share = share / share.abs().max().clamp_min(1e-300)
    colours = [torch.where(share > 0, above, below) for above, below in zip(ABOVE, BELOW, strict=True)]
    return torch.stack([*colours, share.abs()]).float()
