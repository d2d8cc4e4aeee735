"""Predicting at mixtures that a client names: in the API itself, with NumPy alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from app.auth.access import Principal
from app.db.session import Sessions, reading
from app.errors import FieldError, pointer
from app.fits import service
from app.fits.schemas import IntervalRead, Predict, PredictionRead, PredictionsRead
from app.runs import service as runs
from app.studies import service as studies
from app.studies.spaces import kind_of
from app.wire import refuse
from mixwright.arrays import FloatArray
from mixwright.hull import inside_hull
from mixwright.model import Intervals, MixtureModel


def predict(
    sessions: Sessions, principal: Principal, fit_id: str, asked: Predict
) -> PredictionsRead:
    """Return what the fit predicts at every mixture, in their order.

    The database is let go before the arithmetic begins.

    Raises:
        NotFoundError: no such fit.
        ConflictError: it has not succeeded; says why.
        InvalidRequestError: names every wrong weight or parameter by its pointer.
    """
    with reading(sessions) as session:
        fit, job = service.get(session, principal, fit_id)
        service.require_succeeded(fit_id, job)
        definition = studies.load(session, fit.study_id).definition
        mixtures = _asked(definition, asked)
        model = service.model_of(session, fit_id)
    names = [metric["name"] for metric in definition["metrics"]]
    return PredictionsRead.model_construct(predictions=list(_predict(model, mixtures, names)))


def _asked(definition: dict[str, Any], asked: Predict) -> FloatArray:
    sent = {"mixtures": asked.mixtures, "parameters": asked.parameters}
    wanted = "mixtures" if (kind := kind_of(definition)) == "mixture" else "parameters"
    detail = f"the study's space is '{kind}': send {wanted}"
    refuse(
        [
            FieldError(pointer=pointer(name), detail=detail)
            for name, given in sent.items()
            if (given is not None) != (name == wanted)
        ]
    )
    return as_points(definition, sent[wanted] or [], wanted)


def as_points(definition: dict[str, Any], sent: Sequence[dict[str, Any]], field: str) -> FloatArray:
    """Return weights, or parameters, as an array `(q, c)` in the order of the coordinates.

    Raises:
        InvalidRequestError: names every wrong part by its pointer under `field`.
    """
    refuse(runs.wrong_documents(definition, sent, field))
    return np.array([list(one.values()) for one in runs.points_from(definition, sent)])


def _predict(
    model: MixtureModel, mixtures: FloatArray, names: Sequence[str]
) -> Iterator[PredictionRead]:
    metrics, objective = model.predict(mixtures), model.predict_objective(mixtures)
    inside = inside_hull(model.mixtures, mixtures)
    known = names[: len(model.objective)]  # the study may have gained metrics since
    for i in range(len(mixtures)):
        yield PredictionRead.model_construct(
            metrics={name: _interval(metrics, (i, j)) for j, name in enumerate(known)},
            objective=_interval(objective, (i,)),
            inside_hull=bool(inside[i]),
        )


def _interval(intervals: Intervals, where: tuple[int, ...]) -> IntervalRead:
    return IntervalRead.model_construct(
        mean=_finite(intervals.mean[where]),
        lower=_finite(intervals.lower[where]),
        upper=_finite(intervals.upper[where]),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
