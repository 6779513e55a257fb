"""Sending a request again while a broker answers that it cannot do it now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from bianhe.infra.kafka.errors import BrokerBusy
from bianhe.schemas.errors import Transient

RETRY_SECONDS: Final = 0.05

T = TypeVar("T")


def patiently(attempt: Callable[[], T], timeout: float, passing: type[Transient] = BrokerBusy) -> T:
    """Return what the first attempt returns that does not raise `passing`; raise it when `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return attempt()
        except passing:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
