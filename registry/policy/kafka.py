"""The policy log on Kafka: reading it whole, and the relay that alone appends to it (design 3.4)."""

from __future__ import annotations

import gc
import secrets
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog
from confluent_kafka import KafkaException
from pydantic import SecretStr
from sqlalchemy import Engine

from bianhe.infra import telemetry
from bianhe.infra.closing import Closing
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.components import POLICY_KEYS, policy_keys
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import ClientBroken, explain, explained
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.kafka.session import check_login
from bianhe.infra.processes import not_collecting
from bianhe.infra.settings import read_secret, write_private, write_secret
from bianhe.registry.policy import sql
from bianhe.registry.policy.chain import OutboxRow, check_origin, check_witness, number
from bianhe.registry.sql import transaction
from bianhe.schemas import names
from bianhe.schemas.errors import BusError, Fatal, Rejected, Transient
from bianhe.schemas.policy import EMPTY, Policy, fold
from bianhe.schemas.records.policy import BrokenPolicyLog, PolicyRecord, Stopped
from bianhe.schemas.signatures import SEED_BYTES, PinnedKeys, Role, SigningKey, UntrustedPolicyLog

TRANSACTION_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 30.0
"""Longer than an abandoned transaction with the broker's sweep can keep the log from being stable."""
ROWS_MAX: Final = 500
POLL_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 0.005
_NEXT: Final = ".next"

log = structlog.get_logger("bianhe.relay")


class PolicyLogUnsettled(Transient):
    """A transaction on the policy log stayed open, so its end is not known yet."""


class ShutOut(Fatal):
    """Another relay has the policy log now: this one must not take it back at once."""


class NoSuccessor(Rejected):
    """There is no new key to sign with."""


class StillNeeded(Rejected):
    """A key that signed the end of the log cannot be unpinned yet."""


class PolicyLog(Closing):
    """The policy log as far as it was read: the fold, and which ids stand on it. Use it in a `with` block.

    The account needs READ on the topic and on a group of its own name. Raises NoPinnedKeys where the connection says
    nothing of whose signatures to believe.
    """

    def __init__(self, connection: Connection) -> None:
        self.keys = PinnedKeys.parse(connection.policy_keys)
        self._stable = LogReader(connection, names.POLICY, 0, group=connection.account)
        self._whole = LogReader(connection, names.POLICY, 0, group=connection.account, isolation="read_uncommitted")
        self.policy: Policy = EMPTY
        self.records: list[PolicyRecord] = []
        """Every record on the log."""
        self.numbers: dict[str, int] = {}
        """Their numbers, by id."""

    def close(self) -> None:
        self._stable.close()
        self._whole.close()

    def catch_up(self) -> Policy:
        """Read to the log's end, once nothing on it is undecided; verifies signature and chain.

        Raises PolicyLogUnsettled where a transaction stays open, BrokenPolicyLog where signature or chain do not hold.
        """
        end = self._whole.end()
        deadline = time.monotonic() + SETTLE_SECONDS
        self._advance()
        while self._stable.position < end:
            if time.monotonic() > deadline:
                raise PolicyLogUnsettled(
                    "the policy log has an open transaction",
                    cause="a relay died in the middle of one; the broker ends it after its time-out",
                    cure="try again in a few seconds",
                )
            time.sleep(_WAIT_SECONDS)
            self._advance()
        return self.policy

    def ends_by_hand(self) -> bool:
        """Whether the newest record is a stop by break-glass: who wrote it is gone, so nobody shuts it out in turn."""
        self.catch_up()
        return bool(self.records) and self.keys.signer(self.records[-1]) is Role.BREAK_GLASS

    def id_of(self, number: int) -> str:
        """The id of a numbered record, as far as the log was read; empty where there is none."""
        return self.records[number - 1].id if 0 < number <= len(self.records) else ""

    def _advance(self) -> None:
        with not_collecting():
            records = self.keys.read(entry.value for entry in self._stable.stream_to_end())
            if records:
                self.policy = fold(self.policy, records)
                self.records += records
                self.numbers.update((record.id, record.number) for record in records)
                gc.freeze()


def signing_key(folder: Path, role: Role) -> SigningKey:
    """The signing key of a role from a folder of secrets; raises MissingSecret, InvalidKey."""
    cure = "restore it from a backup, or make a new one and pin it everywhere: infra/docs/policy-log.md"
    return SigningKey.parse(read_secret(folder / f"{role}-key", cure).get_secret_value())


def make_signing_keys(folder: Path) -> None:
    """Make the signing keys of the roles for which nothing is pinned in a folder of secrets yet."""
    for role in Role:
        if role not in _pinned(folder).keys:
            make_signing_key(folder, role)


def make_signing_key(folder: Path, role: Role) -> SigningKey:
    """Make the key of a role or, where there is one, its successor, and pin it beside what is pinned in this folder.

    Nothing signs with a successor yet: first every machine must have the file of pinned keys. Asked again, the same.
    """
    known = _pinned(folder)
    for name in (f"{role}-key", f"{role}-key{_NEXT}"):
        if not (file := folder / name).exists():
            write_secret(file, SecretStr(secrets.token_hex(SEED_BYTES)))
        key = SigningKey.parse(read_secret(file).get_secret_value())
        if not known.pins(role, key):
            write_private(folder / POLICY_KEYS, known.pinning(role, key).text)
            break
    return key


def _pinned(folder: Path) -> PinnedKeys:
    text = policy_keys(folder)
    return PinnedKeys.parse(text) if text else PinnedKeys({})


def use_successor(folder: Path, role: Role) -> SigningKey:
    """Sign with the successor from now on; the key before it is gone. Raises NoSuccessor."""
    file = folder / f"{role}-key{_NEXT}"
    if not file.exists():
        raise NoSuccessor(f"no {role} key waits to be used", cure=f"bianhe signing make {role}")
    file.replace(folder / f"{role}-key")
    return signing_key(folder, role)


def retire_predecessors(connection: Connection, folder: Path, role: Role) -> SigningKey:
    """Pin the present key of a role alone; raises StillNeeded where the end of the log would be believed no more."""
    key = signing_key(folder, role)
    known = _pinned(folder)
    known.check_pinned(key, role)
    alone = known.with_only(role, key)
    check_login(connection)
    with PolicyLog(connection) as policy_log:
        policy_log.catch_up()
        try:
            alone.check(policy_log.records)
        except UntrustedPolicyLog as reason:
            raise StillNeeded(
                f"the end of the policy log is signed by an earlier {role} key",
                cause="the registry was not started again since the key was replaced, or nothing was decided since",
                cure="start it again, decide anything, and try once more",
            ) from reason
    write_private(folder / POLICY_KEYS, alone.text)
    return key


def read_policy(connection: Connection) -> Policy:
    """The fold of the whole policy log as it stands now; raises what `check_login` and `PolicyLog.catch_up` raise."""
    check_login(connection)
    with PolicyLog(connection) as policy_log:
        return policy_log.catch_up()


def append_stop(connection: Connection, key: SigningKey, stop: Stopped, at: datetime) -> int:
    """Append a stop at once, with a credential and a key of its own and no database; returns its number.

    Whoever had the log is shut out and takes it over again.
    """
    check_login(connection)
    writer = _Writer(connection, key, Role.BREAK_GLASS)
    try:
        writer.append([OutboxRow(str(uuid4()), at, stop)])
        return writer.log.policy.version
    finally:
        writer.log.close()


class Relay:
    """Brings outbox rows onto the policy log and their numbers back into the database.

    One at a time holds the transactional id: a later relay shuts the earlier one out, which then ends with a Fatal
    error and must not be restarted at once, for two that restart each other make no progress. Killed anywhere, it
    leaves each row on the log once: the log is read before anything is appended, and its own numbers count.
    """

    def __init__(self, connection: Connection, engine: Engine, key: SigningKey) -> None:
        self._connection = connection
        self._engine = engine
        self._key = key
        self._writer: _Writer | None = None

    def run(self, stop: threading.Event) -> None:
        """Relay until told to stop. What passes is waited out; a Fatal error is for a person, not for a restart."""
        while not stop.is_set():
            try:
                self.drain()
                stop.wait(POLL_SECONDS)
            except Fatal:
                raise
            except BusError as fault:
                log.warning("waiting", fault=str(fault), cause=fault.cause)
                self.close()
                stop.wait(RETRY_SECONDS)
        self.close()

    def drain(self) -> int:
        """Append all that waits in the outbox and return the policy version then."""
        writer = self._writer = self._writer or self._open()
        while True:
            with transaction(self._engine) as connection:
                rows = sql.pending(connection)[:ROWS_MAX]
            if not rows:
                return writer.log.policy.version
            try:
                writer.append(rows)
            except ClientBroken as fault:
                try:
                    by_hand = writer.log.ends_by_hand()
                finally:
                    self.close()
                if not by_hand:
                    raise ShutOut(
                        "this relay was shut out of the policy log",
                        cause=f"another registry runs, and has the transactional id bus.policy ({fault})",
                        cure="stop one of the two; what was decided is in the database and comes onto the log",
                    ) from fault
                log.warning("someone stopped something by break-glass; the log is taken over again")
                writer = self._writer = self._open()
                continue
            except BusError:
                self.close()
                raise
            self._bring_back(rows, writer.log.numbers)
            telemetry.RELAY_RECORDS.inc(len(rows))
            log.info("appended", rows=len(rows), version=writer.log.policy.version)

    def close(self) -> None:
        """Let go of the log; the next drain reads it again."""
        if self._writer is not None:
            self._writer.log.close()
            self._writer = None

    def restore(self) -> int:
        """Append again, from the database, what the log lost at its end; returns how many records.

        Number, id, time and body are as they were, and so is the signature: the same key gives the same bytes. Raises
        LogUnlikeDatabase where what the log still holds is not what the database knows.
        """
        writer = _Writer(self._connection, self._key)
        try:
            with transaction(self._engine) as connection:
                version = writer.log.policy.version
                check_witness(writer.log.policy, version, sql.number_of(connection, writer.log.id_of(version)))
                lost = sql.beyond(connection, version)
            for begin in range(0, len(lost), ROWS_MAX):
                writer.append(lost[begin : begin + ROWS_MAX])
        finally:
            writer.log.close()
        return len(lost)

    def _open(self) -> _Writer:
        """Take the log over, and let the database learn of it what it does not know."""
        writer = _Writer(self._connection, self._key)
        try:
            with transaction(self._engine) as connection:
                check_origin(writer.log.policy, sql.knows(connection, writer.log.id_of(1)))
                highest = sql.highest_number(connection)
                check_witness(writer.log.policy, highest, sql.number_of(connection, writer.log.id_of(highest)))
                if learnt := sql.learn(connection, writer.log.records):
                    log.warning("the database was behind the policy log", learnt=learnt)
        except BusError:
            writer.log.close()
            raise
        return writer

    def _bring_back(self, rows: Sequence[OutboxRow], numbers: dict[str, int]) -> None:
        with transaction(self._engine) as connection:
            for row in rows:
                sql.numbered(connection, row.id, numbers[row.id])


class _Writer:
    """One life of the transactional producer: shuts its predecessor out, reads the log, appends."""

    def __init__(self, connection: Connection, key: SigningKey, role: Role = Role.RELAY) -> None:
        self._connection = connection
        self._key = key
        self.log = PolicyLog(connection)
        # Before anybody is shut out: what nobody would believe must not take the place of what they do.
        self.log.keys.check_pinned(key, role)
        self._producer = clients.transactional_producer(
            connection, names.RELAY_TRANSACTIONAL_ID, TRANSACTION_SECONDS, linger_ms=0
        )
        with explained(connection, "taking over the policy log"):
            self._producer.init_transactions(SETTLE_SECONDS)
        self.log.catch_up()

    def append(self, rows: Sequence[OutboxRow]) -> None:
        """Append the rows that the log does not hold, in one transaction, and read them back.

        A request that librdkafka gave up may still end the next transaction early (design 3.3). On this one partition
        that cuts no hole, and reading back tells it: the chain must end in the last record sent.
        """
        records = number(self.log.catch_up(), rows, self.log.numbers, self._key)
        if not records:
            return
        # Refused here rather than on the log: from there nobody could take it back.
        expected = fold(self.log.policy, records)
        try:
            self._send(records)
        except KafkaException as error:
            raise explain(error.args[0], self._connection, "appending to the policy log") from error
        except SystemError as error:
            raise ClientBroken("the relay was shut out in the middle of a transaction", cause=str(error)) from error
        if self.log.catch_up().head != expected.head:
            raise BrokenPolicyLog(
                f"the policy log does not end in record {expected.version} as it was sent",
                cause="someone else writes the log",
                cure="find who holds the transactional id bus.policy; nothing is appended until then",
            )

    def _send(self, records: Sequence[PolicyRecord]) -> None:
        self._producer.begin_transaction()
        for record in records:
            self._producer.produce(names.POLICY, record.encode(), partition=0)
        self._producer.commit_transaction(TRANSACTION_SECONDS)
