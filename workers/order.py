"""What a worker is told to train: the JSON contract of a group."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Self

from mixwright.errors import InvalidInputError
from mixwright.proxies import ProxyModel
from mixwright.schedules import Schedule
from mixwright.spaces import DocumentSpace, space_from
from mixwright.study import Domain

_DATA = ("weights", "parameters", "schedule")


class OrderError(InvalidInputError):
    """An order that this worker cannot read; server and worker differ in version."""


@dataclass(frozen=True, slots=True)
class CorpusOrder:
    """Which token store to read, and the digest it must have."""

    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A proxy: its mixture, seed, stream of batches, and its learning rate where it has its own.

    `parameters`, instead of `weights`: of the sampling function that chooses its documents, as the
    order's space describes them. `schedule`, instead of both: stages of data, batch size
    and learning rate, in place of the optimizer's.
    """

    id: str
    seed: int
    stream: int
    learning_rate: float | None
    weights: Mapping[str, float] | None = None
    parameters: Mapping[str, Any] | None = None
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True)
class OptimizerOrder:
    """AdamW and its schedule; `warmup` and `decay` are shares of the steps."""

    learning_rate: float
    schedule: str
    warmup: float
    decay: float
    weight_decay: float
    beta1: float
    beta2: float
    clip: float
    batch_sequences: int


@dataclass(frozen=True, slots=True)
class SamplingOrder:
    """How batches are drawn; see `workers.sampler`.

    `budget_tokens`: how many tokens of documents to choose, where the space does not say it.
    """

    mode: str
    max_epochs: float | None
    pool_tokens: Mapping[str, int] | None
    budget_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class EvaluationOrder:
    """At which shares of the steps to evaluate, on how many windows of each domain."""

    at: tuple[float, ...]
    windows: int


@dataclass(frozen=True, slots=True)
class GroupOrder:
    """A group of proxies that differ by mixture, or schedule, and seed alone.

    Attributes:
        group: its id.
        corpus: where the tokens are.
        domains: names in the order of weights.
        runs: the proxies.
        model: shape without vocabulary, which is the corpus'.
        optimizer: the same for all.
        tokens: to train each proxy on.
        sampling: how batches are drawn.
        evaluation: when, on what.
        width: how many proxies are trained in one fused step.
        compile: whether to compile the step.
        space: of the study, where runs have parameters; None: runs have weights or schedules.
        keep: whether to keep trained proxies.
    """

    group: str
    corpus: CorpusOrder
    domains: tuple[str, ...]
    runs: tuple[RunOrder, ...]
    model: Mapping[str, Any]
    optimizer: OptimizerOrder
    tokens: int
    sampling: SamplingOrder
    evaluation: EvaluationOrder
    width: int
    compile: bool
    space: Mapping[str, Any] | None = None
    keep: bool = False

    @property
    def has_schedules(self) -> bool:
        """Whether its runs have schedules, which all of them do or none."""
        return self.runs[0].schedule is not None

    @property
    def document_space(self) -> DocumentSpace | None:
        """The space whose points are the parameters of runs.

        Raises:
            OrderError: this worker knows none such.
        """
        if self.space is None:
            return None
        try:
            found = space_from(self.space, [Domain(name, None, 0.0) for name in self.domains])
        except (InvalidInputError, KeyError) as error:
            raise OrderError(f"the order's space cannot be read: {error}", "space") from error
        if not isinstance(found, DocumentSpace):
            raise OrderError(f"points of the space '{found.kind}' choose no documents", "space")
        return found

    @classmethod
    def from_json(cls, order: Mapping[str, Any]) -> Self:
        """Return the order that `order`, decoded JSON, describes.

        Raises:
            OrderError: a field is missing or unknown; names it.
        """
        parts = dict(order)
        _check("", parts, cls)
        found = cls(
            **{
                **parts,
                "corpus": _part("corpus", parts, CorpusOrder),
                "domains": tuple(parts["domains"]),
                "runs": tuple(
                    _run(_check(f"runs/{index}", run, RunOrder))
                    for index, run in enumerate(parts["runs"])
                ),
                "optimizer": _part("optimizer", parts, OptimizerOrder),
                "sampling": _part("sampling", parts, SamplingOrder),
                "evaluation": EvaluationOrder(
                    tuple(parts["evaluation"]["at"]), parts["evaluation"]["windows"]
                ),
            }
        )
        _check_runs(found)
        return found

    def shape(self, vocabulary: int) -> ProxyModel:
        """Return the model's shape over `vocabulary` tokens."""
        return ProxyModel(**self.model, vocabulary=vocabulary)


def _part(name: str, order: Mapping[str, Any], kind: type[Any]) -> Any:  # noqa: ANN401  - a dataclass
    return kind(**_check(name, order[name], kind))


def _run(run: Mapping[str, Any]) -> RunOrder:
    schedule = run.get("schedule")
    read = None if schedule is None else Schedule.from_json(schedule)
    return RunOrder(**{**run, "schedule": read})


def _check_runs(order: GroupOrder) -> None:
    """Check that all runs say in the same way what they are trained on."""
    space, wanted = order.document_space, "weights"
    if order.runs and order.has_schedules:
        wanted = "schedule"
    if space is not None:
        wanted = "parameters"
    for index, run in enumerate(order.runs):
        given = [name for name in _DATA if getattr(run, name) is not None]
        if given != [wanted]:
            raise OrderError(f"the order's runs/{index} needs {wanted} alone", f"runs/{index}")
    sampling = order.sampling
    if wanted != "weights" and (sampling.mode, sampling.pool_tokens) != ("replacement", None):
        raise OrderError(
            f"proxies with {wanted} draw in the mode `replacement` and from no pools: how often "
            "documents are repeated is for the sampling function, or the schedule, to say",
            "sampling",
        )
    if space is not None and space.has_budget and sampling.budget_tokens is None:
        detail = f"points of the space '{space.kind}' need a budget of tokens to choose"
        raise OrderError(f"the order's sampling/budget_tokens is missing: {detail}", "sampling")


def _check(where: str, part: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    fields = kind.__dataclass_fields__
    needed = {name for name, one in fields.items() if one.default is MISSING}
    for name in sorted((needed - set(part)) | (set(part) - set(fields))):
        problem = "is missing" if name in needed else "is unknown to this worker"
        field = f"{where}/{name}".lstrip("/")
        raise OrderError(f"the order's {field} {problem}; update server or worker", field)
    return part
