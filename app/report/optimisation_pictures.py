"""Pictures of what Bayesian optimisation thought after every result."""

from html import escape

from app.report.figures import (
    ACCENT,
    ACCENT_BAND,
    CONTRAST,
    MUTED,
    PALETTE,
    Panel,
    axis,
    picture,
)
from app.report.numbers import significant
from app.report.optimisation import Optimisation, front_metrics, front_of, is_maximised, largest
from app.report.optimisation_charts import (
    MOST_DOMAINS,
    MOST_ENTRIES,
    MOST_MARKED,
    MOST_STEPS,
    Chart,
    Line,
    Values,
    Words,
    by_fidelity,
    chart,
    dots,
    keys,
    number,
    over_spend,
    over_steps,
    told,
    trace,
    unit,
)
from mixwright.study import Study


def charts(study: Study, optimisation: Optimisation) -> list[Chart]:
    """Return the pictures there is something to draw for, in the reader's order."""
    found = [
        _regret(optimisation),
        _objective(optimisation),
        _gain(optimisation),
        _spent(optimisation),
        _correlation(study, optimisation),
        _noise(optimisation),
        _weights(optimisation),
        _front(study, optimisation),
    ]
    return [chart for chart in found if chart is not None]


def _regret(optimisation: Optimisation) -> Chart | None:
    steps = optimisation.some(MOST_STEPS)
    regrets = [(step["stopping"] or {}).get("regret", {}) for step in steps]
    lines = [
        Line("95 % bound", [number(one.get("upper")) for one in regrets], CONTRAST, "dash"),
        Line("expected", [number(one.get("mean")) for one in regrets], ACCENT),
    ]
    words = Words(
        "regret",
        "How far from the best",
        "Regret: by how much the recommended mixture is expected to miss the best one. While it "
        "falls, runs still pay.",
    )
    return chart(words, lines, over_spend(optimisation, steps), "regret")


def _objective(optimisation: Optimisation) -> Chart:
    import plotly.graph_objects as go

    steps = optimisation.some(MOST_STEPS)
    mean, lower, upper = (
        [float(step["recommendation"]["objective"][end]) for step in steps]
        for end in ("mean", "lower", "upper")
    )
    across = over_spend(optimisation, steps)
    line = Line("expected objective", [*mean], ACCENT)
    band = go.Scatter(
        x=across.values + across.values[::-1],
        y=upper + lower[::-1],
        fill="toself",
        fillcolor=ACCENT_BAND,
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
    )
    curve = trace(line, across, "%{y:.5g}<br>%{customdata[0]:.5g} to %{customdata[1]:.5g}")
    curve.customdata = list(zip(lower, upper, strict=True))
    if len(steps) == 1:  # a band needs two
        curve.error_y = {"array": [upper[0] - mean[0]], "arrayminus": [mean[0] - lower[0]]}
    drawn = picture([band, curve], xaxis=across.layout, yaxis=axis("objective", nticks=6))
    title = "Objective of the recommended mixture"
    note = (
        "What it is expected to reach at the target fidelity, with a 90 % interval; lower is "
        "better. It may rise: a result can take back what was hoped for."
    )
    return Chart(Panel("optimisation-objective", title, note, drawn), [], told(title, [line]))


def _gain(optimisation: Optimisation) -> Chart | None:
    steps, has_goal = optimisation.some(MOST_STEPS), optimisation.has_goal
    words = Words(
        "gain",
        "Where the next run pays",
        "By how much runs of each fidelity are expected to improve the recommended mixture, for "
        "what one target run costs. The highest line pays best."
        + (" It is a gain in what is wanted, not in the objective." if has_goal else ""),
    )
    lines = by_fidelity(steps, "gain")
    return chart(words, lines, over_steps(optimisation, steps), "expected gain")


def _spent(optimisation: Optimisation) -> Chart:
    import plotly.graph_objects as go

    steps = optimisation.some(MOST_STEPS)
    what = "spent" if optimisation.has_costs else "runs"
    lines, across = by_fidelity(steps, what), over_steps(optimisation, steps)
    bars = [
        go.Bar(
            x=across.values,
            y=line.values,
            name=escape(line.name),
            marker={"color": line.colour, "line": {"width": 0}},
            hovertemplate=f"%{{fullData.name}}<br>step %{{x}}<br>{what} %{{y:.5~g}}<extra></extra>",
        )
        for line in lines
    ]
    drawn = picture(
        bars,
        xaxis=across.layout,
        yaxis=axis(unit(optimisation), rangemode="tozero", nticks=6),
        barmode="stack",
        bargap=0.0 if len(steps) > MOST_MARKED else 0.15,
    )
    title = "Spent by fidelity" if optimisation.has_costs else "Runs by fidelity"
    note = "What had gone where by each step."
    return Chart(Panel("optimisation-spent", title, note, drawn), keys(lines), told(title, lines))


def _correlation(study: Study, optimisation: Optimisation) -> Chart | None:
    known = [
        one
        for one in optimisation.latest["fidelities"]
        if one["correlation"] is not None and one["name"] != study.target_fidelity
    ]
    if not known:
        return None
    mean, lower, upper = (
        [float(one["correlation"][end]) for one in known] for end in ("mean", "lower", "upper")
    )
    drawn = dots(
        [one["name"] for one in known],
        mean,
        (lower, upper),
        axis("correlation, noise apart", range=[min(0.0, *lower) - 0.03, 1.03], nticks=6),
    )
    title = "Correlation with the target"
    note = (
        f"How far what is learned at a fidelity carries over to {study.target_fidelity}: 1 is "
        "wholly, 0 not at all. Bars: 90 % intervals, as of the latest step."
    )
    said = ", ".join(f"{one['name']} {one['correlation']['mean']:.2f}" for one in known)
    return Chart(Panel("optimisation-correlation", title, note, drawn), [], f"{title}: {said}")


def _noise(optimisation: Optimisation) -> Chart:
    known = optimisation.latest["fidelities"]
    noise = [float(one["noise"]) for one in known]
    ends = [0.0, 1.1 * (max(noise) or 1.0)]
    drawn = dots(
        [one["name"] for one in known],
        noise,
        None,
        axis("standard deviation of the objective", range=ends, nticks=6),
    )
    title = "Noise of a run"
    note = (
        "By how much runs of one mixture differ. A regret that is smaller would hardly show in a "
        "run at the target."
    )
    said = ", ".join(f"{one['name']} {significant(one['noise'], 2)}" for one in known)
    return Chart(Panel("optimisation-noise", title, note, drawn), [], f"{title}: {said}")


def _weights(optimisation: Optimisation) -> Chart | None:
    steps = optimisation.some(MOST_STEPS)
    recommended = [step["recommendation"]["weights"] for step in steps]
    names = sorted(
        {name for weights in recommended for name in weights},
        key=lambda name: (-max(weights.get(name, 0.0) for weights in recommended), name),
    )
    lines = [
        Line(name, [max(0.0, weights.get(name, 0.0)) for weights in recommended], colour)
        for name, colour in zip(names[:MOST_DOMAINS], PALETTE, strict=False)
    ]
    rest = names[MOST_DOMAINS:]
    if rest:
        together: Values = [
            sum(max(0.0, weights.get(name, 0.0)) for name in rest) for weights in recommended
        ]
        what = f"{len(rest)} other domain{'s, together' if len(rest) > 1 else ''}"
        lines.append(Line(what, together, MUTED, "dot"))
    words = Words(
        "weights",
        "Recommended weights",
        "The mixture that each step recommends. Lines at rest are settled; those that still move "
        "are not.",
    )
    return chart(words, lines, over_steps(optimisation, steps), "share", is_share=True)


def _front(study: Study, optimisation: Optimisation) -> Chart | None:
    import plotly.graph_objects as go

    front = front_of(optimisation)
    metrics = front_metrics(study, front)
    if len(metrics) < 2:
        return None
    entries = front[:MOST_ENTRIES]
    across, up = ([number(one["metrics"].get(name)) for one in entries] for name in metrics[:2])
    said = [escape(largest(one, 5)) for one in entries]
    looks = (
        (slice(1, None), {"color": ACCENT, "size": 7, "opacity": 0.8}, ""),
        (slice(0, 1), {"color": CONTRAST, "size": 12, "symbol": "diamond"}, "recommended: "),
    )
    drawn = picture(
        [
            go.Scatter(
                x=across[some],
                y=up[some],
                customdata=said[some],
                mode="markers",
                marker={**marker, "line": {"color": "white", "width": 1}},
                hovertemplate=f"{which}%{{customdata}}<br>%{{x:.5g}} and %{{y:.5g}}<extra></extra>",
            )
            for some, marker, which in looks
        ],
        xaxis=axis(_metric_title(study, metrics[0]), nticks=6),
        yaxis=axis(_metric_title(study, metrics[1]), nticks=6),
    )
    title = "Front of the metrics"
    note = "Each point is a mixture that no other is expected to beat in every metric."
    if len(metrics) > 2:
        note += f" Two of the {len(metrics)} metrics are drawn; the table has all."
    keys = [(CONTRAST, "the recommended one"), (ACCENT, "the others")]
    alt = f"{title}: {len(front)} mixtures by {metrics[0]} and {metrics[1]}"
    return Chart(Panel("optimisation-front", title, note, drawn), keys, alt)


def _metric_title(study: Study, metric: str) -> str:
    shown = metric if len(metric) <= 40 else f"{metric[:39]}\N{HORIZONTAL ELLIPSIS}"
    return f"{escape(shown)}, {'higher' if is_maximised(study, metric) else 'lower'} is better"
