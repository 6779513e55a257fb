"""What every history would work out again: records of the policy log, their fold, the plans. Pure, so remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, TypeVar

from bianhe.consumers.router.plan import RoutingPlan, compile_plan
from bianhe.schemas.contract import Contract
from bianhe.schemas.policy import GrantState, Policy, fold
from bianhe.schemas.records.journal import JournalEntry, Quarantined
from bianhe.schemas.records.policy import PolicyRecord
from bianhe.schemas.records.state import Acknowledgement, Manifest, Position, Standstill, ViewPosition
from bianhe.schemas.signatures import SEED_BYTES, PinnedKeys, Role, SigningKey
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import View

REMEMBERED_MAX: Final = 2_000
"""With ten times as many a history takes as long, and a process more memory; with a seventh of it a tenth longer."""
RELAY: Final = SigningKey(bytes(SEED_BYTES))
POLICY_KEYS: Final = PinnedKeys({}).pinning(Role.RELAY, RELAY).text


class Contracts:
    """Stands in the place of `Contract`."""

    parse = staticmethod(cache(Contract.parse))


Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(dict[Key, Value]):
    """Forgets everything before it becomes large."""

    def __setitem__(self, key: Key, value: Value) -> None:
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        super().__setitem__(key, value)


RECORDS: Final = Remembered[bytes, PolicyRecord]()
"""By their bytes; whoever writes one puts it here, so that nobody has to read it. Most are not signed."""


def _remembering(record: Any) -> dict[str, Any]:
    """What stands in the place of the codec of a frozen record: what was written need not be read."""
    encode, decode = record.encode, record.decode
    written, read = Remembered[Any, bytes](), Remembered[bytes, Any]()

    def encoded(self: Any) -> bytes:
        value = written.get(self)
        if value is None:
            value = written[self] = encode(self)
            read[value] = self
        return value

    def decoded(value: bytes) -> Any:
        found = read.get(value)
        if found is None:
            found = read[value] = decode(value)
        return found

    return {"encode": encoded, "decode": staticmethod(decoded)}


CODECS: Final = {
    record: _remembering(record)
    for record in (Position, ViewPosition, Manifest, Standstill, Acknowledgement, JournalEntry, Quarantined)
}
"""By the record whose own they stand in the place of."""


class Memory:
    """Stands in the place of `PinnedKeys`, `fold`, `compile_plan` and `Slicer`, and asks them once each.

    A head of the policy log tells all that is before it: what follows from the log is remembered under it.
    """

    def __init__(self) -> None:
        self._folded = Remembered[tuple[str, str], Policy]()
        self._plans = Remembered[str, RoutingPlan]()
        self._alike = Remembered[tuple[str, ...], RoutingPlan]()
        self._slicers: dict[object, Slicer] = {}

    def parse(self, text: str) -> Memory:
        """Whoever reads believes the simulated relay."""
        return self

    def read(self, values: Iterable[bytes | None]) -> list[PolicyRecord]:
        return [self._decoded(value or b"") for value in values]

    def _decoded(self, value: bytes) -> PolicyRecord:
        record = RECORDS.get(value)
        if record is None:
            record = RECORDS[value] = PolicyRecord.decode(value)
        return record

    def fold(self, policy: Policy, records: Sequence[PolicyRecord]) -> Policy:
        key = policy.head, records[-1].hash
        folded = self._folded.get(key)
        if folded is None:
            folded = self._folded[key] = fold(policy, records)
        return folded

    def slicer(self, contract: Contract, views: Sequence[tuple[View, bytes | None]]) -> Slicer:
        # Every contract is kept by `Contracts`.
        key = id(contract), tuple((view.identity, secret) for view, secret in views)
        if key not in self._slicers:
            self._slicers[key] = Slicer(contract, views)
        return self._slicers[key]

    def compile_plan(self, policy: Policy, key: bytes | None, previous: RoutingPlan | None = None) -> RoutingPlan:
        plan = self._plans.get(policy.head)
        if plan is None:
            active = tuple(number for number, grant in policy.grants.items() if grant.state is GrantState.ACTIVE)
            still = [number for number, grant in policy.grants.items() if grant.state is GrantState.SUSPENDED]
            alike = (*sorted(active), "still", *sorted(still), *map(str, policy.stops), *policy.open_channels)
            like = self._alike.get(alike)
            plan = compile_plan(policy, key, previous) if like is None else replace(like, policy_version=policy.version)
            self._plans[policy.head] = self._alike[alike] = plan
        return plan


MEMORY: Final = Memory()
