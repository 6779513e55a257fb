"""Which accounts there are and how they stand, from the policy log and the cluster."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from bianhe.schemas import names
from bianhe.schemas.errors import Rejected
from bianhe.schemas.policy import Policy


class UnknownAccount(Rejected):
    """No department or component of the bus has this account, or it is not enabled."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account that the policy log knows. An enabled one without a credential is drift."""

    code: str
    title: str
    enabled: bool
    credential: bool


def standing(policy: Policy, on_cluster: Set[str]) -> list[Account]:
    """Every account of the bus, components first."""
    components = [Account(name, "bus", True, name in on_cluster) for name in names.BUS_ACCOUNTS]
    departments = [
        Account(department.code, department.title, department.enabled, department.code in on_cluster)
        for department in policy.departments.values()
    ]
    return components + sorted(departments, key=lambda account: account.code)


def check_rotation(policy: Policy, code: str) -> None:
    """Raise UnknownAccount unless a new password may be issued to this account."""
    if code in (names.ROUTER_ACCOUNT, names.RELAY_ACCOUNT):
        return
    if code == names.ADMIN_ACCOUNT:
        raise UnknownAccount(
            f"{code} is the account that issues the others",
            cause="its password belongs to the broker's own set-up",
            cure="change it where the broker is set up",
        )
    if code not in policy.departments:
        raise UnknownAccount(f"{code} has no account", cure="bianhe account list")
    if not policy.departments[code].enabled:
        raise UnknownAccount(
            f"the account {code} is not enabled", cure="enable the department in the catalog, then again"
        )
