"""Surrogates: from a mixture to its metrics. To add one: its module, one line in `SURROGATES`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mixwright.errors import InvalidInputError
from mixwright.options import build, schema
from mixwright.surrogates.auto import Auto
from mixwright.surrogates.base import Differentiable, FittedSurrogate, Prediction, Surrogate
from mixwright.surrogates.ensemble import Ensemble, FittedEnsemble
from mixwright.surrogates.fidelity_posterior import FittedMultiFidelityGP
from mixwright.surrogates.gp import FittedGaussianProcess, GaussianProcess
from mixwright.surrogates.lightgbm import FittedLightGBM, LightGBM
from mixwright.surrogates.linear import FittedLinear, Linear
from mixwright.surrogates.log_linear import FittedLogLinear, LogLinear
from mixwright.surrogates.multi_fidelity_gp import MultiFidelityGP
from mixwright.surrogates.share_power import FittedSharePower, SharePower


@dataclass(frozen=True, slots=True)
class SurrogateEntry:
    """A registered surrogate, and what a user is told of it.

    Attributes:
        recipe: the dataclass of its options.
        fitted: what `recipe.fit` returns.
        title: a few words.
        source: where the method comes from.
        evidence: exact, secondary, recalled, or interpretation (ours).
        departures: how ours differs from the source.
    """

    recipe: type[Surrogate]
    fitted: type[FittedSurrogate]
    title: str
    source: str
    evidence: str
    departures: tuple[str, ...]


SURROGATES: Final[Mapping[str, SurrogateEntry]] = {
    "auto": SurrogateEntry(
        Auto,
        FittedEnsemble,
        "Chosen and blended by cross-validation inside the runs",
        "Mixwright's own",
        "interpretation",
        (),
    ),
    "linear": SurrogateEntry(
        Linear,
        FittedLinear,
        "Least squares on the shares",
        "RegMix (Liu et al., arXiv:2407.01492), its linear baseline",
        "exact",
        ("minimum-norm solution, because shares that sum to one make the intercept redundant",),
    ),
    "log_linear": SurrogateEntry(
        LogLinear,
        FittedLogLinear,
        "Log-linear mixing law exp(c) + exp(a · w)",
        "Data Mixing Laws (Ye et al., arXiv:2403.16952), in the form of the olmix package",
        "exact",
        (
            "least squares with an analytic Jacobian instead of a Huber loss and L-BFGS",
            "an offset where values are not all positive",
        ),
    ),
    "share_power": SurrogateEntry(
        SharePower,
        FittedSharePower,
        "Share power law floor + Σ (Σ w exp θ)^-b",
        "Mixwright's own; generalises BiMix (Ge et al., arXiv:2405.14908)",
        "interpretation",
        (),
    ),
    "gp": SurrogateEntry(
        GaussianProcess,
        FittedGaussianProcess,
        "Gaussian process with a length scale per domain",
        "Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006",
        "exact",
        (
            "a linear kernel beside the Matérn-5/2 one, which sees logarithms of shares",
            "hyperparameters are found on at most 256 of the runs and kept in cross-validation",
        ),
    ),
    "multi_fidelity_gp": SurrogateEntry(
        MultiFidelityGP,
        FittedMultiFidelityGP,
        "Gaussian process at the target, with runs of every fidelity as evidence",
        "Goovaerts, Geostatistics for Natural Resources Evaluation, 1997; Rasmussen and Williams, "
        "Gaussian Processes for Machine Learning, 2006",
        "interpretation",
        (
            "features of mixtures, priors, and how fidelities are related are ours",
            "hyperparameters are found on at most 256 of the runs and kept in cross-validation",
            "runs that the others make all but impossible have no weight",
        ),
    ),
    "lightgbm": SurrogateEntry(
        LightGBM,
        FittedLightGBM,
        "Gradient-boosted trees with RegMix's settings",
        "RegMix (Liu et al., arXiv:2407.01492)",
        "exact",
        ("stops early on runs set aside, not on the test set",),
    ),
    "ensemble": SurrogateEntry(
        Ensemble,
        FittedEnsemble,
        "Members weighted by cross-validated error",
        "Bates and Granger, The combination of forecasts, 1969",
        "secondary",
        (
            "weights fall with the square of the mean squared error",
            "members that cannot extrapolate fade beyond the runs",
        ),
    ),
}


def build_surrogate(name: str, options: Mapping[str, Any]) -> Surrogate:
    """Return the recipe `name` with `options`.

    Raises:
        InvalidInputError: no such surrogate, or an option it does not accept.
    """
    if name not in SURROGATES:
        known = ", ".join(SURROGATES)
        raise InvalidInputError(f"no surrogate '{name}'; known: {known}", field="surrogate")
    return build(SURROGATES[name].recipe, options, f"surrogate '{name}'")


def describe() -> list[dict[str, Any]]:
    """Return every surrogate's name, title, options, source, evidence grade and departures."""
    return [
        {
            "name": name,
            "kind": "surrogate",
            "title": entry.title,
            "options": schema(entry.recipe),
            "source": entry.source,
            "evidence": entry.evidence,
            "departures": list(entry.departures),
        }
        for name, entry in SURROGATES.items()
    ]


__all__ = [
    "SURROGATES",
    "Differentiable",
    "FittedSurrogate",
    "Prediction",
    "Surrogate",
    "SurrogateEntry",
    "build_surrogate",
    "describe",
]
