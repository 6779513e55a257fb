"""The one place that reads the wall clock; everything that decides is handed the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)


def millis() -> int:
    """The present instant, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
