"""The policy as a worker follows it: read to the end of its log before every transaction, never within one."""

from __future__ import annotations

import gc
from collections.abc import Callable

import structlog

from bianhe.consumers.router.kafka.writer import WorkerStops
from bianhe.consumers.router.plan import RoutingPlan, compile_plan
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.processes import not_collecting
from bianhe.schemas import names
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.signatures import PinnedKeys

log = structlog.get_logger("bianhe.router")


class FollowedPolicy:
    """What a worker knows of the policy log, and the plan by which it routes."""

    def __init__(
        self,
        connection: Connection,
        transactional_id: str,
        pseudonym_key: bytes | None,
        existing: Callable[[frozenset[str]], frozenset[str]],
    ) -> None:
        self._id = transactional_id
        self._pseudonym_key = pseudonym_key
        self._existing = existing
        """Which of some topics there are."""
        self._keys = PinnedKeys.parse(connection.policy_keys)
        self._log = LogReader(connection, names.POLICY, 0, group=names.ROUTER_GROUP)
        self._policy = EMPTY
        self._compiled = RoutingPlan(0, {})
        self.plan = self._compiled
        """The compiled plan, as far as its delivery topics exist."""
        self._topics: frozenset[str] = frozenset()
        """Delivery topics that were seen to exist; sync never deletes one."""

    def follow(self) -> bool:
        """Read the log to its end; tells whether there is another plan.

        Raises Transient where it could not: then it is asked again, and nothing may be routed until then. Raises
        BrokenPolicyLog, and WorkerStops where this worker was taken off the list of writers.
        """
        with not_collecting():
            another = self._read()
            if another:
                gc.freeze()
            return another

    def look_for_topics(self) -> bool:
        """Ask whether delivery topics that were not there are there now; tells whether there is another plan."""
        found = self._existing(self.plan.awaiting)
        if found:
            self._topics |= found
            self.plan = self._compiled.delivering_to(self._topics)
        return bool(found)

    def released(self, source: tuple[str, int]) -> int:
        """Before which offset of a source partition all that is bad may be quarantined."""
        return self._policy.released.get(source, 0)

    def _read(self) -> bool:
        records = self._keys.read(entry.value for entry in self._log.stream_to_end())
        if records:
            self._policy = fold(self._policy, records)
            if self._policy.writers and self._id not in self._policy.writers:
                self._wait_to_be_enlisted()
            else:
                before, self._compiled = self._compiled, compile_plan(self._policy, self._pseudonym_key, self._compiled)
                _tell_refused(before, self._compiled)
        # What was compiled before this worker was taken off the list is not followed either.
        if not self.plan.policy_version < self._compiled.policy_version == self._policy.version:
            return False
        # Where it cannot be asked which topics there are, the plan stays what every partition was brought to.
        plan = self._compiled.delivering_to(self._topics)
        if plan.awaiting:
            self._topics |= self._existing(plan.awaiting)
            plan = self._compiled.delivering_to(self._topics)
        if plan.awaiting:
            log.warning("not synced yet", topics=sorted(plan.awaiting))
        self.plan = plan
        return True

    def _wait_to_be_enlisted(self) -> None:
        """A revocation would not wait for this worker, so it must not write."""
        if self.plan.routes:
            raise WorkerStops(f"{self._id} is a writer no more")
        log.warning(
            "not enlisted",
            writers=len(self._policy.writers),
            cause=f"{self._id} is not below `routers` in the settings of the catalog's last import",
            cure="raise `routers` and import the catalog again, or start the worker under another number",
        )


def _tell_refused(before: RoutingPlan, now: RoutingPlan) -> None:
    for source, route in now.routes.items():
        for number, reason in route.refused.items() if route is not before.routes.get(source) else ():
            log.warning(
                "nothing is delivered",
                grant=number,
                cause=f"what the log grants is no view: {reason}",
                cure="revoke it and decide again; if the registry decided so, its version is older than the router's",
            )
