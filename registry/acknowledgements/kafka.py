"""What the router's writers have acknowledged of the policy log."""

from __future__ import annotations

from typing import Final

from bianhe.infra.closing import Closing
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.records.state import Acknowledgement, worker_key, worker_partition

_NONE: Final = Acknowledgement(0)


class Acknowledgements(Closing):
    """Which policy version each writer of the router has acknowledged. Use it in a `with` block, or close it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._states: dict[int, LogReader] = {}
        self._latest: dict[str, Acknowledgement] = {}

    def close(self) -> None:
        for state in self._states.values():
            state.close()

    def of(self, writer: str) -> Acknowledgement:
        """The latest acknowledgement of a writer by now, of version 0 if there is none."""
        partition = worker_partition(writer)
        if partition not in self._states:
            self._states[partition] = LogReader(
                self._connection, names.ROUTER_STATE, partition, group=self._connection.account
            )
        for record in self._states[partition].read_to_end():
            key = (record.key or b"").decode()
            if record.value is not None and key.startswith(worker_key("")):
                self._take(key, Acknowledgement.decode(record.value))
        return self._latest.get(worker_key(writer), _NONE)

    def _take(self, key: str, told: Acknowledgement) -> None:
        # A fence and the writer that follows it may come in either order.
        if told.policy_version > self._latest.get(key, _NONE).policy_version:
            self._latest[key] = told
