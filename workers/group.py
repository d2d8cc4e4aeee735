"""Claims a group of proxy runs, trains it, and reports every run when it has ended."""

from typing import Any

import structlog

from mixwright.corpus.store import open_store
from mixwright.errors import MixwrightError
from mixwright_client.client import Client, ClientError, ProblemError
from workers.checkpoint import Checkpoints
from workers.heartbeat import Heartbeat
from workers.order import GroupOrder
from workers.reporting import as_result, best_rate, known_points
from workers.settings import WorkerSettings
from workers.train import pick_device, train_group

log = structlog.get_logger()


def do_group(settings: WorkerSettings, group_id: str) -> None:
    """Train the group if it is free; return at once if it is not.

    What fails for a reason that another attempt would meet too (a damaged corpus, a model that
    does not fit, a bug) ends the group with that reason. When this process dies, the group goes on
    from its checkpoint with whoever claims it next.
    """
    client = Client(settings.url, settings.token.get_secret_value())
    try:
        claim = _claim(settings, client, group_id)
    except ClientError as error:
        log.warning("the group cannot be claimed", group=group_id, error=str(error))
        return
    if claim is None:
        log.info("nothing to claim", group=group_id)
        return
    token = claim["lease"]["token"]
    log.info("group started", group=group_id, attempt=token, runs=len(claim["order"]["runs"]))
    try:
        _train_and_report(settings, client, group_id, claim)
    except ClientError as error:
        log.warning("the group was not reported", group=group_id, error=str(error))
    except MixwrightError as error:
        _give_up(client, group_id, token, str(error))
    except Exception as error:  # the edge of the process: whatever it is, the group has to end
        log.exception("unexpected error", group=group_id)
        reason = f"an unexpected {type(error).__name__}; the worker's log has the details"
        _give_up(client, group_id, token, reason)


def _claim(settings: WorkerSettings, client: Client, group_id: str) -> dict[str, Any] | None:
    asked = {"worker": settings.name, "lease_seconds": settings.lease_seconds}
    claim: dict[str, Any] | None = client.post(f"/v1/groups/{group_id}/claim", asked)
    return claim


def _train_and_report(
    settings: WorkerSettings, client: Client, group_id: str, claim: dict[str, Any]
) -> None:
    order, token, known = GroupOrder.from_json(claim["order"]), claim["lease"]["token"], set()
    known.update(claim["metrics"])
    total = order.tokens * len(order.runs)
    checkpoints = Checkpoints(settings.effective_checkpoints, order, settings.checkpoint_seconds)
    with Heartbeat(client, group_id, token, settings.lease_seconds, total) as beat:
        results = train_group(
            order,
            open_store(order.corpus.uri, order.corpus.digest),
            pick_device(settings.device),
            checkpoints=checkpoints,
            on_step=beat.report,
            on_evaluation=lambda points: beat.add_points(known_points(points, known)),
            should_stop=lambda: beat.is_lost,
            models=settings.effective_models,
        )
    if results is None:
        log.warning("group lost to a cancellation or to another worker", group=group_id)
        return
    if claim["purpose"] == "sweep":
        ending: dict[str, Any] = {"learning_rate": best_rate(order, results)}
    else:
        left = [result for result in results if result.run_id not in claim["ended"]]
        ending = {"results": [as_result(result, known) for result in left]}
    answer = client.post(f"/v1/groups/{group_id}/complete", {"lease_token": token, **ending})
    if answer["state"] == "succeeded":
        checkpoints.delete()
    log.info("group reported", group=group_id, state=answer["state"])


def _give_up(client: Client, group_id: str, token: int, reason: str) -> None:
    log.error("group failed", group=group_id, reason=reason)
    try:
        client.post(f"/v1/groups/{group_id}/fail", {"lease_token": token, "reason": reason[:2000]})
    except ProblemError as error:
        log.warning("the group is not this worker's any more", group=group_id, error=str(error))
    except ClientError as error:
        log.warning("the server does not answer; the group's lease will lapse", error=str(error))
