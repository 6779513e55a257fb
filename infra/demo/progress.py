"""How far the bus is, from its own journal (投递台账), and what it says was written and kept back."""

from __future__ import annotations

from collections import Counter

from bianhe.infra.closing import Closing
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.records.journal import JournalEntry


class Journal(Closing):
    """Totals over the journal, brought up to date by `read`. Use it in a `with` block."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self.routed: Counter[str] = Counter()
        """Source records by source topic."""
        self.written: Counter[str] = Counter()
        """Delivery records by delivery topic."""
        self.kept_back: Counter[str] = Counter()
        self.quarantined = 0
        self._readers = [
            LogReader(connection, names.JOURNAL, partition, group=connection.account) for partition in range(partitions)
        ]

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def read(self) -> None:
        """Take in what was committed since the last time."""
        for reader in self._readers:
            for record in reader.read_to_end():
                assert record.key is not None
                assert record.value is not None
                source, _, place = record.key.decode().partition("/")
                self._take(source, "/" in place, JournalEntry.decode(record.value))

    def _take(self, source: str, loaded: bool, entry: JournalEntry) -> None:
        if not loaded:
            self.routed[source] += entry.end - entry.begin
        self.quarantined += entry.quarantined
        for view in entry.views:
            self.written[view.topic] += view.records
            self.kept_back[view.topic] += view.kept_back
