"""How far a decision has come on its way onto the policy log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_WAIT_SECONDS: Final = 1.0


def reached(number: Callable[[], int | None]) -> str:
    """`policy 318` once the relay has numbered a decision; otherwise, after a short wait, that it waits."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (found := number()) is None:
        if time.monotonic() > deadline:
            return "policy: waiting for the relay"
        time.sleep(0.05)
    return f"policy {found}"
