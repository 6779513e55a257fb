"""A transaction that no coordinator knows is told from those that go on, and once ended its partition is read on."""

from __future__ import annotations

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.raw_log import RawLogs
from bianhe.infra.kafka.transactions import HangingTransaction, abort, hanging
from support.broker import create_topic, eventually, fresh
from support.hanging import PRODUCER_ID, leave_open, takes


def test_only_what_nobody_will_end_is_found_and_once_ended_the_partition_is_read_on(broker: EmbeddedBroker) -> None:
    prefix, admin = fresh("hanging"), broker.connection()
    stuck, going_on = f"{prefix}.stuck", f"{prefix}.going-on"
    for topic in (stuck, going_on):
        create_topic(broker, topic, message_timestamp_type="LogAppendTime")
    # As long as the broker verifies what it is sent.
    assert not takes(broker, stuck)
    leave_open(broker, stuck)
    owner = clients.transactional_producer(admin, fresh("owner"))
    owner.init_transactions(30)
    owner.begin_transaction()
    owner.produce(going_on, b"value")
    owner.flush(30)

    def found(silent: float = 0.0) -> list[HangingTransaction]:
        return hanging(admin, (prefix,), silent)

    [transaction] = found()
    assert (transaction.topic, transaction.partition, transaction.offset) == (stuck, 0, 0)
    assert transaction.producer_id == PRODUCER_ID
    assert found(silent=600) == []
    abort(admin, transaction)
    with RawLogs(admin) as logs:
        assert eventually(lambda: logs.offset((stuck, 0), "stable") == logs.offset((stuck, 0), "end") == 2)
    assert found() == []
    owner.commit_transaction(30)
