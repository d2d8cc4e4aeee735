"""What is still to be sent: a file of JSON lines, and a cursor up to where it has been.

A record is in the file before it is sent, and the cursor moves after it was answered. A process
killed between the two sends the record again, so whoever receives it has to know it by its step.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20  # bytes read at a time


class Spool:
    """Records that outlive the process, in the order they were appended.

    One process at a time may use a file; its threads may share it.

    Args:
        path: of the file; the cursor is beside it, with `.cursor` added to its name.

    Raises:
        OSError: the file cannot be written, or another process uses it (where the file system
            has locks).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cursor_path = path.with_name(path.name + ".cursor")
        self._lock = threading.Lock()
        self._emptied = 0  # times
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._take()
        self._end = self._mended_end()
        self._write_cursor(self._read_cursor())  # before anything makes a stale one look right

    def append(self, record: dict[str, Any]) -> int:
        """Write a record to the end; return the position after it."""
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            os.write(self._file, line)
            self._end += len(line)
            return self._end

    def pending(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield what has not been answered, each with the position after it.

        It ends once the file was emptied, whatever was appended since. A line that is no JSON
        object is passed over, with a warning.
        """
        position = self._cursor
        for line in self._lines(position):
            position += len(line)
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict):
                yield position, record
            else:
                _log.warning("%s: a damaged line before byte %d is left out", self.path, position)

    def advance(self, position: int) -> None:
        """Say that everything before a position was answered; empty the file if that is all."""
        with self._lock:
            if position < self._end:
                self._write_cursor(position)
                return
            # In this order: a cursor beyond the end, left by a crash here, is known for stale.
            os.ftruncate(self._file, 0)
            self._end, self._emptied = 0, self._emptied + 1
            self._write_cursor(0)

    def is_empty(self) -> bool:
        """Say whether everything was answered."""
        with self._lock:
            return self._cursor == self._end

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _take(self) -> None:
        """Keep other processes out, until this one ends: each would empty the file of both."""
        with contextlib.suppress(ImportError):  # where there is no POSIX
            import fcntl

            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                self.close()
                raise BlockingIOError(
                    f"another process uses {self.path}: end it, or take another folder"
                ) from None
            except OSError as error:
                _log.info("%s is not locked: %s", self.path, error)

    def _lines(self, position: int) -> Iterator[bytes]:
        rest, emptied = b"", self._emptied
        while emptied == self._emptied:
            chunk = os.pread(self._file, _CHUNK, position + len(rest))
            if not chunk:
                return
            lines = (rest + chunk).splitlines(keepends=True)
            rest = lines.pop() if not lines[-1].endswith(b"\n") else b""
            position += sum(map(len, lines))
            for line in lines:
                yield line
                if emptied != self._emptied:
                    return

    def _mended_end(self) -> int:
        """Return the size of the file, without the half line that a killed process left."""
        size = os.fstat(self._file).st_size
        start, tail = size, b""
        while start > 0 and b"\n" not in tail:
            step = min(_CHUNK, start)
            start -= step
            tail = os.pread(self._file, step, start) + tail
        end = start + tail.rfind(b"\n") + 1
        if end < size:
            _log.warning("%s: half a line at its end is left out", self.path)
            os.ftruncate(self._file, end)
        return end

    def _read_cursor(self) -> int:
        try:
            cursor = int(self._cursor_path.read_text())
        except (FileNotFoundError, ValueError):
            return 0  # all is sent again, which does no harm
        return cursor if 0 <= cursor <= self._end else 0

    def _write_cursor(self, position: int) -> None:
        temporary = self._cursor_path.with_name(self._cursor_path.name + ".new")
        temporary.write_text(str(position))
        temporary.replace(self._cursor_path)
        self._cursor = position
