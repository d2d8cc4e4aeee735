"""The table and the words of the measurement on tiny language models."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from benchmarks.tables import Section, machine, versions

EVEN, BEST = "even", "best of fixed mixtures"
LARGEST_LOSS = 0.005  # nats on a set, that what we advise may be worse than even weights by


@dataclass(frozen=True)
class Difference:
    """Nats against even weights: mean over seeds and half of its 95 % interval."""

    mean: float
    half: float

    @classmethod
    def of(cls, values):
        """From the differences of paired seeds (n,)."""
        half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        return cls(float(values.mean()), float(half))

    @property
    def is_better(self):
        return self.mean + self.half < 0

    @property
    def is_worse(self):
        return self.mean - self.half > 0

    def __str__(self):
        text = f"{self.mean:+.4f} ± {self.half:.4f}"
        return f"**{text}**" if self.is_better else f"{text} ▲" if self.is_worse else text


@dataclass(frozen=True)
class Outcomes:
    """What was measured: cells by (entry, set), of every entry on every set."""

    cells: dict
    sets: tuple[str, ...]

    @property
    def entries(self):
        """All but even weights, as they were measured."""
        return [entry for entry in dict.fromkeys(e for e, _ in self.cells) if entry != EVEN]

    def by_seed(self, entry, name):
        """Differences from even weights on a set, by seed."""
        finals = (np.array(self.cells[one, name]["finals"]) for one in (entry, EVEN))
        return np.subtract(*finals)

    def on(self, entry, name):
        return Difference.of(self.by_seed(entry, name))

    def overall(self, entry):
        """The mean of the sets' means; the interval is over seeds."""
        return Difference.of(np.mean([self.by_seed(entry, name) for name in self.sets], 0))

    def worst(self, entry):
        """The largest mean difference on a set."""
        return max(self.on(entry, name).mean for name in self.sets)

    def range_of(self, entry, part):
        """Percent of a training over sets."""
        values = [100 * self.cells[entry, name][part] for name in self.sets]
        low, high = (f"{v:.0f}" for v in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"


def rows(outcomes):
    found = []
    for entry in outcomes.entries:
        spent = ["", "", ""]
        if entry not in ("natural", BEST):
            beforehand = [outcomes.cells[entry, name]["beforehand"] for name in outcomes.sets]
            low, high = (f"{v:.2g}" for v in (min(beforehand), max(beforehand)))
            spent = [outcomes.range_of(entry, part) for part in ("steps", "seconds")]
            spent += ["" if high == "0" else low if low == high else f"{low} to {high}"]
        cells = [outcomes.on(entry, name) for name in outcomes.sets]
        found.append([entry, outcomes.overall(entry), *cells, *spent])
    return found


def verdict(outcomes):
    """Who beat even weights, who did not, and whose losses are small; a sentence for each."""
    methods = [entry for entry in outcomes.entries if entry not in ("natural", BEST)]
    overall = {entry: outcomes.overall(entry) for entry in methods}
    safe = [entry for entry in methods if outcomes.worst(entry) <= LARGEST_LOSS]
    groups = {
        "Better than even weights over all sets, clear of zero": [
            e for e in methods if overall[e].is_better
        ],
        "Not told apart from even weights over all sets": [
            e for e in methods if not (overall[e].is_better or overall[e].is_worse)
        ],
        "Worse, clear of zero": [e for e in methods if overall[e].is_worse],
        f"On no set worse than even weights by more than {LARGEST_LOSS} nats in the mean": safe,
    }
    return " ".join(f"{words}: {'; '.join(some) or 'none'}." for words, some in groups.items())


def main_section(outcomes, words):
    header = ["", "all sets", *outcomes.sets, "extra steps, %", "extra seconds, %", "beforehand"]
    picture = (
        "![Difference from even weights by method and set, with 95 % intervals]"
        "(/docs/images/online_real.svg)"
    )
    count = len(outcomes.entries) * (len(outcomes.sets) + 1)
    chance = f"Of {count} intervals about {round(0.05 * count)} are clear of zero by chance alone."
    notes = (
        f"{verdict(outcomes)} {chance}\n\n{picture}\n\n{machine()}; {versions('torch', 'numpy')}."
    )
    return Section("Reweighters on tiny language models", words, header, rows(outcomes), notes)


def transfer_section(found):
    """Cosines of gradients beside what training on a domain does for the first one."""
    cosines, falls = np.array(found["cosines"]), np.array(found["falls"])
    lines = []
    for at, name in enumerate(found["names"]):
        half = [Difference.of(part[:, at]) for part in (cosines, falls)]
        lines.append([name, *(f"{one.mean:.3f} ± {one.half:.3f}" for one in half)])
    agreed = int(np.sum(np.sign(cosines) == np.sign(falls)))
    words = (
        "The set `sharing`, half way through a training at even weights: the cosine between the "
        "gradients of each domain and of `base`, on windows that differ, and how much a twentieth "
        "of a training on that domain alone then takes off the loss of `base`, in nats. Means over "
        "seeds with 95 % intervals. Chains that share all transitions help, those that share half "
        f"or none hurt; in {agreed} of {cosines.size} pairs of a seed and a domain the cosine has "
        "the sign of what then happens."
    )
    header = ["", "cosine with `base`", "fall of the loss of `base`"]
    return Section("Alignment and transfer on chains", words, header, lines)
