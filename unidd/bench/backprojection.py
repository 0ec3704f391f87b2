"""What each band of a layer's frequencies sees of an image, taken back to its pixels."""

import torch
from torch import Tensor

from ..core.statistics import FeatureTap, rows
from .residuals import Probe


def back_projected(probe: Probe, images: Tensor) -> dict[str, Tensor]:
    """Return Jᵀ P_j (φ(x) − μ) of each layer and band j: the band's part of the features, as a change of the pixels.

    φ is the network up to the layer, J its derivative at the image, P_j the projector on the band and μ the real mean
    feature. Where φ keeps lengths and angles, that is the image's own part in the band, and the parts of all bands add
    up to the image less the mean.

    Args:
        images: (n, C, H, W), uint8 or float in [0, 1].
    Returns:
        Layer → (J, n, C, H, W), low frequencies first, in the units of network input.
    """
    model, data = probe.model, probe.data
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    x = data.normalise(images).to(dtype).requires_grad_()
    with FeatureTap(model, list(probe.bands)) as tap:
        model(x)
    return {layer: torch.stack(_parts(probe, layer, tap.features[layer], x)) for layer in probe.bands}


def _parts(probe: Probe, layer: str, features: Tensor, x: Tensor) -> list[Tensor]:
    bands, mean = probe.bands[layer], probe.sides[layer].flc.sum(1)
    centred = rows(features.detach()).double() - mean.double()
    shape = features.movedim(1, -1).shape
    found = []
    for basis in bands.real.basis.double().split(bands.sizes, 1):
        inside = (centred @ basis @ basis.T).reshape(shape).movedim(-1, 1).to(features)
        found.append(torch.autograd.grad(features, x, inside, retain_graph=True)[0])
    return found


def contrasted(parts: Tensor) -> Tensor:
    """Return images (…, C, H, W) around grey in [0, 1], each as strong as fits: its largest value is black or white."""
    most = parts.abs().amax((-3, -2, -1), keepdim=True).clamp_min(torch.finfo(parts.dtype).tiny)
    return 0.5 + 0.5 * parts / most
