"""`mixwright average`: one checkpoint from several."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import Answer, AsJson, output

if TYPE_CHECKING:
    from mixwright.arrays import FloatArray
    from mixwright.checkpoints.averaging import Averaged


class Method(StrEnum):
    """Which weights checkpoints have."""

    simple = "simple"
    linear = "linear"
    exponential = "exponential"


class Dtype(StrEnum):
    """Of what is written."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float64 = "float64"


def average(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="CKPT…", help="Oldest first: files, indexes or folders.")
    ],
    out: Annotated[Path, typer.Option(help="To write: .safetensors, or .pt, .pth, .bin.")],
    method: Annotated[
        Method | None, typer.Option(help="Weights: even (the default), or more for newer.")
    ] = None,
    decay: Annotated[
        float | None, typer.Option(help="Of exponential weights, between 0 and 1; 0.5 if not said.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="W1,W2,…: weights of your own, one for each.")
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="The checkpoints' own if not said.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the mean of checkpoints, in fp32, with a few megabytes of them in memory at a time.

    Safetensors and torch files, one or several with an index. With --json, the SHA-256 of every
    file too, for which they are read once more.
    """
    from mixwright.checkpoints.averaging import average_checkpoints

    answer, shares = Answer(as_json), _weights(len(checkpoints), method, decay, weights)
    with answer.progress("averaging") as tell:
        averaged = average_checkpoints(checkpoints, out, shares, dtype, tell)
    if as_json:
        answer.give(_document(averaged, checkpoints, out), lambda: None)
    else:
        _show(averaged, checkpoints, out)


def _weights(
    count: int, method: Method | None, decay: float | None, weights: str | None
) -> "FloatArray":
    """Return the weights that were asked for, `(count,)`."""
    import numpy as np

    from mixwright.schedules.averaging import weights_for

    if decay is not None and method is not Method.exponential:
        raise typer.BadParameter("it goes with --method exponential", param_hint="--decay")
    if weights is None:
        return weights_for(method or "simple", count, 0.5 if decay is None else decay)
    if method is not None:
        raise typer.BadParameter("give either these or --method", param_hint="--weights")
    try:
        return np.array([float(one) for one in weights.split(",")])
    except ValueError as error:
        raise typer.BadParameter(
            f"'{weights}' are not numbers with commas between them", param_hint="--weights"
        ) from error


def _document(averaged: "Averaged", checkpoints: list[Path], out: Path) -> dict[str, Any]:
    from mixwright.checkpoints.averaging import sha256_of

    given = [Path(file) for files in averaged.files for file in files]
    hashes = dict(zip([*given, out], sha256_of([*given, out]), strict=True))

    def told(path: Path) -> dict[str, Any]:
        return {"path": str(path), "sha256": hashes[path], "bytes": path.stat().st_size}

    inputs = [
        {"checkpoint": str(path), "weight": weight, "files": [told(Path(file)) for file in files]}
        for path, weight, files in zip(checkpoints, averaged.weights, averaged.files, strict=True)
    ]
    return {
        "inputs": inputs,
        "output": told(out),
        "averaged": averaged.averaged,
        "kept": averaged.kept,
    }


def _show(averaged: "Averaged", checkpoints: list[Path], out: Path) -> None:
    table = Table("checkpoint", title=str(out))
    table.add_column("weight", justify="right")
    for path, weight in zip(checkpoints, averaged.weights, strict=True):
        table.add_row(str(path), f"{weight:.4f}")
    output.print(table)
    output.print(
        f"{averaged.averaged} tensors averaged, {averaged.kept} the same in all; "
        f"{averaged.size / 1e9:.3g} GB."
    )
