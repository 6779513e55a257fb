"""The registry process: `python -m bianhe.registry` serves HTTP, relays the outbox and carries revocations out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
import uvicorn

from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.infra.telemetry import error_lines, logs_to_stderr, serve_metrics
from bianhe.registry.deliveries.kafka import Deliveries
from bianhe.registry.http import create_app
from bianhe.registry.migrations import is_new, upgrade
from bianhe.registry.policy.chain import check_origin
from bianhe.registry.policy.kafka import Relay, ShutOut, read_policy, signing_key
from bianhe.registry.quarantine.kafka import Notes
from bianhe.registry.revocation.kafka import Revocations
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import ADMIN_ACCOUNT, RELAY_ACCOUNT
from bianhe.schemas.signatures import Role

Task = Callable[[threading.Event], None]

log = structlog.get_logger("bianhe.registry")


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; 1 where relay or revocations ended by themselves.

    75 (EX_TEMPFAIL) where another registry has the policy log: whoever starts this one again waits a while.
    """
    settings = load()
    logs_to_stderr(settings.log_format)
    database = engine(settings.database, pooled=True)
    admin = component(settings.kafka, ADMIN_ACCOUNT)
    if is_new(database):
        check_origin(read_policy(admin), known=False)
    upgrade(database)
    serve_metrics(settings.home, "registry")
    relay = Relay(component(settings.kafka, RELAY_ACCOUNT), database, signing_key(settings.kafka.secrets, Role.RELAY))
    address = urlsplit(settings.registry)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(database, Notes(admin).of, Deliveries(admin).written),
            host=address.hostname or "127.0.0.1",
            port=address.port or 8080,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    )
    with Revocations(admin, database) as revocations:
        failed = _serve(server, {"relay": relay.run, "revocations": revocations.run})
    if any(isinstance(fault, ShutOut) for fault in failed):
        return os.EX_TEMPFAIL
    return 1 if failed else 0


def _serve(server: uvicorn.Server, tasks: dict[str, Task]) -> list[Exception]:
    """Run the server with its tasks until any of them ends; the faults by which tasks ended."""
    stopping, failed = threading.Event(), list[Exception]()

    def run(name: str, task: Task) -> None:
        try:
            task(stopping)
        except BusError as fault:
            log.error("task ends", task=name, fault=str(fault), cause=fault.cause, cure=fault.cure)
            failed.append(fault)
        except Exception as bug:
            log.exception("task ends", task=name)
            failed.append(bug)
        finally:
            # A registry whose decisions no longer reach the log must not go on as if they did.
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn handles them while it serves, and hands them on when it has ended.
        signal.signal(number, lambda *_: stopping.set())
    threads = [threading.Thread(target=run, args=task, name=task[0]) for task in tasks.items()]
    for thread in threads:
        thread.start()
    try:
        server.run()
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BusError as error:
        print(error_lines(error), file=sys.stderr)
        sys.exit(1)
