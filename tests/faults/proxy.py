"""A TCP proxy in front of one broker that knows Kafka's API keys: it cuts, holds, swallows, delays and denies.

It advertises itself: broker and proxy both stand on 127.0.0.1, so an address in an answer is replaced in place.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Final, Self, TypeVar

HOST: Final = "127.0.0.1"
HELD_SECONDS_MAX: Final = 3.0
_LENGTH: Final = struct.Struct(">i")
T = TypeVar("T")


class Api(IntEnum):
    """The requests of a worker, by Kafka's keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


_WITH_ADDRESSES: Final = (Api.METADATA, Api.FIND_COORDINATOR, 60)
"""Answers that name brokers; 60 is DescribeCluster."""

_ERROR_AT: Final = 12
"""Where FindCoordinator's answer has its error code: after the length, the correlation id and the throttle time."""
_COORDINATOR_NOT_AVAILABLE: Final = (15).to_bytes(2, "big")


class Treatment(StrEnum):
    """What happens to one request. The client loses its connection each time, and asks again on a new one."""

    HOLD = "hold"
    """The broker gets it later, when so many records were produced: the gap of KIP-890."""
    SWALLOW = "swallow"
    """The broker never gets it."""
    UNANSWERED = "unanswered"
    """The broker gets it; its answer is lost."""


@dataclass(frozen=True, slots=True)
class Trap:
    """The next request of a kind is treated so; one held waits for this many requests to produce."""

    api: Api
    treatment: Treatment
    produced: int = 1


@dataclass(eq=False)
class _Link:
    """One client's connection and the one behind it."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    asked: deque[int] = field(default_factory=deque)
    """API keys of requests not answered yet; a broker answers in order."""
    unanswered: bool = False
    kept: bool = False
    """The connection to the broker outlives the client's: a request is held on it."""


class Proxy:
    """Stands in front of the broker at a port of this machine. Use it in a `with` block."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.traps: list[Trap] = []
        self.delay = 0.0
        """Seconds by which every answer comes later."""
        self.coordinator_away = 0
        """How many more times the broker's answer is that a coordinator is not available."""
        self.requests: Counter[int] = Counter()
        self.sprung: Counter[str] = Counter()
        """How many traps caught a request, and how many held requests reached the broker after all."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, HOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._theirs = HOST.encode() + _LENGTH.pack(self._broker_port)
        self._ours = HOST.encode() + _LENGTH.pack(self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def cut(self) -> int:
        """Cut every connection that there is; tells how many."""
        return self._run(self._cut())

    def _run(self, act: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(30)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.client.transport.abort()
            link.broker.transport.abort()
        return len(links)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, broker = await asyncio.open_connection(HOST, self._broker_port)
        except OSError:
            client.transport.abort()
            return
        link = _Link(client, broker)
        self._links.add(link)
        ways = [asyncio.create_task(self._there(reader, link)), asyncio.create_task(self._back(answers, link))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._links.discard(link)
        client.transport.abort()
        if not link.kept:
            broker.transport.abort()

    async def _there(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while (frame := await _frame(reader)) is not None:
            api = int.from_bytes(frame[4:6], "big")
            self.requests[api] += 1
            trap = self._sprung(api)
            if trap is None:
                link.asked.append(api)
                link.broker.write(frame)
                await link.broker.drain()
                continue
            if trap.treatment is Treatment.HOLD:
                link.kept = True
                self._start(self._release(link.broker, frame, trap))
            elif trap.treatment is Treatment.UNANSWERED:
                link.unanswered = True
                link.asked.append(api)
                link.broker.write(frame)
                await asyncio.sleep(HELD_SECONDS_MAX)
            return

    async def _back(self, answers: asyncio.StreamReader, link: _Link) -> None:
        while (frame := await _frame(answers)) is not None:
            api = link.asked.popleft() if link.asked else -1
            if link.unanswered and not link.asked:
                return
            if api in _WITH_ADDRESSES:
                frame = frame.replace(self._theirs, self._ours)
            if api == Api.FIND_COORDINATOR and self.coordinator_away:
                self.coordinator_away -= 1
                frame = frame[:_ERROR_AT] + _COORDINATOR_NOT_AVAILABLE + frame[_ERROR_AT + 2 :]
            if self.delay:
                await asyncio.sleep(self.delay)
            link.client.write(frame)
            await link.client.drain()

    def _sprung(self, api: int) -> Trap | None:
        trap = next((trap for trap in self.traps if trap.api == api), None)
        if trap is not None:
            self.traps.remove(trap)
            self.sprung[f"{trap.treatment} {trap.api.name}"] += 1
        return trap

    def _start(self, act: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, broker: asyncio.StreamWriter, frame: bytes, trap: Trap) -> None:
        """Send a held request once others have begun to write, on the connection that it was meant for."""
        wanted = self.requests[Api.PRODUCE] + trap.produced
        deadline = self._loop.time() + HELD_SECONDS_MAX
        while self.requests[Api.PRODUCE] < wanted and self._loop.time() < deadline:
            await asyncio.sleep(0.002)
        try:
            broker.write(frame)
            await broker.drain()
            self.sprung[f"released {trap.api.name}"] += 1
            await asyncio.sleep(1)
        except OSError:
            pass
        broker.transport.abort()


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next request or answer with its length before it; None where the connection is gone."""
    try:
        head = await reader.readexactly(_LENGTH.size)
        return head + await reader.readexactly(_LENGTH.unpack(head)[0])
    except (asyncio.IncompleteReadError, OSError):
        return None
