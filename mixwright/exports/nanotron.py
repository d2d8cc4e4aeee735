"""Nanotron: `data_stages` of Nanosets.

Source: huggingface/nanotron, `config/config.py` (`DatasetStageArgs`, `NanosetDatasetsArgs`) [X]:
`start_training_step` counts from 1, names and starts come once, and the first stage starts at 1.
`dataset_weights` is the share of sequences, in the order of `dataset_folder`.
"""

from collections.abc import Sequence

from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.stages import PreparedStages, schedule_header
from mixwright.exports.text import comment_header, decimal, yaml_string


def check(prepared: PreparedMixture) -> list[str]:
    """Return no warnings: a share is taken as it is."""
    return []


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return `data_stages` of one stage."""
    lines = ["data_stages:", *_stage("all", 1, prepared)]
    return comment_header(prepared, warnings, order=True) + "\n".join(lines) + "\n"


def render_nanotron(prepared: PreparedStages, warnings: Sequence[str]) -> str:
    """Return `data_stages` of a training YAML."""
    lines = ["data_stages:"]
    for stage, mixture in zip(prepared.schedule.stages, prepared.stages, strict=True):
        lines += _stage(stage.name, stage.first_step + 1, mixture)
    return schedule_header(prepared, warnings) + "\n".join(lines) + "\n"


def _stage(name: str, first_step: int, mixture: PreparedMixture) -> list[str]:
    folders = ", ".join(yaml_string(mixture.path(domain)) for domain in mixture.domains)
    weights = ", ".join(decimal(value) for value in mixture.values.values())
    seed = 42 if mixture.mixture.seed is None else mixture.mixture.seed
    return [
        f"  - name: {yaml_string(name)}",
        f"    start_training_step: {first_step}",
        "    data:",
        f"      seed: {seed}",
        "      num_loading_workers: 1",
        "      dataset:",
        f"        dataset_folder: [{folders}]",
        f"        dataset_weights: [{weights}]",
    ]
