"""Reweighters: weights that follow a training. To add one: its module, a line in `REWEIGHTERS`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from mixwright.errors import InvalidInputError
from mixwright.options import build
from mixwright.registry import Entry
from mixwright.reweighting.aioli import Aioli
from mixwright.reweighting.base import Reweighter
from mixwright.reweighting.dga import DGA
from mixwright.reweighting.doge import DoGE
from mixwright.reweighting.doremi import DoReMi
from mixwright.reweighting.lfr import LFR
from mixwright.reweighting.loss_reweighting import LossReweighting
from mixwright.reweighting.mates import MATES
from mixwright.reweighting.mixing_agent import MixingAgent
from mixwright.reweighting.odm import ODM
from mixwright.reweighting.pike import PiKE
from mixwright.reweighting.regmix_d import RegMixD
from mixwright.reweighting.shearing import Shearing
from mixwright.reweighting.skill_it import SkillIt
from mixwright.reweighting.static import Static
from mixwright.reweighting.tikmix_d import TiKMiXD
from mixwright.reweighting.tikmix_m import TiKMiXM

REWEIGHTERS: Final[Mapping[str, Entry[Reweighter]]] = {
    "static": Entry(Static, "The weights that were given, kept", "Mixwright's own", "exact", ()),
    "doremi": Entry(
        DoReMi,
        "More of the domains whose loss exceeds a reference model's by most",
        "DoReMi (Xie et al., arXiv:2305.10429) and its code",
        "exact",
        (
            "stored scores start at 0, not at ln(vocabulary); the initial weights are not part of "
            "the mean",
            "the score of a domain that stays away is reused for 100 updates, then it is 0",
        ),
    ),
    "doge": Entry(
        DoGE,
        "More of the domains whose gradient points where the target's loss falls",
        "DoGE (Fan et al., arXiv:2310.15393) and its code",
        "exact",
        (
            "a domain that was not in the batch scores 0; the code reuses an older gradient",
            "where domains are their own targets, products with themselves are left out; the "
            "released code counts them, though it means not to",
        ),
    ),
    "dga": Entry(
        DGA,
        "More of the domains whose gradient points along that of a target, smoothed",
        "Dynamic Gradient Alignment (Grangier et al., arXiv:2410.02498)",
        "secondary",
        (
            "the defaults are ours; a step size that is not given is one over the median size of "
            "the first alignments",
            "the sign follows the derivation: domains that are aligned gain",
            "how `basis` works in detail is our interpretation: alignments of distributions are "
            "mixed from those of domains",
        ),
    ),
    "shearing": Entry(
        Shearing,
        "More of the domains that are far above a target loss",
        "Sheared LLaMA (Xia et al., arXiv:2310.06694), dynamic batch loading, and its code",
        "exact",
        ("a domain without a loss scores as if it were at its target",),
    ),
    "pike": Entry(
        PiKE,
        "More of the domains with large gradients, fewer of those with noisy ones",
        "PiKE (Li et al., arXiv:2502.06244), Algorithm 1",
        "exact",
        (
            "the scales of reward and penalty were not found: where they are not given they follow "
            "from the first update",
            "with a `temperature`, how losses scale norms and variances is our interpretation",
            "every domain has a sample in a batch",
            "the score of a domain that stays away is reused for 10 updates, then it is 0",
        ),
    ),
    "skill_it": Entry(
        SkillIt,
        "More of the skills whose training lowers the losses that are still high",
        "Skill-It (Chen et al., arXiv:2307.14430) and its code",
        "exact",
        (
            "initial weights multiply what comes out; uniform ones give the paper's",
            "a loss that is missing is the domain's last one",
            "a domain that the graph lacks has the mean of its row or column",
        ),
    ),
    "odm": Entry(
        ODM,
        "More of the domains whose training loss is high, found by a bandit",
        "ODM (Albalak et al., arXiv:2312.02406) and its code",
        "exact",
        (
            "rewards are divided by the weights that produced the batch where they are known",
            "a weight counts as 1e-6 at least; a reward of a domain without weight is left out",
        ),
    ),
    "aioli": Entry(
        Aioli,
        "More of the domains that were just measured to lower all losses most",
        "Aioli (Chen et al., arXiv:2411.05735) and its code",
        "exact",
        (
            "probes are part of a round's steps, as in the paper; the code takes steps from "
            "samples",
            "effects that are all equal count as uniform, where the code divides by zero",
            "ema is the share of the new round, one minus the code's",
        ),
    ),
    "loss_reweighting": Entry(
        LossReweighting,
        "Samples of low loss count less in the batch, weighed in the trainer",
        "Dynamic loss-based sample reweighting (Sow et al., arXiv:2502.06733) and its code",
        "exact",
        (
            "losses that are not finite get no weight",
            "uniform is uniform",
            "the linear decay of the temperature, off by default, is our interpretation",
        ),
    ),
    "tikmix_d": Entry(
        TiKMiXD,
        "The mixture with the largest influence on tasks, without loss to any of them",
        "TiKMiX-D (arXiv:2508.17677), from the paper's text",
        "exact",
        (
            "the deviation of gains is over tasks as a population",
            "the optimiser starts from the prior as well as from uniform weights",
            "tasks that no domain helps are left out and named",
        ),
    ),
    "tikmix_m": Entry(
        TiKMiXM,
        "TiKMiX-D, then a search by boosted trees on measured mixtures",
        "TiKMiX-M (arXiv:2508.17677), from the paper's text",
        "exact",
        (
            "the search narrows from round to round; the paper's formula widens it (paper_order)",
            "how many mixtures are drawn and kept, the range of concentrations and the trees' "
            "settings are ours",
            "TiKMiX-D's weights where fewer than 30 mixtures were measured or all are worth the "
            "same",
        ),
    ),
    "mates": Entry(
        MATES,
        "Blocks predicted to lower a reference task's loss most",
        "MATES (Yu et al., arXiv:2406.06046) and its code",
        "exact",
        (
            "draws in proportion to exp(-label / temperature); the code's draw is reference_code",
            "the influence model is the trainer's, or a ridge regression (our interpretation)",
            "blocks without a prediction count as average; the draw is uniform where predictions "
            "do not rank blocks that were held out, or fewer than 30 were measured",
        ),
    ),
    "lfr": Entry(
        LFR,
        "The hardest blocks again and again, all of them now and then",
        "LFR (Prakriya et al., arXiv:2409.06131): the abstract, and another's configuration",
        "secondary",
        (
            "how blocks are ranked, and reviews between later focuses, are our interpretation",
            "a phase lasts for as many losses as it keeps blocks",
        ),
    ),
    "regmix_d": Entry(
        RegMixD,
        "Mixtures for stages, of which losses say which one it is",
        "RegMix-D (Zhao et al., arXiv:2606.18663): the abstract",
        "interpretation",
        (
            "the stage is the one whose predicted losses are nearest to the smoothed ones that "
            "are observed, and never an earlier one: how the paper chooses was not found",
            "losses of stages are predicted for runs that have the stage's mixture throughout",
        ),
    ),
    "mixing_agent": Entry(
        MixingAgent,
        "Our own agent that learns from logged trainings which moves pay off",
        "our interpretation of the idea of Data Mixing Agent (arXiv:2507.15640), with the loss of "
        "conservative Q-learning (arXiv:2006.04779)",
        "interpretation",
        (
            "not the published method: its formulas were not found; features, the linear value "
            "function and its fit are ours",
            "no supervised warm start",
        ),
    ),
}


def build_reweighter(name: str, options: Mapping[str, Any]) -> Reweighter:
    """Return the reweighter `name` with `options`.

    Raises:
        InvalidInputError: no such reweighter, or an option it does not accept.
    """
    if name not in REWEIGHTERS:
        known = ", ".join(REWEIGHTERS)
        raise InvalidInputError(f"no reweighter '{name}'; known: {known}", field="algorithm")
    return build(REWEIGHTERS[name].recipe, options, f"reweighter '{name}'")


def describe() -> list[dict[str, Any]]:
    """Return every reweighter's name, options, source and departures, and what it must be sent."""
    return [
        {**entry.describe(name, "reweighter"), "requires": asdict(entry.recipe().requires)}
        for name, entry in REWEIGHTERS.items()
    ]


__all__ = ["REWEIGHTERS", "Reweighter", "ReweighterEntry", "build_reweighter", "describe"]
