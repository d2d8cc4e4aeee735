"""Imports the proxy runs of RegMix: the folder `data/` of github.com/sail-sg/regmix.

`{train,test}_mixture_{1m,60m,1B}.csv` holds the weights and `{train,test}_pile_loss_{...}.csv` the
losses of the same runs, joined by their column `index`. Own runs made with RegMix's scripts have
the same shape and are read too.

Source: Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training", ICLR 2025,
arXiv:2407.01492 (sizes and token counts of the runs [S]); the prior from
`model_training/token_prior.yaml` of the repository [X].
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.importers.base import ImportTable, Notes
from mixwright.importers.joining import (
    JoinedRun,
    RunColumns,
    join_runs,
    note_replicates,
    note_sums,
    observed_metrics,
)
from mixwright.importers.reading import Sheet, read_sheet

PILE_PRIOR = {
    "arxiv": 0.113285273,
    "freelaw": 0.079608651,
    "nih_exporter": 0.003913491,
    "pubmed_central": 0.185375901,
    "wikipedia_en": 0.051081359,
    "dm_mathematics": 0.015962925,
    "github": 0.101750772,
    "philpapers": 0.003707518,
    "stackexchange": 0.066529351,
    "enron_emails": 0.001750772,
    "gutenberg_pg_19": 0.027085479,
    "pile_cc": 0.236869207,
    "ubuntu_irc": 0.01184346,
    "europarl": 0.007929969,
    "hackernews": 0.008032956,
    "pubmed_abstracts": 0.038825953,
    "uspto_backgrounds": 0.046446962,
}
"""Token shares of the 17 domains, as RegMix publishes them (they sum to 1 within 1e-8)."""

ID_COLUMN = "index"

_MIXTURE_FILE = re.compile(r"(?P<split>\w+?)_mixture_(?P<scale>\w+)\.csv")
_DOMAIN_COLUMN = re.compile(r"train_(?:the_pile_)?(?P<domain>.+)")
_LOSS_COLUMN = re.compile(r"metric/(?:the_pile_)?(?P<domain>.+)_val_loss")


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of a proxy model and the tokens it saw."""

    parameters: float
    tokens: float

    @property
    def flops(self) -> float:
        """Training operations, counted as 6 x parameters x tokens."""
        return 6 * self.parameters * self.tokens


SCALES = {"1m": Scale(1e6, 1e9), "60m": Scale(6e7, 1e9), "1b": Scale(1e9, 2.5e10)}
"""The published scales, smallest first."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The runs of one split at one scale."""

    split: str
    scale: str
    domains: tuple[str, ...]
    metrics: tuple[str, ...]
    runs: list[JoinedRun]


def import_regmix(folder: Path, study: str) -> ImportTable:
    """Read every pair of files in a RegMix `data/` folder.

    The largest scale found becomes the target fidelity, and the cost of a run is its share of
    that scale's training operations.

    Args:
        folder: holds at least one `*_mixture_*.csv` with its `*_pile_loss_*.csv`.
        study: name of the study to draft.

    Raises:
        InvalidInputError: there is no such folder or pair, a file cannot be read or has no
            `index` column, or two files disagree on the domains.
    """
    notes = Notes()
    parts = [_read_part(*pair, notes) for pair in _file_pairs(folder, notes)]
    if not parts:
        raise InvalidInputError(
            f"{folder} holds no pair of files such as train_mixture_1m.csv and "
            "train_pile_loss_1m.csv; name the folder `data/` of a sail-sg/regmix checkout",
            "folder",
        )
    domains = _common_domains(parts)
    scales = [scale for scale in SCALES if any(part.scale == scale for part in parts)]
    runs = [_run_body(part, run, scales) for part in parts for run in part.runs]
    note_replicates(runs, notes)
    note_sums(notes)
    return notes.table(_study_body(study, domains, scales, parts, notes), runs)


def _file_pairs(folder: Path, notes: Notes) -> list[tuple[str, str, Path, Path]]:
    """Return (split, scale, weights file, losses file), smallest scale first."""
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder", "folder")
    pairs = []
    for path in sorted(folder.glob("*_mixture_*.csv")):
        match = _MIXTURE_FILE.fullmatch(path.name)
        if not match:
            continue
        split, scale = match["split"], match["scale"]
        losses = folder / f"{split}_pile_loss_{scale}.csv"
        if scale.lower() not in SCALES:
            known = ", ".join(SCALES)
            notes.warning(
                f"scale {scale!r} is not known", f"rename it to one of {known}", path.name
            )
        elif not losses.exists():
            notes.warning(
                f"{losses.name} is not there", "add it; without it no run can be read", path.name
            )
        else:
            pairs.append((split, scale.lower(), path, losses))
    # training runs before held-out ones, small scales before large ones
    order = list(SCALES)
    return sorted(pairs, key=lambda pair: (order.index(pair[1]), pair[0] != "train", pair[0]))


def _read_part(split: str, scale: str, mixtures: Path, losses: Path, notes: Notes) -> _Part:
    weights, metrics = read_sheet(mixtures, notes), read_sheet(losses, notes)
    for sheet in (weights, metrics):
        if ID_COLUMN not in sheet.columns:
            raise InvalidInputError(
                f"{sheet.file} has no column {ID_COLUMN!r}, which names the run", "folder"
            )
    columns = RunColumns(
        id=ID_COLUMN,
        weights=_named(weights, _DOMAIN_COLUMN, "{}", notes),
        metrics=_named(metrics, _LOSS_COLUMN, "loss/{}", notes),
    )
    runs = join_runs(weights, metrics, columns, notes)
    return _Part(
        split, scale, tuple(columns.weights.values()), tuple(columns.metrics.values()), runs
    )


def _named(sheet: Sheet, pattern: re.Pattern[str], name: str, notes: Notes) -> dict[str, str]:
    """Return the name of each column that matches; the others are dropped."""
    named = {}
    for column in sheet.columns:
        if match := pattern.fullmatch(column):
            named[column] = name.format(match["domain"])
    if not named:
        raise InvalidInputError(f"{sheet.file} has no column like {pattern.pattern!r}", "folder")
    dropped = [column for column in sheet.columns if column not in named and column != ID_COLUMN]
    notes.drop_columns(sheet.file, dropped, "not a RegMix column")
    return named


def _common_domains(parts: Sequence[_Part]) -> tuple[str, ...]:
    first = parts[0]
    for part in parts[1:]:
        differing = sorted(set(part.domains) ^ set(first.domains))
        if differing:
            raise InvalidInputError(
                f"the {part.split} files at {part.scale} and the {first.split} files at "
                f"{first.scale} differ in the domains {', '.join(differing)}; "
                "a study has one set of domains",
                "folder",
            )
    return first.domains


def _run_body(part: _Part, run: JoinedRun, scales: Sequence[str]) -> dict[str, Any]:
    number = run.id.zfill(4)
    return {
        "external_id": f"regmix-{part.split}-{part.scale}-{number}",
        "fidelity": part.scale,
        "weights": run.weights,
        "metrics": run.metrics,
        "cost": _relative_cost(part.scale, scales),
        "metadata": {"split": part.split, "index": run.id},
    }


def _relative_cost(scale: str, scales: Sequence[str]) -> float:
    return SCALES[scale].flops / SCALES[scales[-1]].flops


def _study_body(
    name: str,
    domains: Sequence[str],
    scales: Sequence[str],
    parts: Sequence[_Part],
    notes: Notes,
) -> dict[str, Any]:
    runs = [run for part in parts for run in part.runs]
    metrics = observed_metrics(runs, (metric for part in parts for metric in part.metrics))
    return {
        "name": name,
        "domains": _domain_bodies(domains, notes),
        "metrics": [{"name": metric, "direction": "minimize"} for metric in metrics],
        "fidelities": [
            {
                "name": scale,
                "cost": _relative_cost(scale, scales),
                "parameters": SCALES[scale].parameters,
                "tokens": SCALES[scale].tokens,
            }
            for scale in scales
        ],
        "target_fidelity": scales[-1],
    }


def _domain_bodies(domains: Sequence[str], notes: Notes) -> list[dict[str, Any]]:
    if set(domains) != set(PILE_PRIOR):
        notes.info("the domains are not RegMix's 17: without a prior, the study's is uniform")
        return [{"name": domain} for domain in domains]
    total = sum(PILE_PRIOR.values())
    notes.info("the prior is the token share that RegMix publishes for its 17 domains")
    return [{"name": domain, "prior": PILE_PRIOR[domain] / total} for domain in domains]
