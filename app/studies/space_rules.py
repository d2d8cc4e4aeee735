"""What a study's space has to be, and its defaults."""

from collections.abc import Iterator
from typing import Any

from app.errors import FieldError, pointer
from app.studies.schemas import SpaceSchema, StudyCreate
from mixwright.errors import InvalidInputError
from mixwright.quality.parameters import PER_DOMAIN
from mixwright.quality.quadmix import PAPER
from mixwright.spaces import space_from
from mixwright.study import Domain

_RATING = ("raters", "lower_is_better", "normalisation")
_FIELDS = {
    "mixture": (),
    "meta_rater": _RATING,
    "quadmix": (*_RATING, "steepness", "limits"),
}
_MOST_COORDINATES = 10_000
_NO_SCORES = ("domain", "tokens", "id")  # columns of samples


def complete_space(asked: SpaceSchema) -> dict[str, Any]:
    """Return the space as it is stored, with its defaults."""
    paper = dict(zip(PER_DOMAIN, PAPER.numbers, strict=True))
    space = asked.model_dump(mode="json")
    space["normalisation"] = space["normalisation"] or "z_score"
    space["steepness"] = space["steepness"] or "linear"
    space["limits"] = {**paper, **(space["limits"] or {})}
    return {"kind": asked.kind, **{name: space[name] for name in _FIELDS[asked.kind]}}


def wrong_space(asked: StudyCreate) -> Iterator[FieldError]:
    """Yield what is wrong with the space, and what of the study does not go with it."""
    wrong = [*_foreign(asked.space), *_wrong_raters(asked.space)]
    yield from wrong
    if asked.space.kind == "mixture":
        return
    if not wrong:
        yield from _wrong_numbers(asked)
    yield from _of_mixtures(asked)


def _foreign(space: SpaceSchema) -> Iterator[FieldError]:
    given = space.model_dump(exclude_unset=True, exclude={"kind"})
    for name in given:
        if given[name] not in (None, []) and name not in _FIELDS[space.kind]:
            detail = f"a space of kind '{space.kind}' has none; leave it out"
            yield FieldError(pointer=pointer("space", name), detail=detail)


def _wrong_raters(space: SpaceSchema) -> Iterator[FieldError]:
    if space.kind == "mixture":
        return
    if not space.raters:
        yield FieldError(pointer="/space/raters", detail="name at least one rater")
    yield from _wrong_names(space)
    for index, name in enumerate(space.lower_is_better):
        if name not in space.raters:
            detail = f"'{name}' is not a rater of the space"
            yield FieldError(pointer=pointer("space", "lower_is_better", index), detail=detail)


def _wrong_names(space: SpaceSchema) -> Iterator[FieldError]:
    for field in ("raters", "lower_is_better"):
        names = getattr(space, field)
        for index, name in enumerate(names):
            if name in names[:index]:
                detail = f"'{name}' comes twice"
                yield FieldError(pointer=pointer("space", field, index), detail=detail)
    for index, name in enumerate(space.raters):
        if name in _NO_SCORES:
            detail = f"'{name}' is a column of samples that has no scores; name the rater otherwise"
            yield FieldError(pointer=pointer("space", "raters", index), detail=detail)


def _wrong_numbers(asked: StudyCreate) -> Iterator[FieldError]:
    """Yield limits that the core refuses, and a space that is too large."""
    domains = [Domain(one.name, one.tokens, 0.0) for one in asked.domains]
    try:
        space = space_from(asked.space.model_dump(mode="json"), domains)
    except InvalidInputError as error:
        where = pointer("space", *error.field.split("/"))
        yield FieldError(pointer=where, detail=str(error))
        return
    count = len(space.coordinates(domains))
    if count > _MOST_COORDINATES:
        detail = f"{count} coordinates are more than {_MOST_COORDINATES}; merge domains or raters"
        yield FieldError(pointer="/space/raters", detail=detail)


def _of_mixtures(asked: StudyCreate) -> Iterator[FieldError]:
    """Yield limits on shares: the shares of domains are what comes out of such a study."""
    why = f"is of mixtures, and a study of the space '{asked.space.kind}' cannot keep it"
    what: dict[tuple[str, ...], bool] = {
        ("constraints", "linear"): bool(asked.constraints.linear),
        ("constraints", "repetition"): asked.constraints.repetition is not None,
    }
    for index, domain in enumerate(asked.domains):
        what["domains", str(index), "lower"] = domain.lower != 0
        what["domains", str(index), "upper"] = domain.upper != 1
    for place, is_given in what.items():
        if is_given:
            yield FieldError(pointer=pointer(*place), detail=f"{place[-1]} {why}; leave it out")
