"""Wire format of algorithms."""

from typing import Any

from app.wire import AnswerModel


class AlgorithmRead(AnswerModel):
    """An algorithm that can be asked for by name.

    `options` is a JSON schema. `evidence` grades how well the source was read: exact, secondary,
    recalled, or interpretation (ours). `requires` is what a trainer has to send to a reweighter.
    """

    name: str
    kind: str
    title: str
    options: dict[str, Any]
    source: str
    evidence: str
    departures: list[str]
    requires: dict[str, Any] | None = None
