"""Checkpoints whose tensors are mapped from their files, a few at a time.

Pages of a mapped file count as memory of the process for as long as it is mapped, so a file is
mapped anew once enough of it was used.
"""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mixwright.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")
Opened = tuple[tuple[str, ...], Callable[[str], "torch.Tensor"]]
"""Names, and from a name to its tensor, mapped."""

SAFETENSORS: Final = (".safetensors",)
TORCH: Final = (".pt", ".pth", ".bin")
_INDEX = ".index.json"
_IN_FOLDERS = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
_STATES = ("model", "state_dict", "model_state_dict", "module")  # where trainers keep parameters


@dataclass(frozen=True, slots=True)
class Spec:
    """What a tensor is, without its numbers."""

    dtype: "torch.dtype"
    shape: tuple[int, ...]
    size: int
    """In bytes."""


class CheckpointFile:
    """One file of tensors.

    Attributes:
        path: of the file.
        specs: of its tensors, by name.
    """

    def __init__(self, path: Path, keep: int) -> None:
        """Open a file; `keep` bytes of it may stay mapped when a tensor was used.

        Raises:
            InvalidInputError: it cannot be read, or holds other things than tensors.
        """
        self.path, self._keep, self._used = path, keep, 0
        names, tensor = _opened(path)
        self.specs: Mapping[str, Spec] = {name: _spec_of(tensor(name)) for name in names}
        self._tensor: Callable[[str], torch.Tensor] | None = tensor

    def use(self, name: str, function: Callable[["torch.Tensor"], Result]) -> Result:
        """Return what a function makes of a tensor, of which it may keep nothing."""
        if self._tensor is None:
            self._tensor = _opened(self.path)[1]
        result = function(self._tensor(name))
        self._used += self.specs[name].size
        if self._used > self._keep:
            self._tensor, self._used = None, 0
        return result


class Checkpoint:
    """Tensors of one file, or of several that an index names.

    Attributes:
        path: as it was given.
        files: that hold its tensors.
        specs: of all tensors, by name.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Open a file, an index (`….index.json`), or a folder with either.

        Args:
            path: of the checkpoint.
            keep: bytes that may stay mapped in each of its files.

        Raises:
            InvalidInputError: a file is missing or broken, or is no checkpoint.
        """
        self.path = path
        found = path if path.is_file() else _inside(path)
        shards = _shards(found) if found.name.endswith(_INDEX) else {found: None}
        self.files = tuple(CheckpointFile(one, keep) for one in shards)
        self._file_of: dict[str, CheckpointFile] = {}
        for file, names in zip(self.files, shards.values(), strict=True):
            self._file_of |= dict.fromkeys(_listed(file, names), file)
        self.specs = {name: file.specs[name] for name, file in self._file_of.items()}

    def use(self, name: str, function: Callable[["torch.Tensor"], Result]) -> Result:
        """Return what a function makes of a tensor, of which it may keep nothing."""
        return self._file_of[name].use(name, function)


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


def _listed(file: CheckpointFile, names: Sequence[str] | None) -> Sequence[str]:
    """Return the tensors of a file that the index names, or all of them without an index."""
    lacking = next((name for name in names or () if name not in file.specs), None)
    if lacking is not None:
        raise _refusal(f"{file.path} has no tensor '{lacking}', though the index says so")
    return tuple(file.specs) if names is None else names


def _opened(path: Path) -> Opened:
    if path.suffix in SAFETENSORS:
        return _open_safetensors(path)
    if path.suffix in TORCH:
        return _open_torch(path)
    known = ", ".join((*SAFETENSORS, *TORCH, _INDEX))
    raise _refusal(f"{path} must end in one of {known}, or be a folder with such a file")


def _open_safetensors(path: Path) -> Opened:
    from safetensors import SafetensorError, safe_open

    try:
        handle: Any = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise _refusal(f"{path} is broken, or is no safetensors file: {error}") from error
    return tuple(handle.keys()), handle.get_tensor


def _open_torch(path: Path) -> Opened:
    import torch

    try:
        document = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, OSError, ValueError, EOFError) as error:
        first = str(error).split("\n")[0]
        raise _refusal(f"{path} is broken, or holds more than tensors: {first}") from error
    state = _state_of(document, path)
    return tuple(state), state.__getitem__


def _state_of(document: Any, path: Path) -> Mapping[str, "torch.Tensor"]:  # noqa: ANN401  - a pickle
    """Return the tensors by name of what a torch file holds."""
    import torch

    inner = [key for key in _STATES if isinstance(document, dict) and key in document]
    state = document[inner[0]] if inner and isinstance(document[inner[0]], dict) else document
    if not isinstance(state, dict) or not state:
        raise _refusal(f"{path} holds {type(document).__name__}; expected tensors by name")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise _refusal(
                f"'{name}' in {path} is no tensor but {type(value).__name__}; save the model's "
                f"state_dict alone, or under one of {', '.join(_STATES)}"
            )
    return state


def _spec_of(tensor: "torch.Tensor") -> Spec:
    return Spec(tensor.dtype, tuple(tensor.shape), tensor.numel() * tensor.element_size())


def _refusal(detail: str) -> InvalidInputError:
    return InvalidInputError(detail, field="checkpoints")


def files_of(checkpoints: Sequence[Checkpoint]) -> Iterator[Path]:
    """Yield the files of all checkpoints."""
    for checkpoint in checkpoints:
        yield from (file.path for file in checkpoint.files)
