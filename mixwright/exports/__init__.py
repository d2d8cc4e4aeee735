"""Turns a mixture into the text that a trainer's data loader reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.exports import (
    canonical,
    generic_json,
    huggingface,
    levanter,
    llm_foundry,
    megatron,
    nanotron,
    olmo_core,
)
from mixwright.exports.base import ExportedMixture, ExportResult
from mixwright.exports.canonical import MIN_WEIGHT, PreparedMixture, prepare
from mixwright.exports.units import UNITS, Unit

__all__ = [
    "EXPORTS",
    "ExportFormat",
    "ExportResult",
    "ExportedMixture",
    "Unit",
    "describe_formats",
    "export",
]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A target.

    Attributes:
        title: of the trainer and the form.
        description: where the text goes.
        units: what a weight may mean there; the first is the default.
        media_type: of the text.
        filename: to save it as.
        render: writes the text; takes the warnings, which go into it.
        check: returns the target's own warnings, or raises for what it cannot express.
        has_paths: whether the text says where the data lies.
    """

    title: str
    description: str
    units: tuple[Unit, ...]
    media_type: str
    filename: str
    render: Callable[[PreparedMixture, Sequence[str]], str]
    check: Callable[[PreparedMixture], list[str]]
    has_paths: bool = True


EXPORTS: Mapping[str, ExportFormat] = {
    "canonical": ExportFormat(
        title="Canonical JSON",
        description="The form every other export is made from; its digest is cited by all.",
        units=(Unit.TOKEN_SHARE,),
        media_type="application/json",
        filename="mixture.json",
        render=canonical.render,
        check=canonical.check,
        has_paths=False,
    ),
    "megatron": ExportFormat(
        title="Megatron-LM, --data-path",
        description="Arguments for a launch script, as a bash array.",
        units=(Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE),
        media_type="text/x-shellscript",
        filename="data_args.sh",
        render=megatron.render,
        check=megatron.check,
    ),
    "megatron_per_split": ExportFormat(
        title="Megatron-LM, --per-split-data-args-path",
        description="The JSON file of the three splits.",
        units=(Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE),
        media_type="application/json",
        filename="per_split_data_args.json",
        render=megatron.render_per_split,
        check=megatron.check_per_split,
    ),
    "huggingface": ExportFormat(
        title="Hugging Face, interleave_datasets",
        description="Python that builds the mixed dataset.",
        units=(Unit.DOCUMENT_PROBABILITY, Unit.TOKEN_SHARE, Unit.SEQUENCE_SHARE),
        media_type="text/x-python",
        filename="mixture.py",
        render=huggingface.render,
        check=huggingface.check,
    ),
    "huggingface_json": ExportFormat(
        title="Hugging Face, arguments of interleave_datasets",
        description="The same as JSON, for a script that has its datasets already.",
        units=(Unit.DOCUMENT_PROBABILITY, Unit.TOKEN_SHARE, Unit.SEQUENCE_SHARE),
        media_type="application/json",
        filename="interleave_datasets.json",
        render=huggingface.render_json,
        check=huggingface.check,
        has_paths=False,
    ),
    "llm_foundry": ExportFormat(
        title="MosaicML llm-foundry",
        description="train_loader of a training YAML, for StreamingDataset.",
        units=tuple(llm_foundry.FIELD_OF_UNIT),
        media_type="application/yaml",
        filename="train_loader.yaml",
        render=llm_foundry.render,
        check=llm_foundry.check,
    ),
    "olmo_core": ExportFormat(
        title="OLMo-core",
        description="YAML for SourceMixtureList.from_yaml.",
        units=(Unit.TOKEN_SHARE,),
        media_type="application/yaml",
        filename="source_mixture.yaml",
        render=olmo_core.render,
        check=olmo_core.check,
    ),
    "levanter": ExportFormat(
        title="Levanter",
        description="The data section of a training YAML.",
        units=(Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE),
        media_type="application/yaml",
        filename="data.yaml",
        render=levanter.render,
        check=levanter.check,
    ),
    "nanotron": ExportFormat(
        title="Nanotron",
        description="data_stages of a training YAML, of Nanosets.",
        units=(Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE),
        media_type="application/yaml",
        filename="data_stages.yaml",
        render=nanotron.render,
        check=nanotron.check,
    ),
    "generic_json": ExportFormat(
        title="Generic JSON",
        description="Domain to weight, for loaders that watch a file.",
        units=tuple(Unit),
        media_type="application/json",
        filename="weights.json",
        render=generic_json.render,
        check=generic_json.check,
        has_paths=False,
    ),
}


def export(
    mixture: ExportedMixture, format: str, unit: str | None = None, notes: Sequence[str] = ()
) -> ExportResult:
    """Write a mixture for a trainer.

    Args:
        mixture: token shares and what is known about the data.
        format: a key of `EXPORTS`.
        unit: what a weight shall mean; None takes the format's own, or, with a warning, the
            next that it accepts and whose inputs are known.
        notes: written into the text as warnings are, and before them.

    Raises:
        InvalidInputError: the format is unknown, does not take the unit, cannot express the
            mixture, or the unit's formula lacks an input (`field` names it).
    """
    target = _target(format)
    chosen = _accepted_unit(format, target, unit) if unit else _known_unit(target, mixture)
    prepared = prepare(mixture, chosen)
    warnings = [*_warnings(prepared, has_paths=target.has_paths), *target.check(prepared)]
    if unit is None and chosen is not target.units[0]:
        warnings.insert(0, _second_choice(target.units[0], chosen))
    return ExportResult(
        unit=chosen,
        text=target.render(prepared, [*notes, *warnings]),
        warnings=tuple(warnings),
        media_type=target.media_type,
        filename=target.filename,
    )


def describe_formats() -> list[dict[str, Any]]:
    """Return every format and its units, JSON-ready."""
    return [
        {
            "name": name,
            "title": target.title,
            "description": target.description,
            "media_type": target.media_type,
            "filename": target.filename,
            "default_unit": target.units[0].value,
            "units": [
                {
                    "name": unit.value,
                    "meaning": UNITS[unit].meaning,
                    "formula": UNITS[unit].formula,
                    "needs": list(UNITS[unit].needs),
                }
                for unit in target.units
            ],
        }
        for name, target in EXPORTS.items()
    ]


def _target(format: str) -> ExportFormat:
    if format not in EXPORTS:
        raise InvalidInputError(
            f"format {format!r} is not known; choose one of {', '.join(EXPORTS)}", "format"
        )
    return EXPORTS[format]


def _known_unit(target: ExportFormat, mixture: ExportedMixture) -> Unit:
    return next(
        (unit for unit in target.units if _inputs_are_known(mixture, unit)), target.units[0]
    )


def _inputs_are_known(mixture: ExportedMixture, unit: Unit) -> bool:
    kept = {domain for domain in mixture.domains if mixture.weights[domain] >= MIN_WEIGHT}
    inputs = [getattr(mixture, name) for name in UNITS[unit].needs]
    return all(
        known.keys() >= kept if isinstance(known, Mapping) else known is not None
        for known in inputs
    )


def _second_choice(wanted: Unit, chosen: Unit) -> str:
    return (
        f"the weights are {chosen.value} ({UNITS[chosen].meaning}), right only if every source is "
        f"packed to sequences of one length before it is mixed; for {wanted.value} give "
        f"{' and '.join(UNITS[wanted].needs)}"
    )


def _accepted_unit(format: str, target: ExportFormat, unit: str) -> Unit:
    if unit not in target.units:
        accepted = ", ".join(accepted.value for accepted in target.units)
        raise InvalidInputError(
            f"{format} does not take unit {unit!r}; it takes {accepted}", "unit"
        )
    return Unit(unit)


def _warnings(prepared: PreparedMixture, *, has_paths: bool) -> list[str]:
    """Return the warnings that no target decides."""
    warnings = []
    if prepared.dropped:
        names = ", ".join(map(repr, prepared.dropped))
        warnings.append(f"{names}: left out, because the share is below {MIN_WEIGHT:g}")
    placeholders = [domain for domain in prepared.domains if domain not in prepared.mixture.paths]
    if has_paths and placeholders:
        names = ", ".join(map(repr, placeholders))
        warnings.append(f"{names}: /path/to/... is a placeholder; put the path of the data there")
    return [*warnings, *_repetition_warnings(prepared)]


def _repetition_warnings(prepared: PreparedMixture) -> list[str]:
    limit = prepared.mixture.max_epochs
    if limit is None:
        return []
    warnings = [
        f"{domain!r} is repeated {epochs:.4g} times, above the cap of {limit:g}"
        for domain, epochs in prepared.epochs.items()
        if epochs > limit * (1 + 1e-9)
    ]
    unknown = [domain for domain in prepared.domains if domain not in prepared.epochs]
    if unknown:
        names = ", ".join(map(repr, unknown))
        warnings.append(
            f"{names}: the cap of {limit:g} epochs is not checked; give tokens and token_budget"
        )
    return warnings
