"""The monitors' process: `python -m bianhe.consumers.monitors`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from bianhe.consumers.monitors.streams import Monitors
from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load
from bianhe.infra.telemetry import error_lines, logs_to_stderr, serve_metrics
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import MONITOR_ACCOUNT


async def main() -> None:
    """Count until SIGTERM or Ctrl-C."""
    settings = load()
    logs_to_stderr(settings.log_format)
    # Where no broker answers it says so twenty times a second; the monitors say it themselves.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    monitors = Monitors(component(settings.kafka, MONITOR_ACCOUNT), settings.home / "monitors")
    serve_metrics(settings.home, "monitors")
    await monitors.run(stopping)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except BusError as error:
        print(error_lines(error), file=sys.stderr)
        sys.exit(1)
