"""The router process: `python -m bianhe.consumers.router <worker number>`."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from bianhe.consumers.router.kafka.worker import Worker
from bianhe.consumers.router.limits import Limits
from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load, read_secret
from bianhe.infra.telemetry import error_lines, logs_to_stderr, serve_metrics
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import ROUTER_ACCOUNT


def main() -> None:
    """Route until SIGTERM or Ctrl-C."""
    settings = load()
    logs_to_stderr(settings.log_format)
    # An event leaves no cycles behind, nor does a policy: looking for them takes a third of a cold start.
    gc.set_threshold(100_000)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    connection = component(settings.kafka, ROUTER_ACCOUNT)
    serve_metrics(settings.home, f"router-{sys.argv[1]}")
    key = bytes.fromhex(read_secret(settings.kafka.secrets / "pseudonym-key").get_secret_value())
    Worker(connection, int(sys.argv[1]), key, Limits(), _deadline).run(stopping.is_set)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """End the process, saying where it stood, if the block takes longer: the supervisor starts it anew."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _exit(code: int) -> NoReturn:
    """End at once: a client that is destroyed in the middle of a fault can wait for its broker for ever."""
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except BusError as error:
        print(error_lines(error), file=sys.stderr)
        _exit(1)
    except Exception:
        traceback.print_exc()
        _exit(1)
