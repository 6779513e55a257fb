"""What the independent checker says of a running city."""

from __future__ import annotations

from bianhe.consumers.checker.findings import Report
from bianhe.consumers.checker.kafka import check_cluster
from bianhe.registry.accounts.kafka import lent
from bianhe.schemas.names import CHECKER_ACCOUNT
from support.city import City

PSEUDONYM_KEY = bytes(32)
"""The one that `a_city` gives its routers."""


def judged(city: City) -> Report:
    """Judge the city's bus, by the checker's own account."""
    with lent(city.broker.connection(), CHECKER_ACCOUNT) as connection:
        return check_cluster(connection, PSEUDONYM_KEY)
