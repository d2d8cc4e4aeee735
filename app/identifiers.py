"""Opaque identifiers that sort by creation."""

import secrets
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """Return `prefix_` and 26 hexadecimal digits: nanoseconds, then 40 random bits.

    Identifiers made by one process are strictly increasing; those of several processes sort as
    their clocks do.
    """
    global _last  # noqa: PLW0603  - the one counter of the process
    with _lock:
        _last = max(_last + 1, time.time_ns())
        stamp = _last
    return f"{prefix}_{stamp:016x}{secrets.token_hex(5)}"
