"""The section on Bayesian optimisation: what its template shows, and its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.report import belief_slices, optimisation_pictures, slice_pictures
from app.report import optimisation as words
from app.report.documents import Document
from app.report.figures import Panel
from app.report.numbers import percent, significant
from app.report.optimisation_charts import Chart
from app.report.runs import weights_of
from app.report.slices import SliceRow, slice_rows
from mixwright.study import Study

SAME_MODEL = "multi_fidelity_gp"


@dataclass(frozen=True, slots=True)
class Section:
    """What the section shows.

    Attributes:
        asked: how suggestions were asked for, where that is not the default.
        others: number of ways of asking that are not shown.
        count: number of steps, of which `steps` has some.
        runs: how many the latest step knew.
        spent: by then; "" where costs are not known.
        sentence: what going on is worth; "" where nothing was left to run.
        moved: share of the tokens in which its mixture differs from the page's.
        slices: pictures of what its model believes along each domain, in words in `slice_rows`.
        same_model: whether the fit is of the optimiser's kind, made at the target.
    """

    asked: list[str]
    others: int
    count: int
    runs: str
    spent: str
    sentence: str
    moved: str
    steps: list[words.StepRow]
    fidelities: list[words.FidelityRow]
    weights: list[words.WeightRow]
    front: words.Front | None
    outliers: list[words.OutlierRow]
    charts: list[Chart]
    slices: list[Panel]
    slice_rows: list[SliceRow]
    same_model: bool
    most_rows: int = words.MOST_ROWS
    searched: int = belief_slices.SEARCHED
    believed: int = belief_slices.BELIEVED

    @property
    def panels(self) -> list[Panel]:
        """Every picture."""
        return [*(chart.panel for chart in self.charts), *self.slices]


def section(
    study: Study,
    optimisation: words.Optimisation,
    recommendation: Document,
    fit_report: Document,
    counting: Sequence[Document],
    run_names: Mapping[str, str],
    domains: Sequence[str],
) -> Section:
    """Return what there is to say of an optimisation.

    Args:
        study: the study.
        optimisation: what was thought.
        recommendation: that the page is about.
        fit_report: what its fit knows about itself.
        counting: the runs that count.
        run_names: by identifier of each of them, the name that people know it by.
        domains: those with the largest effect first.
    """
    latest, weights = optimisation.latest, recommendation["weights"]
    same = (fit_report["chosen"]["surrogate"], fit_report["fidelity"]) == (
        SAME_MODEL,
        study.target_fidelity,
    )
    without = {one["run"] for one in latest["outliers"]}
    here = weights_of(weights, study.domain_names)
    found = []
    if not same:
        found = belief_slices.belief_slices(study, counting, without, here, domains)
    return Section(
        asked=optimisation.asked,
        others=optimisation.others,
        count=len(optimisation.steps),
        runs=str(latest["runs"]),
        spent=significant(latest["spent"], 4) if optimisation.has_costs else "",
        sentence=latest["stopping"]["sentence"] if latest["stopping"] else "",
        moved=percent(words.moved(latest["recommendation"]["weights"], weights)),
        steps=words.step_rows(optimisation),
        fidelities=words.fidelity_rows(optimisation, study.target_fidelity),
        weights=words.weight_rows(optimisation, weights),
        front=words.front_table(study, words.front_of(optimisation)),
        outliers=words.outlier_rows(optimisation, run_names),
        charts=optimisation_pictures.charts(study, optimisation),
        slices=slice_pictures.slice_panels(found, "belief"),
        slice_rows=slice_rows(found),
        same_model=same,
    )
