"""Checkpoints: one file of tensors, several that an index names, or a folder with either."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from mixwright.checkpoints.stored import Stored, in_safetensors, in_torch
from mixwright.errors import InvalidInputError

SAFETENSORS: Final = (".safetensors",)
TORCH: Final = (".pt", ".pth", ".bin")
_INDEX = ".index.json"
_IN_FOLDERS = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)


class Checkpoint:
    """Tensors of one file, or of several that an index names.

    Attributes:
        path: as it was given.
        files: that hold its tensors.
        tensors: where they are, by name.
    """

    def __init__(self, path: Path) -> None:
        """Look into a file, an index (`….index.json`), or a folder with either.

        Raises:
            InvalidInputError: a file is missing or broken, or is no checkpoint.
        """
        self.path = path
        found = path if path.is_file() else _inside(path)
        shards = _shards(found) if found.name.endswith(_INDEX) else {found: None}
        self.files = tuple(shards)
        self.tensors: dict[str, Stored] = {}
        for file, names in shards.items():
            self.tensors |= _listed(file, names)


def _inside(path: Path) -> Path:
    """Return the file of a folder that is its checkpoint."""
    if not path.is_dir():
        raise _refusal(f"{path} does not exist; give a checkpoint's file, index or folder")
    for name in _IN_FOLDERS:
        if (path / name).is_file():
            return path / name
    raise _refusal(f"{path} has none of {', '.join(_IN_FOLDERS)}; give the file itself")


def _shards(index: Path) -> dict[Path, Sequence[str] | None]:
    """Return the files that an index names, and the tensors in each."""
    try:
        placed = json.loads(index.read_text())["weight_map"]
        files: dict[Path, Sequence[str] | None] = {
            index.parent / file: [name for name in placed if placed[name] == file]
            for file in sorted(set(placed.values()))
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refusal(f"{index} is no index with a 'weight_map' from tensors to files") from error
    for file in files:
        if not file.is_file():
            raise _refusal(f"{index} names {file.name}, which is not beside it; complete the copy")
    return files


def _listed(path: Path, names: Sequence[str] | None) -> Mapping[str, Stored]:
    """Return the tensors of a file that the index names, or all of them without an index."""
    tensors = _tensors_in(path)
    if names is None:
        return tensors
    lacking = next((name for name in names if name not in tensors), None)
    if lacking is not None:
        raise _refusal(f"{path} has no tensor '{lacking}', though the index says so")
    return {name: tensors[name] for name in names}


def _tensors_in(path: Path) -> Mapping[str, Stored]:
    if path.suffix in SAFETENSORS:
        return in_safetensors(path)
    if path.suffix in TORCH:
        return in_torch(path)
    known = ", ".join((*SAFETENSORS, *TORCH, _INDEX))
    raise _refusal(f"{path} must end in one of {known}, or be a folder with such a file")


def _refusal(detail: str) -> InvalidInputError:
    return InvalidInputError(detail, field="checkpoints")


def files_of(checkpoints: Sequence[Checkpoint]) -> Iterator[Path]:
    """Yield the files of all checkpoints."""
    for checkpoint in checkpoints:
        yield from checkpoint.files
