"""Two coresets of this project's own: UniDD over real images alone, and the images that span the largest volume.

Both look at the teacher's features x before its last linear layer, less their mean over all images. The FFC Ψ is their
covariance over all images; its eigenvalues decide what the filter f does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal

from torch import Tensor

from ..core.filters import AllPass, Filter, Linear, Ridge
from ..core.statistics import Moments, RealSide
from ..data.datasets import ImageData
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Fraction, Positive
from ._choosing import Choosing, Rule
from ._rules import Kernel, greedy, spread, swapped
from ._scores import cross_entropy, seen

_PART = 4096  # images of which features are in float64 together


@dataclass(frozen=True)
class Spectral(Choosing):
    """Looks at features through a filter.

    Args:
        filter: f: "ridge" 1/(λ + β), "linear" λ, or "all-pass" 1.
        beta: β of ridge, in units of the mean eigenvalue of the FFC.
    """

    filter: Literal["ridge", "linear", "all-pass"] = "ridge"
    beta: Positive = 1.0

    source: ClassVar[str] = "UniDD, this project"

    def side(self, features: Tensor) -> tuple[Callable[[Tensor], Tensor], RealSide, Filter]:
        """Return what gives the features of some images, the FFC, and f, from the features of all images (n, d).

        Features (m, d) of images of these numbers (m,) are centred, in float64, in the basis of the FFC's eigenvectors;
        those of all images are never there at once in this form.
        """
        parts = (Moments.of(part, part.new_ones(len(part), 1)) for part in features.split(_PART))
        moments = reduce(Moments.merge, parts)
        real = RealSide.of(moments)

        def of(numbers: Tensor) -> Tensor:
            return (features[numbers].double() - moments.mean) @ real.basis

        return of, real, self._of(float(real.eigenvalues.mean()))

    def _of(self, unit: float) -> Filter:
        if self.filter == "ridge":
            return Ridge(self.beta * unit)
        return Linear() if self.filter == "linear" else AllPass()


@dataclass(frozen=True)
class SpectralHerding(Spectral):
    """Spectral herding: images whose filtered FFC and FLC, class by class, follow those of all of their class.

    UniDD's two terms with real images in the place of made ones, and the filter expanded to first order around the real
    Ψ. Of each class k, with Φ_k its mean and Ψ_k the mean of xxᵀ over its images, S those chosen, and g = √|f'|:

        L(S) = ‖f(Ψ)(Φ_k − Φ_S)‖² / a + ‖g(Ψ)(Ψ_k − Ψ_S)g(Ψ)‖²_F / b.

    For ridge f(Ψ) − f(Ψ_S) is f(Ψ)(Ψ_S − Ψ)f(Ψ_S), so g = f; for linear g = 1, for all-pass g = 0 and the second term
    is gone, as UniDD's is. a and b are the means over the class of ‖f(Ψ)x‖² and ‖g(Ψ)x‖⁴, an image's own size: random
    images then lose as much by each term. Where β is far below the mean eigenvalue and images are few, Ψ_S is far from
    Ψ, and the second term says little of UniDD's.

    L is the distance of two means under a kernel, so that a greedy step and the change by any swap are exact and cheap.
    Images are added one by one, each the best next; then the best swap of a chosen image and another is made, until
    none lowers L. With all-pass and no swaps it is herding.

    Args:
        swaps: of a class, at most. Without any, the first images of a larger set are the smaller set.
    """

    swaps: Count = 1000

    acts_as: ClassVar[str] = "f, ridge unless told otherwise, on both sides the real Ψ's"

    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        x, real, of_spectrum = self.side(seen(teacher.model, data).features)
        signal = of_spectrum.response(real.eigenvalues)
        filter = of_spectrum.derivative(real.eigenvalues).abs().sqrt()

        def choice(own: Tensor, count: int) -> Tensor:
            found = x(own)
            of_class = Kernel(found * signal, found * filter)
            return own[swapped(of_class, greedy(of_class, count), self.swaps)]

        return choice


@dataclass(frozen=True)
class SpectralVolume(Spectral):
    """Spectral volume: images whose filtered features span the largest volume, each the best next one.

    The volume is det(K_S + εI) of the Gram matrix K = X f(Ψ) Xᵀ of a class; choosing greedily is the greedy mode of a
    determinantal point process with that kernel. Ridge makes all directions nearly as long, so that spread in rare ones
    counts. It goes for images unlike the others: of use where these are no mistakes. Where they are, it may choose
    among the images of a class that the teacher finds easiest: spread traded against typicality.

    Args:
        epsilon: ε on the diagonal of K, in units of its mean.
        easiest: share of a class's images that it chooses among, those of the teacher's smallest cross-entropy; 1 is
            all. As many as are chosen are always there.
    """

    epsilon: Positive = 1e-3
    easiest: Fraction = 1.0

    acts_as: ClassVar[str] = "f, ridge unless told otherwise: the gradient of log det(Ψ_S + βI) is the ridge filter"

    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        found = seen(teacher.model, data)
        x, real, of_spectrum = self.side(found.features)
        signal = of_spectrum.response(real.eigenvalues).sqrt()
        hardness = cross_entropy(found.logits, data.train.labels.cpu())

        def choice(own: Tensor, count: int) -> Tensor:
            if self.easiest < 1:
                own = own[hardness[own].argsort(stable=True)[: max(count, round(self.easiest * len(own)))]]
            return own[spread(x(own) * signal, self.epsilon, count)]

        return choice
