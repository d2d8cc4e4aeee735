"""From what was asked to a swarm with every default filled in, checked before it is queued."""

from collections.abc import Iterator
from typing import Any

from app.corpora.schemas import CorpusRead
from app.db.models import StudyRow
from app.errors import FieldError, pointer
from app.studies.definition import listed, to_core
from app.swarms.schemas import ModelSchema, OptimizerSchema, SamplingSchema, SwarmCreate
from mixwright.proxies import PRESETS, ProxyModel
from mixwright.spaces import DocumentSpace
from mixwright.step_law import step_law

SWEEP = (0.25, 0.5, 1.0, 2.0)  # learning rates tried, as multiples of the step law's
_DEFAULT_PRESET = "1m"


def measured(corpus: CorpusRead) -> list[str]:
    """Return the names of the metrics that a proxy trained on the corpus is measured by."""
    names = [domain.name for domain in corpus.domains]
    return [f"{kind}/{name}" for kind in ("loss", "bits_per_byte") for name in names]


def wrong_fields(study: StudyRow, corpus: CorpusRead, asked: SwarmCreate) -> list[FieldError]:
    """Return what keeps the swarm from being trained on the corpus."""
    return [
        *_missing_domains(study, corpus),
        *_unmeasured(study, corpus),
        *_tokens(study, asked),
        *_not_selectable(study, corpus, asked),
    ]


def complete(study: StudyRow, corpus: CorpusRead, asked: SwarmCreate) -> dict[str, Any]:
    """Return the request with model, tokens and optimiser filled in, as it is stored.

    Raises:
        InvalidInputError: a model that cannot be, such as a width its heads do not divide.
    """
    request = asked.model_dump(mode="json", exclude_none=True)
    for points in ("mixtures", "parameters", "schedules"):
        request["design"].pop(points, None)
    request["design"].setdefault("kind", next(iter(to_core(study.definition).space.designs)))
    trainer = request["trainer"]
    tokens = asked.trainer.tokens or int(_fidelity(study, asked.fidelity)["tokens"])
    model = proxy_model(asked.trainer.model, corpus.vocabulary)
    law = step_law(model.body_parameters, tokens, model.context)
    trainer["tokens"] = tokens
    trainer["model"] = {
        name: getattr(model, name)
        for name in ("layers", "width", "heads", "feed_forward", "context", "tied")
    }
    trainer["parameters"] = {"body": model.body_parameters, "head": model.head_parameters}
    trainer["optimizer"] = _optimizer(asked.trainer.optimizer, law.learning_rate, law.sequences)
    request["step_law"] = law.learning_rate
    request["warnings"] = _warnings(asked.trainer.optimizer, law.is_extrapolated)
    return request


def proxy_model(asked: ModelSchema, vocabulary: int) -> ProxyModel:
    """Return the preset asked for, with what is named beside it changed.

    Raises:
        InvalidInputError: a model that cannot be.
    """
    named = asked.model_dump(exclude={"preset"}, exclude_none=True)
    return ProxyModel(
        **{**PRESETS[asked.preset or _DEFAULT_PRESET], **named}, vocabulary=vocabulary
    )


def _optimizer(asked: OptimizerSchema, rate: float, sequences: int) -> dict[str, Any]:
    chosen = asked.model_dump(mode="json")
    chosen["batch_sequences"] = asked.batch_sequences or sequences
    if asked.learning_rate == "step_law":
        chosen["learning_rate"] = rate
    return chosen


def _warnings(asked: OptimizerSchema, is_extrapolated: bool) -> list[str]:
    by_law = asked.learning_rate == "step_law" or asked.batch_sequences is None
    if not (by_law and is_extrapolated):
        return []
    return [
        "the step law was measured on models of 60M parameters and more, 2B tokens and more: here "
        "it extrapolates; a learning rate of `sweep` costs four more proxies and settles it"
    ]


def _missing_domains(study: StudyRow, corpus: CorpusRead) -> list[FieldError]:
    there = {domain.name for domain in corpus.domains}
    missing = [one["name"] for one in study.definition["domains"] if one["name"] not in there]
    if not missing:
        return []
    detail = (
        f"the corpus '{corpus.name}' has no domain {listed(missing)}; it has "
        f"{listed(sorted(there))}"
    )
    return [FieldError(pointer=pointer("trainer", "corpus"), detail=detail)]


def _unmeasured(study: StudyRow, corpus: CorpusRead) -> list[FieldError]:
    known = set(measured(corpus))
    wanted = [name for name, weight in study.definition["objective"].items() if weight]
    missing = [name for name in wanted if name not in known]
    if not missing:
        return []
    detail = (
        f"the study's objective needs {listed(missing)}, which proxies on this corpus are not "
        "measured by; name metrics loss/DOMAIN (nats per token) or bits_per_byte/DOMAIN"
    )
    return [FieldError(pointer=pointer("trainer", "corpus"), detail=detail)]


def _not_selectable(
    study: StudyRow, corpus: CorpusRead, asked: SwarmCreate
) -> Iterator[FieldError]:
    """Yield what keeps proxies from being trained on what parameters of the study select."""
    space = to_core(study.definition).space
    budget = asked.trainer.sampling.budget_tokens
    where = pointer("trainer", "sampling", "budget_tokens")
    if not isinstance(space, DocumentSpace):
        if budget is not None:
            detail = "mixtures select no documents, they take no budget: leave it out"
            yield FieldError(pointer=where, detail=detail)
        return
    missing = [name for name in space.rating.raters if name not in corpus.raters]
    if missing:
        detail = (
            f"the documents of the corpus '{corpus.name}' have no scores of {listed(missing)}, "
            f"they have {listed(corpus.raters) or 'none'}; build it with --score"
        )
        yield FieldError(pointer=pointer("trainer", "corpus"), detail=detail)
    if wrong := _wrong_budget(study, corpus, budget, space.has_budget):
        yield FieldError(pointer=where, detail=wrong)
    yield from _not_with_replacement(asked.trainer.sampling)


def _wrong_budget(
    study: StudyRow, corpus: CorpusRead, budget: float | None, is_needed: bool
) -> str | None:
    """Return what is wrong with the tokens that are to be selected."""
    if not is_needed:
        said = "the study's parameters themselves say how much is selected: leave it out"
        return None if budget is None else said
    names = {domain["name"] for domain in study.definition["domains"]}
    there = sum(domain.train_tokens for domain in corpus.domains if domain.name in names)
    if budget is not None and budget < there:
        return None
    return (
        f"the best documents are selected until there are so many tokens; the corpus has {there:,} "
        "in the study's domains: say how many, fewer than that"
    )


def _not_with_replacement(sampling: SamplingSchema) -> Iterator[FieldError]:
    for name, is_asked in (
        ("mode", sampling.mode == "epochs"),
        ("target_tokens", sampling.target_tokens is not None),
    ):
        if is_asked:
            detail = "selected documents are drawn with replacement, from all that is selected"
            yield FieldError(pointer=pointer("trainer", "sampling", name), detail=detail)


def _tokens(study: StudyRow, asked: SwarmCreate) -> list[FieldError]:
    known = [one["name"] for one in study.definition["fidelities"]]
    if asked.fidelity not in known:
        detail = f"'{asked.fidelity}' is not a fidelity of the study, they are {listed(known)}"
        return [FieldError(pointer=pointer("fidelity"), detail=detail)]
    if asked.trainer.tokens is None and not _fidelity(study, asked.fidelity)["tokens"]:
        detail = f"the fidelity '{asked.fidelity}' has no tokens; say how many to train on"
        return [FieldError(pointer=pointer("trainer", "tokens"), detail=detail)]
    return []


def _fidelity(study: StudyRow, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in study.definition["fidelities"] if one["name"] == name
    )
    return found
