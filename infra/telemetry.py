"""What a process tells of itself: logs as facts, and metrics, whose names all stand here.

Never a key's owner, a value or a secret: labels are resources, topics and kinds. Gauges and counters are set per
transaction or per round, never per event.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Final, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from bianhe.infra.settings import write_private
from bianhe.schemas.errors import BusError

PROCESS: Final = Gauge("bianhe_process", "1 for the process that answers", ["process"])

ROUTER_EVENTS: Final = Counter("bianhe_router_events", "Source records routed", ["source"])
ROUTER_QUARANTINED: Final = Counter("bianhe_router_quarantined", "Source records set aside", ["source"])
ROUTER_DELIVERIES: Final = Counter("bianhe_router_deliveries", "Records written to delivery topics", ["source"])
ROUTER_ABORTS: Final = Counter("bianhe_router_aborts", "Transactions that were given up and routed again")
ROUTER_TRANSACTION_SECONDS: Final = Histogram(
    "bianhe_router_transaction_seconds",
    "From the first record of a transaction to its commit",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)
ROUTER_POLICY: Final = Gauge("bianhe_router_policy_version", "Policy version that a worker routes under")

REGISTRY_REQUESTS: Final = Counter("bianhe_registry_requests", "Answers of the registry, by HTTP status", ["code"])
RELAY_RECORDS: Final = Counter("bianhe_relay_records", "Records written onto the policy log")

MONITOR_EVENTS: Final = Gauge("bianhe_monitor_events", "Events in the last whole window", ["resource", "window"])
MONITOR_HOUR_EVENTS: Final = Gauge("bianhe_monitor_hour_events", "Events in the last 60 minutes", ["resource"])
MONITOR_QUARANTINED: Final = Gauge(
    "bianhe_monitor_quarantined", "Events set aside in the last whole window", ["resource", "window"]
)
MONITOR_DELIVERIES: Final = Gauge(
    "bianhe_monitor_deliveries", "Records written in the last whole window", ["resource", "topic", "window"]
)
MONITOR_AGE_SECONDS: Final = Gauge("bianhe_monitor_age_seconds", "Since the last event", ["resource"])
MONITOR_CYCLE_SECONDS: Final = Gauge(
    "bianhe_monitor_cycle_seconds", "Longest time between two events that the provider declares", ["resource"]
)
MONITOR_ALERTS: Final = Gauge("bianhe_monitor_alerts", "Alerts that are raised", ["kind"])


def logs_to_stderr(style: Literal["text", "json"]) -> None:
    """Send this process's logs, and those of the libraries, to standard error."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")


def error_lines(error: BusError) -> str:
    """An error with its cause and cure, as the command line tells it: a line each."""
    return "\n".join(f"{word:5}  {text}" for word, text in error.lines)


def serve_metrics(home: Path, process: str) -> None:
    """Serve this process's metrics on a free port of 127.0.0.1, and write down where.

    `<home>/metrics/<process>.json` is a target file of Prometheus (file_sd); `bianhe status` reads it too.
    """
    PROCESS.labels(process).set(1)
    server, _ = start_http_server(0, "127.0.0.1")
    target = {"targets": [f"127.0.0.1:{server.server_port}"], "labels": {"process": process}}
    write_private(home / "metrics" / f"{process}.json", json.dumps([target]))
