"""Made-up tables of runs with a planted law, known correlations, noises and costs.

The law is a sum over domains of `importance * exp(-rate * share ** power)`, which is what the
mixing laws of the field look like; importances are sparse, so that some worlds hang on one domain,
as the loss on one kind of text does, and others on many, as a mean of losses does. At a cheaper
fidelity it is blended with another law of the same kind, so that the two correlate as planted.
"""

from dataclasses import dataclass

import numpy as np

_REFERENCE = 4_000  # mixtures that blends and noises are measured on


@dataclass(frozen=True)
class Family:
    """Worlds alike; per fidelity, cheapest first and the target last.

    `noise` is the standard deviation of a run in units of the spread of its law over mixtures.
    """

    domains: int
    costs: tuple[float, ...]
    correlations: tuple[float, ...]
    noise: tuple[float, ...]
    runs: tuple[int, ...]
    budget: float
    shares_mixtures: bool = False


FAMILIES = {
    "cheap and faithful": Family(
        17, (0.001, 0.06, 1), (0.97, 0.99, 1), (0.1,) * 3, (512, 256, 48), 5
    ),
    "a tenth, fair": Family(12, (0.1, 1), (0.8, 1), (0.2, 0.2), (256, 64), 10),
    "a fifth, poor": Family(
        19, (0.18, 0.48, 1), (0.45, 0.55, 1), (0.7, 0.7, 0.7), (128,) * 3, 20, shares_mixtures=True
    ),
}


def draw(family, seed):
    """Return mixtures (n, k), fidelity (n,), values (n,) and noiseless target values (n,)."""
    rng = np.random.default_rng((20_261_121, seed))
    prior = rng.dirichlet(np.full(family.domains, 2.0))
    laws = [_law(rng, prior, family.domains) for _ in family.costs]
    shared = _mixtures(rng, prior, max(family.runs))
    reference = _mixtures(rng, prior, _REFERENCE)
    mixtures, fidelity, values = [], [], []
    for index, count in enumerate(family.runs):
        own = shared[:count] if family.shares_mixtures else _mixtures(rng, prior, count)
        law = _blend(laws[-1], laws[index], family.correlations[index], reference)
        mixtures.append(own)
        fidelity.append(np.full(count, index))
        values.append(law(own) + family.noise[index] * rng.standard_normal(count) + 3.0 * index)
    stacked = np.vstack(mixtures)
    truth = _standard(laws[-1], reference)(stacked)
    return stacked, np.concatenate(fidelity), np.concatenate(values), truth


def _mixtures(rng, prior, count):
    """Draw as RegMix does: Dirichlet around the prior, concentrations over two decades."""
    strength = np.exp(rng.uniform(np.log(0.1), np.log(5.0), count))
    drawn = rng.gamma(np.maximum(strength[:, None] * len(prior) * prior, 1e-2))
    drawn = np.maximum(drawn, 1e-12)
    return drawn / drawn.sum(axis=1, keepdims=True)


def _law(rng, prior, domains):
    importance = rng.dirichlet(np.full(domains, 0.25))
    rates = np.exp(rng.normal(1.0, 0.5, domains)) / np.sqrt(prior)
    power = rng.uniform(0.3, 0.8)
    harm = 0.3 * rng.dirichlet(np.full(domains, 0.5))

    def law(mixtures):
        return np.exp(-rates * mixtures**power) @ importance + mixtures @ harm

    return law


def _standard(law, reference):
    seen = law(reference)
    return lambda mixtures: (law(mixtures) - seen.mean()) / seen.std()


def _blend(target, other, correlation, reference):
    """Return a law that correlates with the target's as asked: the other's common part goes out."""
    one, two = _standard(target, reference), _standard(other, reference)
    common = float(np.mean(one(reference) * two(reference)))
    if correlation == 1 or target is other:
        return one

    def rest(mixtures):
        return (two(mixtures) - common * one(mixtures)) / np.sqrt(1 - common**2)

    return lambda mixtures: (
        correlation * one(mixtures) + np.sqrt(1 - correlation**2) * rest(mixtures)
    )
