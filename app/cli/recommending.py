"""`mixwright recommend` and `mixwright export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.terminal import (
    DEFAULT_URL,
    Answer,
    AsJson,
    Token,
    Url,
    bullet_list,
    connect,
    objective_table,
    output,
    people,
    point_table,
)
from mixwright_client.client import Client


def recommend(
    study: Annotated[str, typer.Argument(help="Name or id of the study.")],
    surrogate: Annotated[str, typer.Option(help="See GET /v1/algorithms.")] = "auto",
    fidelity: Annotated[
        str | None, typer.Option(help="Fit on runs of this fidelity; else on the most numerous.")
    ] = None,
    method: Annotated[str, typer.Option(help="regmix, exact, best_observed or evolve.")] = "regmix",
    candidates: Annotated[int, typer.Option(help="Points to simulate (regmix).")] = 100_000,
    top_k: Annotated[
        int | None, typer.Option(help="Best of them to average; by default the space's own.")
    ] = None,
    fewest_tokens: Annotated[
        float | None, typer.Option(help="QuaDMix: tokens to select, at least.")
    ] = None,
    most_tokens: Annotated[float | None, typer.Option(help="And at most.")] = None,
    kl_to_prior: Annotated[float, typer.Option(help="Penalty on leaving the prior.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with plots to this HTML file.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Fit a study's runs and recommend a mixture, or parameters in a study of another space."""
    client, answer = connect(url, token), Answer(as_json)
    asked: dict[str, Any] = {
        "method": method,
        "candidates": candidates,
        "top_k": top_k,
        "kl_to_prior": kl_to_prior,
        "seed": seed,
    }
    if fewest_tokens is not None or most_tokens is not None:
        asked["selected_tokens"] = {"lower": fewest_tokens, "upper": most_tokens}
    fit = fit_study(client, answer, study, surrogate, fidelity, seed)
    found = recommend_by(client, answer, study, {**asked, "fit": fit["id"]})
    if report is not None:
        write_report(client, found["id"], report)
    answer.give(found, lambda: show(found, fit, report))


def fit_study(
    client: Client, answer: Answer, study: str, surrogate: str, fidelity: str | None, seed: int
) -> Any:  # noqa: ANN401  - JSON
    """Have a study fitted; return the fit once it has succeeded."""
    asked = {"surrogate": surrogate, "fidelity": fidelity, "seed": seed}
    fit = client.post(f"/v1/studies/{study}/fits", asked)
    with answer.progress("fitting surrogates") as progress:
        return client.wait(f"/v1/fits/{fit['id']}", progress)


def recommend_by(client: Client, answer: Answer, study: str, asked: dict[str, Any]) -> Any:  # noqa: ANN401
    """Have a mixture recommended; return the recommendation once it is there."""
    started = client.post(f"/v1/studies/{study}/recommendations", asked)
    with answer.progress("searching mixtures") as progress:
        return client.wait(f"/v1/recommendations/{started['id']}", progress)


def write_report(client: Client, recommendation: str, path: Path) -> None:
    """Write the recommendation's page to `path`."""
    page = client.get_text(f"/v1/recommendations/{recommendation}/report", "text/html")
    path.write_text(page, encoding="utf-8")


def show(found: dict[str, Any], fit: dict[str, Any], report: Path | None) -> None:
    """Show a recommendation to a person."""
    chosen = fit["chosen"]
    output.print(point_table(found))
    output.print(objective_table(found))
    output.print(
        f"Surrogate: {chosen['surrogate']} on {found['runs_used']} runs at fidelity "
        f"{fit['fitted_fidelity']}. {chosen['reason']}",
        markup=False,
    )
    bullet_list("Active constraints:", [str(item["name"]) for item in found["active_constraints"]])
    bullet_list("Beware:", found["warnings"], style="yellow")
    output.print(f"Recommendation: {found['id']}  (digest {found['digest'][:12]})")
    if report is not None:
        output.print(f"Report: {report.resolve()}", soft_wrap=True)
    output.print(_next(found), markup=False)


def _next(found: dict[str, Any]) -> str:
    if found["weights"] is not None:
        return f"Next: mixwright export {found['id']} --format huggingface"
    path = f"/v1/studies/{found['study_id']}/sampling-functions"
    return f'Next: POST {path} {{"recommendation": "{found["id"]}"}}'


def export(
    recommendation: Annotated[str, typer.Argument(help="Id of a recommendation.")],
    format_name: Annotated[str, typer.Option("--format", help="See GET /v1/export-formats.")],
    unit: Annotated[str | None, typer.Option(help="What a weight means to the trainer.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Print a recommendation as text to paste into a trainer; warnings go to standard error."""
    query = {"format": format_name, **({"unit": unit} if unit else {})}
    found = connect(url, token).get(f"/v1/recommendations/{recommendation}/export", **query)
    for warning in found["warnings"]:
        people.print(f"warning: {warning}", style="yellow", markup=False)
    if out is not None:
        out.write_text(found["text"], encoding="utf-8")
    Answer(as_json).give(found, lambda: _print_text(found["text"], out))


def _print_text(text: str, out: Path | None) -> None:
    print(text if out is None else f"Wrote {out}")
