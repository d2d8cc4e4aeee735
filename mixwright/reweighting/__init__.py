"""Reweighters: weights that follow a training. To add one: its module, a line in `REWEIGHTERS`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from mixwright.errors import InvalidInputError
from mixwright.options import build, schema
from mixwright.reweighting.base import Reweighter
from mixwright.reweighting.doremi import DoReMi
from mixwright.reweighting.lfr import LFR
from mixwright.reweighting.mates import MATES
from mixwright.reweighting.mixing_agent import MixingAgent
from mixwright.reweighting.static import Static
from mixwright.reweighting.tikmix_d import TiKMiXD
from mixwright.reweighting.tikmix_m import TiKMiXM


@dataclass(frozen=True, slots=True)
class ReweighterEntry:
    """A registered reweighter, and what a user is told of it.

    Attributes:
        recipe: the dataclass of its options.
        title: a few words.
        source: where the method comes from.
        evidence: exact, secondary, recalled, or interpretation (ours).
        departures: how ours differs from the source.
    """

    recipe: type[Reweighter]
    title: str
    source: str
    evidence: str
    departures: tuple[str, ...]


REWEIGHTERS: Final[Mapping[str, ReweighterEntry]] = {
    "static": ReweighterEntry(
        Static, "The weights that were given, kept", "Mixwright's own", "exact", ()
    ),
    "doremi": ReweighterEntry(
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
    "tikmix_d": ReweighterEntry(
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
    "tikmix_m": ReweighterEntry(
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
    "mates": ReweighterEntry(
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
    "lfr": ReweighterEntry(
        LFR,
        "The hardest blocks again and again, all of them now and then",
        "LFR (Prakriya et al., arXiv:2409.06131): the abstract, and another's configuration",
        "secondary",
        (
            "how blocks are ranked, and reviews between later focuses, are our interpretation",
            "a phase lasts for as many losses as it keeps blocks",
        ),
    ),
    "mixing_agent": ReweighterEntry(
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
        {
            "name": name,
            "kind": "reweighter",
            "title": entry.title,
            "options": schema(entry.recipe),
            "source": entry.source,
            "evidence": entry.evidence,
            "departures": list(entry.departures),
            "requires": asdict(entry.recipe().requires),
        }
        for name, entry in REWEIGHTERS.items()
    ]


__all__ = ["REWEIGHTERS", "Reweighter", "ReweighterEntry", "build_reweighter", "describe"]
