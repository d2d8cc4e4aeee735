"""Applies a sampling function to shards: writes the chosen documents, a shard for a shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mixwright.quality.choosing import TALLIES, Sampler, tallies_by_name
from mixwright.quality.engines import Engine, Record, in_processes
from mixwright.quality.rewriting import Progress, rewrite_shards

_DOUBTFUL = 4  # standard deviations


@dataclass(slots=True)
class Applied:
    """What became of shards.

    Attributes:
        domains: `TALLIES` of each, over all shards but the broken ones.
        written: how many shards were written.
        found: how many were complete before.
        broken: why shards were left out.
        warnings: sentences about domains whose tokens are too far from those expected.
    """

    domains: dict[str, dict[str, float]]
    written: int = 0
    found: int = 0
    broken: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def apply_to_shards(
    sampler: Sampler,
    paths: Sequence[Path],
    out: Path,
    workers: int | None = None,
    skip_broken: bool = False,
    progress: Progress = lambda _size: None,
    engine: Engine = in_processes,
) -> Applied:
    """Write the chosen documents of every shard to a shard of the same name in `out`.

    Args and errors are those of `mixwright.quality.rewriting.rewrite_shards`.
    """
    done = rewrite_shards(
        sampler,
        paths,
        out,
        workers=workers,
        skip_broken=skip_broken,
        progress=progress,
        engine=engine,
    )
    domains = _sum(sampler, done.records)
    return Applied(domains, done.written, done.found, done.broken, [*_doubts(domains)])


def _doubts(domains: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for name, sums in domains.items():
        off, spread = sums["realised_tokens"] - sums["expected_tokens"], sums["variance"] ** 0.5
        if abs(off) > _DOUBTFUL * spread > 0:
            yield (
                f"the tokens of domain '{name}' are {abs(off) / spread:.1f} standard deviations "
                "from those expected: ids are not unique, or were chosen with this seed before"
            )


def _sum(sampler: Sampler, records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return the tallies of all records together, the same in any order of their writing."""
    names = sampler.function.domains
    total = np.zeros((len(names), len(TALLIES)))
    for record in records:
        total += [[record["domains"][name][tally] for tally in TALLIES] for name in names]
    return tallies_by_name(names, total)
