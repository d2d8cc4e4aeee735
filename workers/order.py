"""What a worker is told to train: the JSON contract of a group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mixwright.errors import InvalidInputError
from mixwright.proxies import ProxyModel


class OrderError(InvalidInputError):
    """An order that this worker cannot read; server and worker differ in version."""


@dataclass(frozen=True, slots=True)
class CorpusOrder:
    """Which token store to read, and the digest it must have."""

    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A proxy: its mixture, seed, stream of batches, and its learning rate where it has its own."""

    id: str
    weights: Mapping[str, float]
    seed: int
    stream: int
    learning_rate: float | None


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
    """How batches are drawn; see `workers.sampler`."""

    mode: str
    max_epochs: float | None
    pool_tokens: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class EvaluationOrder:
    """At which shares of the steps to evaluate, on how many windows of each domain."""

    at: tuple[float, ...]
    windows: int


@dataclass(frozen=True, slots=True)
class GroupOrder:
    """A group of proxies that differ by mixture and seed alone.

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

    @classmethod
    def from_json(cls, order: Mapping[str, Any]) -> Self:
        """Return the order that `order`, decoded JSON, describes.

        Raises:
            OrderError: a field is missing or unknown; names it.
        """
        parts = dict(order)
        _check("", parts, cls)
        return cls(
            **{
                **parts,
                "corpus": _part("corpus", parts, CorpusOrder),
                "domains": tuple(parts["domains"]),
                "runs": tuple(
                    RunOrder(**_check(f"runs/{index}", run, RunOrder))
                    for index, run in enumerate(parts["runs"])
                ),
                "optimizer": _part("optimizer", parts, OptimizerOrder),
                "sampling": _part("sampling", parts, SamplingOrder),
                "evaluation": EvaluationOrder(
                    tuple(parts["evaluation"]["at"]), parts["evaluation"]["windows"]
                ),
            }
        )

    def shape(self, vocabulary: int) -> ProxyModel:
        """Return the model's shape over `vocabulary` tokens."""
        return ProxyModel(**self.model, vocabulary=vocabulary)


def _part(name: str, order: Mapping[str, Any], kind: type[Any]) -> Any:  # noqa: ANN401  - a dataclass
    return kind(**_check(name, order[name], kind))


def _check(where: str, part: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    wanted = set(kind.__dataclass_fields__)
    for name in sorted(wanted ^ set(part)):
        problem = "is missing" if name in wanted else "is unknown to this worker"
        field = f"{where}/{name}".lstrip("/")
        raise OrderError(f"the order's {field} {problem}; update server or worker", field)
    return part
