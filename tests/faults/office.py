"""The administrator of a city under faults: decides in the background, and asks until the registry has done it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaException

from bianhe.registry.revocation.kafka import watch
from bianhe.registry.revocation.step import Done
from bianhe.schemas.errors import BusError
from bianhe.schemas.names import mailbox
from bianhe.schemas.records.policy import Body, Granted, Revoked
from support.policy_bodies import granted
from support.policy_bus import PolicyBus

MAILBOXES_MAX: Final = 4
_SHAPES: Final = (
    ("residence_division prefix 410212", ()),
    ("", ("name=first:1",)),
    ("residence_division = 410202", ("citizen_id=pseudonym",)),
    ("", ("citizen_id=first:6", "name=null")),
)
_RETRY_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 5.0


class Office:
    """Decides in a thread of its own, one thing after another."""

    def __init__(self, bus: PolicyBus) -> None:
        self._bus = bus
        self._todo: queue.Queue[Callable[[], object]] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.granted = 0
        """How many grants there ever were."""
        self._open: list[str] = []
        self.closed: list[str] = []
        """Grants whose revocation is complete."""
        self.faults: list[str] = []
        """What nobody expected."""
        self._thread.start()

    def grant(self) -> bool:
        """Give a department a mailbox of its own; False where there are enough."""
        if len(self._open) >= MAILBOXES_MAX:
            return False
        self.granted += 1
        body = a_grant(self.granted)
        self._open.append(body.grant.number)
        self._todo.put(lambda: self._decide(body))
        return True

    def revoke(self) -> bool:
        """Revoke the oldest mailbox; False where there is none."""
        if not self._open:
            return False
        number = self._open.pop(0)
        self._todo.put(lambda: self._revoke(number))
        return True

    def another_relay(self) -> None:
        """Relay once as the registry of a second machine does: the one that runs is shut out by its next record."""
        self._todo.put(lambda: self._again(self._take_over))

    @property
    def waiting(self) -> int:
        """How many decisions are not carried out yet."""
        return self._todo.unfinished_tasks

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _decide(self, body: Body) -> None:
        self._bus.queue(body)
        self._again(self._bus.wait_until_numbered)
        self._again(self._bus.apply)

    def _revoke(self, number: str) -> None:
        self._bus.queue(Revoked(grant=number, ground="purpose-met", decided_by="security"))
        self._again(lambda: self._see_closed(number))

    def _see_closed(self, number: str) -> None:
        *_, last = watch(self._bus.admin, self._bus.engine, number, _PATIENCE_SECONDS)
        assert isinstance(last, Done)
        self.closed.append(number)

    def _take_over(self) -> None:
        relay = self._bus.another_relay()
        try:
            relay.drain()
        finally:
            relay.close()

    def _again(self, act: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            try:
                act()
            except (BusError, KafkaException, AssertionError):
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                act = self._todo.get(timeout=0.1)
            except queue.Empty:
                continue
            try:
                act()
            except Exception as error:
                self.faults.append(f"administrator: {type(error).__name__}: {error}")
            self._todo.task_done()


def a_grant(number: int) -> Granted:
    """The grant of this number; its view and its department follow from it."""
    rule, masks = _SHAPES[number % len(_SHAPES)]
    first = granted(rule, masks)
    department = ("renshe", "tongji", "yibao")[number % 3]
    grant = first.grant.model_copy(update={"number": f"G-2026-{number:04}", "department": department})
    topic = mailbox(department, "population", 1, grant.number)
    return first.model_copy(update={"grant": grant, "digest": grant.digest, "topic": topic, "schema_id": 1000 + number})
