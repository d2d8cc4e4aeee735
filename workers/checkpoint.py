"""Checkpoints of a group: one file, complete or not there, the last two kept.

A file is the SHA-256 of what follows and then the tensors. On a local or network file system it is
written beside, flushed to the disk and renamed; on an object store, whose writes are atomic, it is
put. There is no loader state: batches are a function of the step.
"""

import hashlib
import io
import os
import time
from typing import Any

import fsspec
import structlog
import torch

from workers.order import GroupOrder

_KEPT = 2
_HEAD = 64

log = structlog.get_logger()


class Checkpoints:
    """The checkpoints of one group.

    Args:
        uri: a folder, or an fsspec URI, that every worker reaches.
        order: what is trained; checkpoints of another order are not used.
        every_seconds: how often to save.
    """

    def __init__(self, uri: str, order: GroupOrder, every_seconds: float) -> None:
        self._files, root = fsspec.url_to_fs(uri)
        self._folder = f"{root.rstrip('/')}/{order.group}"
        self._is_local = "file" in self._files.protocol
        self._digest = hashlib.sha256(repr(order).encode()).hexdigest()
        self._every, self._next = every_seconds, time.monotonic() + every_seconds

    @property
    def is_due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self._next

    def save(self, number: int, state: dict[str, Any]) -> bool:
        """Save `state` under a number that rises; return whether it worked.

        A full disk, or storage that is away, is warned of and does not end the training: the next
        checkpoint tries again.
        """
        self._next = time.monotonic() + self._every
        buffer = io.BytesIO()
        torch.save({"order": self._digest, **state}, buffer)
        content = buffer.getvalue()
        try:
            self._write(f"{number:012d}.pt", hashlib.sha256(content).hexdigest().encode() + content)
            for old in self._names()[:-_KEPT]:
                self._files.rm(f"{self._folder}/{old}")
        except OSError as error:
            log.warning(
                "a checkpoint could not be saved, training goes on", at=self._folder, error=error
            )
            return False
        return True

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the newest state that is whole and of this order, or None."""
        for name in reversed(self._names()):
            content = self._files.cat_file(f"{self._folder}/{name}")
            if hashlib.sha256(content[_HEAD:]).hexdigest().encode() != content[:_HEAD]:
                log.warning("a checkpoint is damaged, taking the one before", name=name)
                continue
            state: dict[str, Any] = torch.load(
                io.BytesIO(content[_HEAD:]), map_location=device, weights_only=True
            )
            if state.pop("order") == self._digest:
                return state
            log.warning("a checkpoint is of another order and is not used", name=name)
        return None

    def delete(self) -> None:
        """Remove them all, once the group has been reported."""
        try:
            if self._files.exists(self._folder):
                self._files.rm(self._folder, recursive=True)
        except OSError as error:
            log.warning("checkpoints could not be removed", at=self._folder, error=error)

    def _names(self) -> list[str]:
        if not self._files.exists(self._folder):
            return []
        found = self._files.ls(self._folder, detail=False)
        return sorted(name.rsplit("/", 1)[-1] for name in found if name.endswith(".pt"))

    def _write(self, name: str, content: bytes) -> None:
        self._files.makedirs(self._folder, exist_ok=True)
        path = f"{self._folder}/{name}"
        if not self._is_local:
            self._files.pipe_file(path, content)
            return
        beside = f"{path}.{os.getpid()}.part"
        try:
            with open(beside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            if os.path.exists(beside):
                os.remove(beside)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
