"""The relay on a real broker: killed or shut out anywhere, the log has no hole, no double and no fork."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import select

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients
from bianhe.registry.policy import sql
from bianhe.registry.policy.chain import LogUnlikeDatabase
from bianhe.registry.policy.kafka import (
    PolicyLog,
    ShutOut,
    StillNeeded,
    append_stop,
    make_signing_key,
    read_policy,
    retire_predecessors,
    signing_key,
    use_successor,
)
from bianhe.registry.sql import transaction
from bianhe.schemas.names import BREAK_GLASS_ACCOUNT, POLICY, RELAY_ACCOUNT
from bianhe.schemas.records.policy import BrokenPolicyLog, Stopped, Target
from bianhe.schemas.signatures import Role, UntrustedPolicyLog
from support.broker import eventually
from support.policies import AT, department, records, revoked
from support.policy_bus import PolicyBus

KILLS = 5


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[PolicyBus]:
    home = tmp_path_factory.mktemp("relay")
    with EmbeddedBroker(home / "kafka") as broker:
        city = PolicyBus(broker, home, database_url)
        yield city
        city.close()


def assert_each_row_once(bus: PolicyBus) -> None:
    """The chain holds (folding verifies it), and log and database tell the same numbers."""
    with PolicyLog(bus.admin) as policy_log:
        policy_log.catch_up()
        on_log = policy_log.numbers
    with transaction(bus.engine) as database:
        in_database = {row.id: row.number for row in database.execute(select(sql.outbox.c.id, sql.outbox.c.number))}
    assert on_log == in_database
    assert sorted(on_log.values()) == list(range(1, len(on_log) + 1))


@contextmanager
def registry_process(bus: PolicyBus) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "BIANHE_HOME": str(bus.home),
        "BIANHE_DATABASE": bus.database_url,
        "BIANHE_KAFKA__BOOTSTRAP": bus.broker.bootstrap,
        "BIANHE_KAFKA__SECRETS": str(bus.secrets),
        "BIANHE_REGISTRY": "http://127.0.0.1:18473",
    }
    with (bus.home / "registry.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "bianhe.registry"], env=environment, stderr=log, stdout=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def highest_number(bus: PolicyBus) -> int:
    with transaction(bus.engine) as database:
        return sql.highest_number(database)


def goes_beyond(bus: PolicyBus, number: int) -> bool:
    return highest_number(bus) > number


def test_rows_are_numbered_in_the_order_in_which_they_were_decided(bus: PolicyBus) -> None:
    before = read_policy(bus.admin).version
    assert bus.decide(department("a1"), department("a2"), department("a3")) == before + 3
    with PolicyLog(bus.admin) as policy_log:
        policy_log.catch_up()
    assert [record.body for record in policy_log.records[-3:]] == [department(code) for code in ("a1", "a2", "a3")]
    assert bus.decide(department("a1", enabled=False)) == before + 4
    assert_each_row_once(bus)


def test_a_row_that_stands_on_the_log_gets_its_number_and_no_second_record(bus: PolicyBus) -> None:
    version = bus.decide(department("b1"))
    with transaction(bus.engine) as database:
        # Killed after the commit and before the database was told.
        database.execute(sql.outbox.update().where(sql.outbox.c.number == version).values(number=None))
    bus.relay.close()
    assert bus.relay.drain() == version
    assert_each_row_once(bus)


def test_a_later_relay_shuts_the_earlier_out_which_ends(bus: PolicyBus) -> None:
    bus.decide(department("c1"))
    later = bus.another_relay()
    later.drain()
    bus.queue(department("c2"))
    with pytest.raises(ShutOut):
        bus.relay.run(threading.Event())
    assert later.drain() == read_policy(bus.admin).version
    later.close()
    assert_each_row_once(bus)


def test_a_row_that_the_fold_refuses_never_reaches_the_log(bus: PolicyBus) -> None:
    version = read_policy(bus.admin).version
    with transaction(bus.engine) as database:
        before = database.execute(select(sql.outbox)).all()
    bus.queue(revoked(99))
    with pytest.raises(BrokenPolicyLog, match="never began"):
        bus.relay.drain()
    assert read_policy(bus.admin).version == version
    with transaction(bus.engine) as database:
        database.execute(sql.outbox.delete().where(sql.outbox.c.number.is_(None)))
        assert database.execute(select(sql.outbox)).all() == before


def test_a_log_that_is_not_the_one_the_database_knows_is_not_appended_to(bus: PolicyBus) -> None:
    version = bus.decide(department("d1"))
    with transaction(bus.engine) as database:
        database.execute(sql.outbox.update().where(sql.outbox.c.number == version).values(number=version + 1))
    bus.relay.close()
    bus.queue(department("d2"))
    with pytest.raises(LogUnlikeDatabase):
        bus.relay.drain()
    with transaction(bus.engine) as database:
        database.execute(sql.outbox.update().where(sql.outbox.c.number == version + 1).values(number=version))
    bus.relay.drain()
    assert_each_row_once(bus)


def test_break_glass_needs_no_database_and_the_relay_that_it_shut_out_goes_on(bus: PolicyBus) -> None:
    version = bus.decide(department("j1"))
    key = signing_key(bus.secrets, Role.BREAK_GLASS)
    stop = Stopped(target=Target.DEPARTMENT, code="j1", reason="演练", decided_by="值班员")
    assert append_stop(bus.component(BREAK_GLASS_ACCOUNT), key, stop, AT) == version + 1
    assert bus.decide(department("j2")) == version + 2
    assert read_policy(bus.admin).is_stopped(Target.DEPARTMENT, "j1")
    assert_each_row_once(bus)


def test_a_signing_key_is_replaced_without_a_moment_in_which_the_log_is_not_believed(bus: PolicyBus) -> None:
    successor = make_signing_key(bus.secrets, Role.RELAY)
    assert make_signing_key(bus.secrets, Role.RELAY).public == successor.public != bus.signing_key.public
    version = bus.decide(department("k1"))
    assert use_successor(bus.secrets, Role.RELAY).public == successor.public == bus.signing_key.public
    bus.relay.close()
    bus.relay, former, bus.admin = bus.another_relay(), bus.admin, bus.broker.connection()
    with pytest.raises(StillNeeded):
        retire_predecessors(bus.admin, bus.secrets, Role.RELAY)
    assert read_policy(former).version == version
    assert bus.decide(department("k2")) == version + 1
    retire_predecessors(bus.admin, bus.secrets, Role.RELAY)
    bus.admin = bus.broker.connection()
    assert read_policy(bus.admin).version == version + 1
    with pytest.raises(UntrustedPolicyLog):
        read_policy(former)


def test_the_registry_process_killed_at_any_moment_leaves_no_hole_double_or_fork(bus: PolicyBus) -> None:
    bus.relay.close()
    chance = random.Random(4)
    done = threading.Event()

    def decide_on_and_on() -> None:
        count = 0
        while not done.wait(0.01):
            bus.queue(department(f"e{count}"))
            count += 1

    feed = threading.Thread(target=decide_on_and_on)
    feed.start()
    try:
        for _ in range(KILLS):
            before = highest_number(bus)
            with registry_process(bus) as process:
                assert eventually(partial(goes_beyond, bus, before), 60), "the relay does not start"
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(chance.random() * 0.3)
    finally:
        done.set()
        feed.join()
    bus.relay.drain()
    assert_each_row_once(bus)


def test_the_registry_process_ends_in_good_order_when_told(bus: PolicyBus) -> None:
    bus.relay.close()
    version = highest_number(bus)
    with registry_process(bus) as process:
        bus.queue(department("f1"))
        assert eventually(partial(goes_beyond, bus, version), 60)
        process.terminate()
        assert process.wait(30) == 0


def test_a_record_that_continues_the_chain_unsigned_stops_relay_and_sync(bus: PolicyBus) -> None:
    """Last: it leaves the log broken."""
    bus.decide(department("g1"))
    bus.relay.close()
    policy = read_policy(bus.admin)
    (forged,) = records([department("g2")], policy)
    # The relay's own account, without its key.
    forger = clients.producer(bus.component(RELAY_ACCOUNT))
    forger.produce(POLICY, forged.encode())
    assert forger.flush(30) == 0
    bus.queue(department("g3"))
    for act in (bus.relay.drain, bus.plan):
        with pytest.raises(UntrustedPolicyLog, match=f"record {policy.version + 1} .* is not signed"):
            act()
