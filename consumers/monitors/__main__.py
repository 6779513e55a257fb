"""The monitors' process: `python -m bianhe.consumers.monitors`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Final

from bianhe.consumers.monitors.streams import Monitors
from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load
from bianhe.infra.telemetry import error_lines, logs_to_stderr, serve_metrics
from bianhe.schemas.errors import BusError, Transient
from bianhe.schemas.names import MONITOR_ACCOUNT

_LEAVE_SECONDS: Final = 10.0


async def main() -> None:
    """Count until SIGTERM or Ctrl-C."""
    settings = load()
    logs_to_stderr(settings.log_format)
    # Where no broker answers it says so twenty times a second; the monitors say it themselves.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        # Faust waits for its brokers for ever; what it has counted stands there.
        loop.call_later(_LEAVE_SECONDS, _leave)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    monitors = Monitors(component(settings.kafka, MONITOR_ACCOUNT), settings.home / "monitors")
    serve_metrics(settings.home, "monitors")
    await monitors.run(stopping)


def _leave() -> None:
    waited = Transient(
        f"the monitors did not come to their end in {_LEAVE_SECONDS:.0f} s",
        cause="no broker answers",
        cure="none is needed: they count on from where they were",
    )
    print(error_lines(waited), file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except BusError as error:
        print(error_lines(error), file=sys.stderr)
        sys.exit(1)
