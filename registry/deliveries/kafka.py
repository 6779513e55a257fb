"""How far the router has written delivery topics: what a subscriber holds its own end against."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock
from typing import Any, Final

from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import read_to_ends
from bianhe.schemas import names
from bianhe.schemas.records.state import POSITION_PARTITIONS, Manifest, ViewPosition

_MANIFEST: Final = "manifest"
Place = tuple[str, int]
"""A delivery topic and one of its partitions."""


class Deliveries:
    """Follows `bus.router-state`, read on at each question; for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._consumer = clients.end_consumer(connection, connection.account, "read_committed")
        self._positions = {(names.ROUTER_STATE, number): 0 for number in range(POSITION_PARTITIONS)}
        self._views: dict[Place, ViewPosition] = {}
        self._manifests: dict[Place, Manifest] = {}
        self._turn = Lock()

    def written(self, topics: Collection[str]) -> list[dict[str, Any]]:
        """Of each partition of these topics the last `bus_seq`, where its view began, and what its first load gave."""
        with self._turn:
            self._read_on()
            return [
                {
                    "topic": topic,
                    "partition": partition,
                    "seq": view.seq,
                    "begin": view.begin,
                    "first_load": _facts(self._manifests.get((topic, partition))),
                }
                for (topic, partition), view in sorted(self._views.items())
                if topic in topics
            ]

    def _read_on(self) -> None:
        for message in read_to_ends(self._connection, self._consumer, self._positions):
            key, value = message.key(), message.value()
            if isinstance(key, bytes) and isinstance(value, bytes):
                self._take(key.decode().split("/"), value)

    def _take(self, key: list[str], value: bytes) -> None:
        match key:
            case [kind, _, partition, topic] if kind == _MANIFEST:
                self._manifests[topic, int(partition)] = Manifest.decode(value)
            case [source, partition, topic] if source.startswith(names.SOURCE_PREFIX):
                self._views[topic, int(partition)] = ViewPosition.decode(value)


def _facts(manifest: Manifest | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    return {name: getattr(manifest, name) for name in Manifest.__slots__}
