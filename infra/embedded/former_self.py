"""A broker that was killed is still registered, and its controller refuses the same broker until the session ends.

With the session of 60 s that busy machines need, a restart would take a minute. The broker says in its log that it is
refused; then its former self is unregistered (KIP-631, UnregisterBroker, which kafka-python does not have).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from bianhe.infra.embedded.server_properties import NODE_ID
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.session import Session

_REFUSED: Final = b"DUPLICATE_BROKER_REGISTRATION"
_UNREGISTER_BROKER: Final = 64


class FormerSelf:
    """Watches one start of the broker, from before it is launched. `controller` is the node's way to the controller."""

    def __init__(self, log: Path, controller: Connection) -> None:
        self._log = log
        self._read = log.stat().st_size if log.exists() else 0
        self._controller = controller

    def step_aside(self) -> None:
        """Unregister the former self if the broker was refused since the last call."""
        if self._refused():
            with Session(self._controller) as session:
                session.exchange(_unregister(NODE_ID))

    def _refused(self) -> bool:
        if not self._log.exists():
            return False
        if self._log.stat().st_size < self._read:
            # The log was turned over.
            self._read = 0
        with self._log.open("rb") as log:
            log.seek(self._read)
            fresh = log.read()
        self._read += len(fresh)
        return _REFUSED in fresh


def _unregister(node: int) -> bytes:
    """Request header v2 and body of UnregisterBroker v0, neither with tagged fields."""
    client = b"bianhe"
    header = struct.pack(f">hhih{len(client)}sb", _UNREGISTER_BROKER, 0, 1, len(client), client, 0)
    return header + struct.pack(">ib", node, 0)
