"""The same posterior as a BoTorch model, so that BoTorch's acquisitions and optimisers act on it.

A point is a mixture and, last, the index of a fidelity: `(..., k + 1)`. BoTorch maximises, so the
model's outcome is minus ours. Hyperparameters are ours and fixed. Fantasies, conditioning on new
runs and gradients by the mixture are BoTorch's own.
"""

import numpy as np
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import Kernel
from gpytorch.means import Mean
from gpytorch.settings import min_fixed_noise
from torch import Tensor

from mixwright.bayesopt.kernel import SAME, prior_slope, unlikeness
from mixwright.bayesopt.model import Posterior
from mixwright.errors import InvalidInputError

_TINY = 1e-12  # below which a distance has no gradient


class MixtureKernel(Kernel):  # type: ignore[misc]  # gpytorch has no types
    """`mixwright.bayesopt.kernel`, in torch.

    Args:
        posterior: gives hyperparameters and structure.
    """

    has_lengthscale = False

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        hyper = posterior.hyperparameters
        scale = posterior.unit**2
        self.linear = hyper.linear
        self.register_buffer("centre", torch.from_numpy(hyper.centre))
        self.register_buffer("lengths", torch.from_numpy(hyper.lengths))
        self.register_buffer("signal", scale * torch.from_numpy(hyper.signal))
        self.register_buffer("means", scale * torch.from_numpy(posterior.structure.means))
        own = scale * hyper.roughness * hyper.noises
        self.register_buffer("own", torch.from_numpy(own))

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: object) -> Tensor:
        """Return covariances `(..., n, q)`, or `(..., n)` of pairs if `diag`."""
        one, other = self._scaled(x1), self._scaled(x2)
        if not diag:
            one, other = one.unsqueeze(-2), other.unsqueeze(-3)
        squared = (one - other).square().sum(-1)
        distances = (5.0 * squared + _TINY).sqrt()
        matern = (1.0 + distances + distances.square() / 3.0) * torch.exp(-distances)
        over = matern + self.linear * (one * other).sum(-1)
        left, right = x1[..., -1].long(), x2[..., -1].long()
        if not diag:
            left, right = left.unsqueeze(-1), right.unsqueeze(-2)
        covariance: Tensor = self.signal[left, right] * over + self.means[left, right]
        is_one = self._are_same(x1, x2, diag) & (left == right)
        own: Tensor = is_one * self.own[left]
        return covariance + own

    @staticmethod
    def _are_same(x1: Tensor, x2: Tensor, diag: bool) -> Tensor:
        one, other = (x[..., :-1].clamp_min(0.0).sqrt() for x in (x1, x2))
        if not diag:
            one, other = one.unsqueeze(-2), other.unsqueeze(-3)
        same: Tensor = (one - other).square().sum(-1) < SAME
        return same

    def _scaled(self, x: Tensor) -> Tensor:
        rooted = x[..., :-1].clamp_min(_TINY).sqrt()
        scaled: Tensor = (rooted - self.centre) / self.lengths
        return scaled


class PriorMean(Mean):  # type: ignore[misc]
    """The constant of each fidelity, whose uncertainty is in the kernel, and a slope in √w.

    Args:
        posterior: gives both.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        hyper = posterior.hyperparameters
        self.register_buffer("locations", -torch.from_numpy(posterior.location))
        loadings = -posterior.unit * hyper.loadings(posterior.target)
        self.register_buffer("loadings", torch.from_numpy(loadings))
        self.register_buffer("slope", torch.from_numpy(prior_slope(hyper)))
        self.level = float(unlikeness(hyper.centre, np.zeros((1, len(hyper.centre))))[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return means `(..., n)`."""
        rooted = x[..., :-1].clamp_min(_TINY).sqrt()
        fidelity = x[..., -1].long()
        unlike = self.level + rooted @ self.slope
        means: Tensor = self.locations[fidelity] + self.loadings[fidelity] * unlike
        return means


def to_botorch(posterior: Posterior) -> SingleTaskGP:
    """Return the model whose posterior is minus ours, on the same runs.

    Points of one run's loss curve are taken to be independent.

    Raises:
        InvalidInputError: the posterior stands for more runs than it holds.
    """
    runs = posterior.observations
    if len(posterior.ran) != len(runs.values):
        raise InvalidInputError("a posterior that is an approximation has no BoTorch model")
    fidelity = torch.from_numpy(runs.fidelity).double().unsqueeze(-1)
    noise = posterior.noise(runs.fidelity) * runs.noisiness
    with min_fixed_noise(double_value=0.0):  # by default all noise is at least 1e-6
        model = SingleTaskGP(
            torch.cat([torch.from_numpy(runs.mixtures), fidelity], dim=-1),
            -torch.from_numpy(runs.values).unsqueeze(-1),
            train_Yvar=torch.from_numpy(noise).unsqueeze(-1),
            covar_module=MixtureKernel(posterior),
            mean_module=PriorMean(posterior),
            outcome_transform=None,
        )
    return model.eval()
