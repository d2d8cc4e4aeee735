"""Planners: a token budget becomes stages. To add one: its module, a line in `PLANNERS`."""

from collections.abc import Mapping
from typing import Any, Final

from mixwright.errors import InvalidInputError
from mixwright.options import build, schema
from mixwright.registry import Entry
from mixwright.schedules.anneal import Anneal
from mixwright.schedules.base import Budget, Schedule, Stage
from mixwright.schedules.continual import Continual
from mixwright.schedules.drop_stable_rampup import DropStableRampup
from mixwright.schedules.frames import Frames
from mixwright.schedules.planning import Documents, Planner, Problem
from mixwright.schedules.quality_curriculum import QualityCurriculum
from mixwright.schedules.regmix_d import RegmixD
from mixwright.schedules.static import Static
from mixwright.schedules.upsample_end import UpsampleEnd

__all__ = [
    "PLANNERS",
    "Budget",
    "Documents",
    "Planner",
    "Problem",
    "Schedule",
    "Stage",
    "build_planner",
    "describe",
    "planner_options",
]


PLANNERS: Final[Mapping[str, Entry[Planner]]] = {
    "static": Entry(
        Static,
        "One mixture throughout",
        "Standard; WSD as in MiniCPM (arXiv:2404.06395); UniMax (Chung et al., arXiv:2304.09151)",
        "recalled",
        (
            "a warm-up is read at a step's end, so that the first step moves",
            "UniMax shares out tokens of domains (the paper: characters of languages), and refuses "
            "a budget that every domain's cap together cannot meet",
        ),
    ),
    "upsample_end": Entry(
        UpsampleEnd,
        "More of small, valuable domains at the end",
        "Domain upsampling (Blakeney et al., arXiv:2406.03476), its abstract",
        "exact",
        (
            "the final mixture is tilted by utilities, which the paper set by hand",
            "without utilities, domains are evened out: in proportion to the root of their share",
        ),
    ),
    "anneal": Entry(
        Anneal,
        "The last part on better data while the learning rate falls to 0",
        "OLMo 2 (arXiv:2501.00656)",
        "secondary",
        (),
    ),
    "frames": Entry(
        Frames,
        "Four stages by perplexity and by what a larger model gains",
        "FRAMES (Zhang et al., arXiv:2502.05551)",
        "interpretation",
        (
            "the formula of the difference, thresholds and the order of stages are recalled",
            "the median of the difference is taken within each half, so that stages are equal",
        ),
    ),
    "drop_stable_rampup": Entry(
        DropStableRampup,
        "A smaller batch at the turn to good data, a larger one at the end",
        "Drop-Stable-Rampup (Zhu et al., arXiv:2605.25698)",
        "interpretation",
        (
            "the numbers of the three phases are ours; what they lose against the optimum of a "
            "scaling law of ours is reported",
            "the batch does not drop where noise scales say that noise does not limit",
        ),
    ),
    "quality_curriculum": Entry(
        QualityCurriculum,
        "Ascending quality, and a rate that does not waste the best",
        "Luo et al., arXiv:2511.18903, its abstract",
        "exact",
        ("quality ascends in buckets, at random within one",),
    ),
    "regmix_d": Entry(
        RegmixD,
        "A mixture for every stage, from regressions on the loss curves of proxy runs",
        "RegMix-D (Zhao et al., arXiv:2606.18663), its abstract",
        "interpretation",
        (
            "a loss at a stage is read from a run's curve, linearly in the logarithm of tokens",
            "all stages are fitted together by default, by components over them",
            "Gaussian processes by default, on roots of shares; the paper has LightGBM",
            "the mixture of each stage keeps the study's constraints by itself",
        ),
    ),
    "continual": Entry(
        Continual,
        "As much new data as old abilities bear, the rest replay",
        "CMR scaling law (Gu et al., arXiv:2407.17467)",
        "secondary",
        (
            "the loss of a share is read from its curve, not from a fit of it",
            "the critical share is read between the shares that were run, linearly",
        ),
    ),
}


def build_planner(name: str, options: Mapping[str, Any]) -> Planner:
    """Return the planner of this name with its options.

    Raises:
        InvalidInputError: an unknown planner, or an option that is unknown or out of range.
    """
    return build(_entry(name).recipe, options, f"planner '{name}'")


def planner_options(name: str) -> dict[str, Any]:
    """Return the JSON schema of a planner's options."""
    return schema(_entry(name).recipe)


def describe() -> list[dict[str, Any]]:
    """Return every planner's name, title, options, source, evidence grade and departures."""
    return [entry.describe(name, "planner") for name, entry in PLANNERS.items()]


def _entry(name: str) -> Entry[Planner]:
    if name not in PLANNERS:
        raise InvalidInputError(
            f"planner is '{name}'; it must be one of {', '.join(PLANNERS)}", field="planner"
        )
    return PLANNERS[name]
