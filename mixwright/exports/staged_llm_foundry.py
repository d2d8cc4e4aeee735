"""MosaicML llm-foundry: the first stage as `train_loader`, the others in `curriculum_learning`.

Source: llm-foundry, `callbacks/curriculum_learning_callback.py` [X]: a stage has a duration in
tokens and a dataset, durations sum to `max_duration`, and a past or current stage that differs from
the checkpoint's is refused. Older releases want the dataset under `train_loader` [X]; since which
one it is `dataset` was not found.
"""

from collections.abc import Sequence

from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.llm_foundry import dataset_lines
from mixwright.exports.stages import PreparedStages, schedule_header


def render_llm_foundry(prepared: PreparedStages, warnings: Sequence[str]) -> str:
    """Return `train_loader`, the callback and `max_duration` of a training YAML."""
    stages = prepared.schedule.stages
    lines = ["train_loader:", "  name: text", "  dataset:"]
    lines += _indented(_dataset(prepared, 0), 4)
    lines += ["callbacks:", "  curriculum_learning:", f"    duration: {stages[0].tokens}tok"]
    lines.append("    schedule:" if len(stages) > 1 else "    schedule: []")
    for place, stage in enumerate(stages[1:], start=1):
        lines += [f"      - duration: {stage.tokens}tok", "        dataset:"]
        lines += _indented(_dataset(prepared, place), 10)
    lines.append(f"max_duration: {prepared.schedule.tokens}tok")
    return schedule_header(prepared, warnings) + "\n".join(lines) + "\n"


def _dataset(prepared: PreparedStages, place: int) -> list[str]:
    """Return a stage's dataset; its shuffle differs from those before it.

    A stage begins its streams anew, so that with one seed small streams would repeat their first
    samples.
    """
    seed = prepared.schedule.seed
    mixture: PreparedMixture = prepared.stages[place]
    return dataset_lines(mixture, None if seed is None else seed + place)


def _indented(lines: Sequence[str], by: int) -> list[str]:
    return [" " * by + line for line in lines]
