"""MosaicML llm-foundry: the streams of a training YAML.

Source: llm-foundry 0.22.0 (`build_streams`) and mosaicml-streaming 0.13.0 (`Stream.apply_weights`)
[X]. Shares go to `proportion`, epochs to `repeat`, numbers of samples to `choose`, and the three
are never mixed. With `proportion` the epoch is as long as all streams together unless `epoch_size`
says otherwise, and small streams are then repeated silently; with the others there must be none.
"""

from collections.abc import Mapping, Sequence

from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.text import comment_header, decimal, whole, yaml_string
from mixwright.exports.units import Unit

FIELD_OF_UNIT: Mapping[Unit, str] = {
    Unit.SEQUENCE_SHARE: "proportion",
    Unit.TOKEN_SHARE: "proportion",
    Unit.DOCUMENT_PROBABILITY: "proportion",
    Unit.EPOCHS: "repeat",
    Unit.SAMPLES: "choose",
}


def check(prepared: PreparedMixture) -> list[str]:
    """Return what would make Streaming repeat or stop unasked."""
    if FIELD_OF_UNIT[prepared.unit] != "proportion":
        return []
    if _epoch_size(prepared) is None:
        return [
            "epoch_size is not known, so an epoch has as many samples as all streams together and "
            "small streams are repeated silently; give token_budget and sequence_length"
        ]
    return []


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return `max_duration` and `train_loader` of a training YAML."""
    lines = [f"max_duration: {_max_duration(prepared)}"] if _max_duration(prepared) else []
    lines += ["train_loader:", "  name: text", "  dataset:"]
    lines += [f"    {line}" for line in dataset_lines(prepared, prepared.mixture.seed)]
    return comment_header(prepared, warnings) + "\n".join(lines) + "\n"


def dataset_lines(prepared: PreparedMixture, seed: int | None) -> list[str]:
    """Return the YAML lines of a dataset: shuffle, epoch and streams."""
    lines = ["shuffle: true"]
    if seed is not None:
        lines.append(f"shuffle_seed: {seed}")
    epoch_size = _epoch_size(prepared)
    if epoch_size is not None:
        lines.append(f"epoch_size: {epoch_size}")
    lines.append("streams:")
    for domain in prepared.domains:
        lines.append(f"  {yaml_string(domain)}:")
        lines += [f"    {line}" for line in _stream(prepared, domain)]
    return lines


def _stream(prepared: PreparedMixture, domain: str) -> list[str]:
    path = prepared.path(domain)
    places = {"local": path}
    if "://" in path:
        places = {"remote": path, "local": f"/tmp/mixwright/{domain}"}  # noqa: S108 - shown, not opened
    field = FIELD_OF_UNIT[prepared.unit]
    value = prepared.values[domain]
    return [
        *(f"{key}: {yaml_string(place)}" for key, place in places.items()),
        "split: train",
        f"{field}: {whole(float(value)) if field == 'choose' else decimal(value)}",
    ]


def _epoch_size(prepared: PreparedMixture) -> int | None:
    """Return the samples of the whole training, where shares are relative to them."""
    budget, length = prepared.mixture.token_budget, prepared.mixture.sequence_length
    if budget is None or FIELD_OF_UNIT[prepared.unit] != "proportion":
        return None
    if prepared.unit is Unit.DOCUMENT_PROBABILITY:
        lengths = prepared.mixture.mean_document_tokens
        return round(sum(float(w) * budget / lengths[d] for d, w in prepared.shares.items()))
    return None if length is None else round(budget / length)


def _max_duration(prepared: PreparedMixture) -> str:
    if FIELD_OF_UNIT[prepared.unit] != "proportion":
        return "1ep"  # the epoch is the whole training
    budget = prepared.mixture.token_budget
    return "" if budget is None else f"{whole(budget)}tok"
