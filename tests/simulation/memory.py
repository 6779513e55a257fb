"""What every history would work out again: records of the policy log, their fold, the plans. Pure, so remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from bianhe.consumers.router.plan import RoutingPlan, compile_plan
from bianhe.schemas.contract import Contract
from bianhe.schemas.policy import GrantState, Policy, fold
from bianhe.schemas.records.policy import PolicyRecord
from bianhe.schemas.signatures import SEED_BYTES, PinnedKeys, Role, SigningKey
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import View

REMEMBERED_MAX: Final = 4000
RELAY: Final = SigningKey(bytes(SEED_BYTES))
POLICY_KEYS: Final = PinnedKeys({}).pinning(Role.RELAY, RELAY).text
KEYS: Final = PinnedKeys.parse(POLICY_KEYS)


class Contracts:
    """Stands in the place of `Contract`."""

    parse = staticmethod(cache(Contract.parse))


class Memory:
    """Stands in the place of `PinnedKeys`, `fold`, `compile_plan` and `Slicer`, and asks them once each."""

    def __init__(self) -> None:
        self._records: dict[bytes, PolicyRecord] = {}
        self._folded: dict[tuple[str, tuple[int, ...]], Policy] = {}
        self._plans: dict[tuple[str, ...], RoutingPlan] = {}
        self._slicers: dict[object, Slicer] = {}

    def parse(self, text: str) -> Memory:
        """Whoever reads believes the simulated relay."""
        return self

    def read(self, values: Iterable[bytes | None]) -> list[PolicyRecord]:
        return [self._decoded(value or b"") for value in values]

    def _decoded(self, value: bytes) -> PolicyRecord:
        if value not in self._records:
            if len(self._records) > REMEMBERED_MAX:
                self._records.clear()
                self._folded.clear()
            [self._records[value]] = KEYS.read([value])
        return self._records[value]

    def fold(self, policy: Policy, records: Sequence[PolicyRecord]) -> Policy:
        # Every record is kept by `_records`, so its identity is its own.
        key = policy.head, tuple(map(id, records))
        if key not in self._folded:
            self._folded[key] = fold(policy, records)
        return self._folded[key]

    def slicer(self, contract: Contract, views: Sequence[tuple[View, bytes | None]]) -> Slicer:
        # Every contract is kept by `Contracts`.
        key = id(contract), tuple((view.identity, secret) for view, secret in views)
        if key not in self._slicers:
            self._slicers[key] = Slicer(contract, views)
        return self._slicers[key]

    def compile_plan(self, policy: Policy, key: bytes | None, previous: RoutingPlan | None = None) -> RoutingPlan:
        active = tuple(number for number, grant in policy.grants.items() if grant.state is GrantState.ACTIVE)
        still = [number for number, grant in policy.grants.items() if grant.state is GrantState.SUSPENDED]
        known = (
            *active,
            "still",
            *still,
            *map(str, policy.stops),
            *policy.open_channels,
            *(str(resource) for resource in policy.resources),
        )
        plan = compile_plan(policy, key, self._plans.get(known, previous))
        self._plans[known] = plan
        return plan
