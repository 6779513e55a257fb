"""The registry process: `python -m bianhe.registry` serves HTTP and relays the outbox onto the policy log."""

from __future__ import annotations

import signal
import sys
import threading
from urllib.parse import urlsplit

import structlog
import uvicorn

from bianhe.infra.kafka.components import component
from bianhe.infra.settings import load
from bianhe.infra.sql import engine
from bianhe.infra.telemetry import logs_to_stderr
from bianhe.registry.http import create_app
from bianhe.registry.migrations import upgrade
from bianhe.registry.policy.kafka import Relay, signing_key
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import RELAY_ACCOUNT
from bianhe.schemas.signatures import Role

log = structlog.get_logger("bianhe.registry")


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; 1 where the relay cannot be trusted to go on."""
    settings = load()
    logs_to_stderr(settings.log_format)
    database = engine(settings.database, pooled=True)
    upgrade(database)
    relay = Relay(component(settings.kafka, RELAY_ACCOUNT), database, signing_key(settings.kafka.secrets, Role.RELAY))
    address = urlsplit(settings.registry)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(database),
            host=address.hostname or "127.0.0.1",
            port=address.port or 8080,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    )
    failed = _serve(server, relay)
    return 1 if failed else 0


def _serve(server: uvicorn.Server, relay: Relay) -> bool:
    """Run server and relay until either ends; whether the relay ended by a fault."""
    stopping, failed = threading.Event(), threading.Event()

    def run_relay() -> None:
        try:
            relay.run(stopping)
        except BusError as fault:
            log.error("relay ends", fault=str(fault), cause=fault.cause, cure=fault.cure)
            failed.set()
        finally:
            # A registry whose decisions no longer reach the log must not go on as if they did.
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn handles them while it serves, and hands them on when it has ended.
        signal.signal(number, lambda *_: stopping.set())
    thread = threading.Thread(target=run_relay, name="relay")
    thread.start()
    try:
        server.run()
    finally:
        stopping.set()
        thread.join()
    return failed.is_set()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BusError as error:
        print(f"registry: {error} ({error.cause})", file=sys.stderr)
        sys.exit(1)
