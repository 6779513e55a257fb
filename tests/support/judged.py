"""What the independent checker says of a running city."""

from __future__ import annotations

from pathlib import Path

from bianhe.consumers.checker import kafka
from bianhe.consumers.checker.findings import Report
from bianhe.consumers.checker.judgement import check
from bianhe.infra.kafka.raw_log import RawLogs
from support.city import City

PSEUDONYM_KEY = bytes(32)
"""The one that `a_city` gives its routers."""


def judged(city: City, dump: Path | None = None) -> Report:
    """Judge the city's bus; with `dump` write one first."""
    connection = city.broker.connection()
    with RawLogs(connection) as logs:
        cluster = kafka.Cluster(logs, connection)
        if dump is not None:
            kafka.dump(cluster, dump)
        return check(cluster, PSEUDONYM_KEY)
