"""What the independent checker says of a running city."""

from __future__ import annotations

from bianhe.consumers.checker.findings import Report
from bianhe.consumers.checker.kafka import check_cluster
from support.city import City

PSEUDONYM_KEY = bytes(32)
"""The one that `a_city` gives its routers."""


def judged(city: City) -> Report:
    """Judge the city's bus."""
    return check_cluster(city.broker.connection(), PSEUDONYM_KEY)
