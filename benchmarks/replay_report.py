"""What is written about the replays: tables, and sentences that say who was better."""

from dataclasses import dataclass

import numpy as np

from benchmarks import replay_costs
from benchmarks.replay_measures import COVERAGE_AT, GIVES_UP, interval, mean_and_half
from benchmarks.replay_methods import ADMIRE_ASKS, METHODS
from benchmarks.replay_tables import HEADLINES, PILE_BUDGET, TARGET_POOL
from benchmarks.replay_words import ABOUT, METHODS_SAID, SPARSE_SAID, WORLDS_SAID
from benchmarks.tables import Section, machine, versions
from benchmarks.worlds import FAMILIES

BATCHES = "ours, batches of 8"
HEADER = (
    "method",
    "seeds",
    "cost to stay at the best",
    "cost to regret .1",
    "AURC",
    "AURC over log cost",
    "final regret",
    "target runs",
    "s an ask",
    "AURC, ours − it",
)


@dataclass(frozen=True)
class Entry:
    """A line of the tables: a method, and whether results are scored when handed in together."""

    label: str
    method: str
    is_together: bool = False

    def trace(self, one):
        return one.together if self.is_together else one.trace


def _entries():
    for method in METHODS:
        yield Entry(method, method, method == BATCHES)
        if method == BATCHES:
            yield Entry(f"{method}, scored one by one", method)


ENTRIES = tuple(_entries())
OURS = ENTRIES[0]


@dataclass(frozen=True)
class Results:
    """Replays by (method, table), then by seed."""

    found: dict

    def seeds(self, entry, names):
        """Those that the method was replayed with on all of the tables."""
        each = [set(self.found.get((entry.method, name), ())) for name in names]
        return sorted(set.intersection(*each))

    def values(self, entry, names, seeds, measure):
        """`measure(replay, trace)` as (tables, seeds)."""
        return np.array(
            [
                [measure(one[seed], entry.trace(one[seed])) for seed in seeds]
                for one in (self.found[entry.method, name] for name in names)
            ]
        )

    def aurc(self, entry, names, seeds):
        return self.values(entry, names, seeds, lambda _, trace: trace.aurc)

    def difference(self, entry, names):
        """Mean and half interval of AURC, ours less the entry's: over tables, or seeds of one."""
        seeds = self.seeds(entry, names)
        less = self.aurc(OURS, names, seeds) - self.aurc(entry, names, seeds)
        return mean_and_half(less.mean(axis=1) if len(names) > 1 else less[0])


def table(results, names, has_truth=False):
    """Rows of a table, one per method that was replayed on it."""
    rows = []
    for entry in ENTRIES:
        seeds = results.seeds(entry, names)
        if seeds:
            rows.append(_row(results, entry, names, seeds, has_truth))
    return rows


def _row(results, entry, names, seeds, has_truth):
    def mean_of(measure):
        return results.values(entry, names, seeds, measure).mean(axis=0)

    def costs_to(regret):
        reached = results.values(entry, names, seeds, lambda _, trace: trace.good_after(regret))
        return _median(reached.ravel(), results.found[entry.method, names[0]][seeds[0]])

    truth = [interval(mean_of(lambda one, _: one.true_final))] if has_truth else []
    versus = "" if entry is OURS else "{:.3f} ± {:.3f}".format(*results.difference(entry, names))
    return (
        entry.label,
        len(seeds),
        costs_to(0.0),
        costs_to(0.1),
        interval(mean_of(lambda _, trace: trace.aurc)),
        interval(mean_of(lambda _, trace: trace.log_aurc)),
        interval(mean_of(lambda one, _: one.final)),
        *truth,
        f"{mean_of(lambda one, _: one.targets).mean():.1f}",
        f"{mean_of(lambda one, _: one.seconds).mean():.4f}",
        versus,
    )


def _median(costs, one):
    """The median, and the share that was not there when the budget was spent."""
    median, never = float(np.median(costs)), float(np.mean(np.isinf(costs)))
    said = f"> {one.trace.budget:g}" if np.isinf(median) else f"{median:.3g}"
    return f"{said} ({never:.0%} never)" if never else said


def who_was_better(results, names):
    """Which methods had a lower AURC than ours, in a sentence."""
    lower, clear = [], []
    for entry in ENTRIES[1:]:
        if results.seeds(entry, names):
            mean, half = results.difference(entry, names)
            if mean > 0:
                lower.append(f"{entry.label} (by {mean:.3f} ± {half:.3f})")
                clear += [entry.label] if mean > half else []
    if not lower:
        return "No method here has a lower AURC than ours."
    zero = f"; the interval is clear of zero for {', '.join(clear)}" if clear else ""
    rest = zero or "; no interval is clear of zero"
    return f"**Lower AURC than ours, on the same seeds**: {', '.join(lower)}{rest}."


def pile_sections(results, outcomes, costs, seconds):
    """The protocol, the goals, and RegMix's tables."""
    stamp = f"Machine: {machine()}; {versions('numpy', 'scipy', 'lightgbm', 'botorch', 'torch')}. "
    parts = [
        Section(
            "Bayesian optimisation replayed on tables of runs",
            ABOUT,
            ("goal", "measured", "met"),
            _goals(results, outcomes, costs),
            f"{stamp}All of it took {seconds / 60:.0f} minutes in two processes on a machine that "
            "others used at the same time; times are processor seconds of one thread.\n\n"
            f"{METHODS_SAID}\n\n![Regret over cost on RegMix's tables, logarithmic cost]"
            "(/docs/images/replay_pile.svg)",
        )
    ]
    for name in HEADLINES:
        parts.append(
            Section(
                f"Replay of RegMix's runs: {name}",
                f"Three fidelities that cost .001, .06 and 1; {TARGET_POOL} target runs; a budget "
                f"of {PILE_BUDGET:g}. {who_was_better(results, [name])}",
                HEADER,
                table(results, [name]),
            )
        )
    parts.append(
        Section(
            f"Replay of RegMix's runs: all {len(outcomes)} outcomes",
            f"The {len(outcomes) - 1} losses and their mean. Medians are over outcomes and seeds; "
            "intervals over seeds, of means over outcomes; differences are means over seeds with "
            "the interval over outcomes, so that outcomes count and not their repetitions. "
            f"{who_was_better(results, outcomes)}",
            HEADER,
            table(results, outcomes),
            _by_outcome(results, outcomes),
        )
    )
    return [*parts, _admire(results), _coverage(results, outcomes)]


def _by_outcome(results, outcomes):
    seeds = results.seeds(OURS, outcomes)
    means = results.aurc(OURS, outcomes, seeds).mean(axis=1)
    ranked = sorted(zip(means, outcomes, strict=True), reverse=True)
    said = ", ".join(f"{name} {mean:.3f}" for mean, name in ranked)
    return f"AURC of ours by outcome: {said}."


def _goals(results, outcomes, costs):
    seeds = results.seeds(OURS, outcomes)
    rows = []
    for name in HEADLINES:
        reached = results.values(OURS, [name], seeds, lambda _, trace: trace.good_after(0.0))
        median = float(np.median(reached))
        rows.append((f"{name}: cost to stay at the best ≤ .30", f"{median:.2f}", median <= 0.30))
    aurc = results.aurc(OURS, outcomes, seeds).mean()
    rows.append((f"mean AURC of {len(outcomes)} outcomes ≤ .02", f"{aurc:.3f}", aurc <= 0.02))
    inside, count = _covered(results, outcomes)
    share = inside.sum() / count.sum()
    within = 0.90 <= share <= 0.98
    rows.append(("95 % intervals cover .90 to .98", f"{share:.3f}", within))
    asks = costs["asks", replay_costs.ASKS]
    is_fast = asks["others"]["most"] <= 0.05
    rows.append(("ask in a pool, n ≤ 200: ≤ .050 s", _asks_said(asks), is_fast))
    for title, names in {
        "RegMix's tables": outcomes,
        **{name: [name] for name in FAMILIES},
    }.items():
        rows.append(_batch_goal(results, title, names))
    return [(goal, measured, "yes" if met else "no") for goal, measured, met in rows]


def _batch_goal(results, title, names):
    """Compare batches: as results come together, and by their choices alone."""
    losses = []
    seeds = results.seeds(OURS, names)
    one_by_one = results.aurc(OURS, names, seeds).mean()
    for entry in ENTRIES:
        if entry.method == BATCHES:
            losses.append(results.aurc(entry, names, seeds).mean() / one_by_one - 1)
    together, choices = losses
    runs = results.values(OURS, names, seeds, lambda _, trace: len(trace.costs)).mean()
    said = (
        f"{together:+.0%}; {choices:+.0%} if results are scored one by one; one at a time, the "
        f"budget pays for {runs:.0f} runs on average"
    )
    return f"8 asked with 8 under way lose ≤ 15 % of AURC: {title}", said, together <= 0.15


def _asks_said(asks):
    """Seconds of asks, apart for those that search for hyperparameters."""
    others, searching = asks["others"], asks["searching"]
    return (
        f"median {others['median']:.3f} s and nine of ten within {others['most']:.3f} s; median "
        f"{searching['median']:.3f} s and at most {searching['max']:.3f} s in the "
        f"{searching['count']} of {replay_costs.ASKS} that search for hyperparameters"
    )


def _admire(results):
    """ADMIRE's recipe up to where it ended, and ours up to the same cost."""
    entry = next(entry for entry in ENTRIES if entry.method == GIVES_UP)
    rows = []
    for name in (*HEADLINES, *FAMILIES):
        seeds = results.seeds(entry, [name])
        theirs = [results.found[GIVES_UP, name][seed] for seed in seeds]
        own = [results.found["ours", name][seed] for seed in seeds]
        ends = [min(one.cost, one.trace.budget) for one in theirs]
        pairs = list(zip(theirs, own, ends, strict=True))
        rows.append(
            (
                name,
                ", ".join(f"{end:.3g}" for end in ends),
                f"{np.mean([one.trace.log_aurc_to(end) for one, _, end in pairs]):.3f}",
                f"{np.mean([one.trace.log_aurc_to(end) for _, one, end in pairs]):.3f}",
                f"{np.mean([one.final for one in theirs]):.3f}",
                f"{np.mean([one.trace.at(end) for _, one, end in pairs]):.3f}",
            )
        )
    return Section(
        "Replay: ADMIRE's recipe up to where it ended",
        f"It was given {ADMIRE_ASKS} asks, which on RegMix's tables is a fraction of a target run: "
        "over the whole budget its last regret counts for the rest, which says little. So here "
        "both are compared up to the cost at which it ended, on the same three seeds.",
        (
            "table",
            "cost at its end, by seed",
            "its mean regret over log cost",
            "ours",
            "its regret at its end",
            "ours",
        ),
        rows,
    )


def _covered(results, outcomes):
    seeds = results.seeds(OURS, outcomes)
    both = results.values(OURS, outcomes, seeds, lambda one, _: one.coverage)
    return both[..., 0], both[..., 1]


def _coverage(results, outcomes):
    inside, count = _covered(results, outcomes)
    by_outcome = inside.sum(axis=1) / count.sum(axis=1)
    order = by_outcome.argsort()
    rows = [(outcomes[i], f"{by_outcome[i]:.3f}", int(count[i].sum())) for i in order]
    mean, half = mean_and_half(by_outcome)
    return Section(
        f"Replay: coverage of predictive intervals after {COVERAGE_AT} runs",
        f"Ours, went on to {COVERAGE_AT} runs whatever they cost; nominal 95 % intervals, noise "
        "included, for the target runs that were not made. Over all, "
        f"{inside.sum() / count.sum():.3f} are inside; the mean over outcomes is {mean:.3f} ± "
        f"{half:.3f}. Goal: .90 to .98.",
        ("outcome", "share inside", "intervals"),
        rows,
    )


def world_sections(results, names):
    """The three families of made-up tables."""
    header = list(HEADER)
    header.insert(header.index("final regret") + 1, "final regret, truth")
    return [
        Section(
            f"Replay of made-up runs: {name}",
            f"{_of_family(FAMILIES[name])} {who_was_better(results, [name])} "
            f"{_truly_better(results, name)}",
            header,
            table(results, [name], has_truth=True),
            ""
            if index
            else f"{WORLDS_SAID}\n\n![Regret over cost on made-up tables, logarithmic "
            "cost](/docs/images/replay_worlds.svg)",
        )
        for index, name in enumerate(names)
    ]


def _of_family(family):
    costs = ", ".join(f"{cost:g}" for cost in family.costs)
    runs = ", ".join(map(str, family.runs))
    correlations = ", ".join(f"{one:g}" for one in family.correlations)
    noise = ", ".join(f"{one:g}" for one in family.noise)
    shared = " Fidelities share their mixtures." if family.shares_mixtures else ""
    return (
        f"{family.domains} domains; costs {costs}; runs {runs}; correlations with the target "
        f"{correlations}; noise {noise} of the law's spread; a budget of {family.budget:g}.{shared}"
    )


def _truly_better(results, name):
    """Which methods ended with less regret by the truth."""
    finals = {}
    for entry in ENTRIES:
        seeds = results.seeds(entry, [name])
        if seeds and entry.label != f"{BATCHES}, scored one by one":
            values = results.values(entry, [name], seeds, lambda one, _: one.true_final)
            finals[entry.label] = float(values.mean())
    own = finals.pop(OURS.label)
    lower = [f"{label} ({value:.3f})" for label, value in finals.items() if value < own]
    if not lower:
        return f"No method here ends with less regret by the truth than ours ({own:.3f})."
    return f"**Less final regret by the truth than ours** ({own:.3f}): {', '.join(lower)}."


def costs_sections(costs):
    """What learning costs."""
    rows = []
    for count in replay_costs.FIT_RUNS:
        cells = [_seconds(costs, kind, count) for kind in ("ours", "SingleTaskGP", "MultiTaskGP")]
        rows.append((count, *cells))
    asks, held = costs["asks", replay_costs.ASKS], costs["memory", replay_costs.HELD]
    many = costs["many", replay_costs.MANY]
    fits = Section(
        "Replay: what learning costs",
        "Processor seconds of a fit from scratch to runs of the family 'cheap and faithful', three "
        "fidelities. BoTorch's models have their defaults, shares and fidelity as inputs, and "
        f"`fit_gpytorch_mll`; what takes more than {replay_costs.LIMIT} s is ended.",
        ("runs", "`mixwright.bayesopt.model.fit`", "`SingleTaskGP`", "`MultiTaskGP`"),
        rows,
        f"An ask in a pool with up to {replay_costs.ASKS} runs (learning, suggesting and "
        f"recommending, in one process): {_asks_said(asks)}. A process that "
        f"learns from {replay_costs.HELD:,} runs and is asked once has a peak of "
        f"{held['peak']:.0f} MB, of which {held['imported']:.0f} MB are its imports; learning "
        f"takes {held['learn']:.1f} s and the ask {held['ask']:.2f} s.",
    )
    sparse = Section(
        "Replay: many runs",
        f"{many['runs']:,} runs of the same family, the posterior at 500 other mixtures at the "
        f"target. Exact: {many['exact']:.2f} s. {SPARSE_SAID}",
        (
            "inducing runs",
            "s",
            "mean's error, exact standard deviations: mean",
            "largest",
            "standard deviation against the exact one, median",
        ),
        [
            (count, f"{seconds:.2f}", f"{off:.3f}", f"{most:.3f}", f"{wider:.3f}")
            for count, seconds, off, most, wider in many["sparse"]
        ],
    )
    return [fits, sparse]


def _seconds(costs, kind, count):
    if (kind, count) not in costs:
        return "not run"
    one = costs[kind, count]
    return f"> {replay_costs.LIMIT}" if one is None else f"{one['seconds']:.2f}"
