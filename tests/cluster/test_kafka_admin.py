from __future__ import annotations

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # it has types and no __all__

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.kafka import clients, raw
from bianhe.infra.kafka.access_rules import AccessRule
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.infra.kafka.errors import LoginRefused, RefusedByBroker
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.kafka.raw import Quota
from bianhe.infra.kafka.session import Session, check_login
from support.broker import create_topic, eventually, fresh, open_account, write
from support.kafka_messages import ask
from support.operations import one_record


def test_a_topic_is_listed_with_its_partitions_and_the_settings_that_differ(broker: EmbeddedBroker) -> None:
    name = fresh("topic")
    wanted = Topic(3, {"cleanup.policy": "compact,delete", "retention.ms": "-1"})
    with Admin(broker.connection()) as admin:
        # The controller has decided when a call returns; the broker that is asked learns it a moment later.
        admin.create_topics({name: wanted})
        assert eventually(lambda: admin.topics().get(name) == wanted)
        admin.create_topics({name: wanted})
        admin.alter_configs({name: {"retention.ms": None, "max.message.bytes": "2097152"}})
        changed = Topic(3, {"cleanup.policy": "compact,delete", "max.message.bytes": "2097152"})
        assert eventually(lambda: admin.topics().get(name) == changed)


def test_a_busy_broker_is_asked_again_for_the_ends_of_a_topic(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fresh("topic")
    create_topic(broker, name)
    with Admin(broker.connection()) as admin:
        client = admin._client
        answers: list[Future[object]] = [Future(), Future()]
        for answer, code in zip(
            answers, (KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION), strict=True
        ):
            answer.set_exception(KafkaException(KafkaError(code)))

        def just_started(
            places: dict[TopicPartition, OffsetSpec], **options: object
        ) -> dict[TopicPartition, Future[object]]:
            return dict.fromkeys(places, answers.pop()) if answers else really(places, **options)

        really = client.list_offsets
        monkeypatch.setattr(client, "list_offsets", just_started)
        assert admin.end_offsets(name, "read_uncommitted") == {0: 0}
        assert not answers


def test_kafkas_own_topics_are_not_listed(broker: EmbeddedBroker) -> None:
    with Admin(broker.connection()) as admin:
        assert not [name for name in admin.topics() if name.startswith("__")]


def test_an_account_without_access_rules_sees_nothing_and_is_refused(broker: EmbeddedBroker) -> None:
    topic, account = fresh("secret"), fresh("nobody")
    create_topic(broker, topic)
    nobody = open_account(broker, account)
    with Admin(nobody) as admin:
        assert admin.topics() == {}
        with pytest.raises(RefusedByBroker) as refusal:
            admin.create_topics({fresh("own"): Topic(1)})
    assert refusal.value.code == "TOPIC_AUTHORIZATION_FAILED"
    with LogReader(nobody, topic, 0, group=fresh("group")) as reader, pytest.raises(RefusedByBroker) as refusal:
        reader.read_to_end()
    assert refusal.value.code == "TOPIC_AUTHORIZATION_FAILED"


def test_who_may_not_look_at_access_rules_is_refused_instead_of_shown_none(broker: EmbeddedBroker) -> None:
    nobody = open_account(broker, fresh("nobody"))
    with pytest.raises(RefusedByBroker) as refusal:
        raw.access_rules(nobody)
    assert refusal.value.code == "CLUSTER_AUTHORIZATION_FAILED"


def test_access_rules_are_added_and_removed_one_by_one_on_every_broker(broker: EmbeddedBroker) -> None:
    principal = f"User:{fresh('renshe')}"
    rules = {
        AccessRule(principal, "TOPIC", "open.population.v1.r1", "READ"),
        AccessRule(principal, "TOPIC", "source.", "WRITE", "PREFIXED"),
        AccessRule(principal, "GROUP", "renshe.main", "READ"),
        AccessRule(principal, "CLUSTER", "kafka-cluster", "DESCRIBE"),
        AccessRule(principal, "TRANSACTIONAL_ID", "bus.router.", "WRITE", "PREFIXED"),
        AccessRule(principal, "TOPIC", "*", "READ", permission="DENY", host="10.0.0.1"),
    }

    def seen() -> dict[int, set[AccessRule]]:
        known = raw.access_rules(broker.connection())
        mine = {node: {rule for rule in found if rule.principal == principal} for node, found in known.items()}
        assert mine == raw.access_rules(broker.connection(), principal)
        return mine

    with Admin(broker.connection()) as admin:
        admin.create_rules(rules)
        assert eventually(lambda: seen() == {1: rules})
        gone = AccessRule(principal, "TOPIC", "source.", "WRITE", "PREFIXED")
        admin.delete_rules([gone])
        assert eventually(lambda: seen() == {1: rules - {gone}})
        admin.delete_rules(rules)
        assert eventually(lambda: seen() == {1: set()})


def test_an_account_lives_from_its_first_password_to_its_removal(broker: EmbeddedBroker) -> None:
    account = fresh("gongan")
    first = open_account(broker, account)
    assert check_login(first)
    second = open_account(broker, account)
    with pytest.raises(LoginRefused):
        check_login(first)
    assert check_login(second)
    assert account in raw.accounts(broker.connection())
    with Admin(broker.connection()) as admin:
        admin.delete_account(account)
    assert eventually(lambda: account not in raw.accounts(broker.connection()))
    with pytest.raises(LoginRefused):
        check_login(second)


def test_quotas_are_set_changed_and_removed_for_an_account_and_for_all_others(broker: EmbeddedBroker) -> None:
    account, admin = fresh("gongan"), broker.connection()

    def known() -> tuple[Quota | None, Quota | None]:
        found = raw.quotas(admin)
        return found.get(account), found.get(None)

    raw.set_quotas(admin, {account: Quota(read=2_000_000, write=1_000_000), None: Quota(900_000_000, 900_000_000)})
    assert eventually(lambda: known() == (Quota(2_000_000, 1_000_000), Quota(900_000_000, 900_000_000)))
    raw.set_quotas(admin, {account: Quota(3_000_000, 3_000_000)})
    assert eventually(lambda: known()[0] == Quota(3_000_000, 3_000_000))
    raw.set_quotas(admin, {account: None, None: None})
    assert eventually(lambda: known() == (None, None))


def test_a_fenced_producer_adds_nothing_any_more(broker: EmbeddedBroker) -> None:
    topic, writer = fresh("fenced"), fresh("bus.router")
    create_topic(broker, topic)
    producer = clients.transactional_producer(broker.connection(), writer, timeout=10)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"never to be read", partition=0)
    producer.flush(30)
    epoch = raw.fence(broker.connection(), writer, transaction_timeout=10)
    assert raw.fence(broker.connection(), writer, transaction_timeout=10) > epoch
    with pytest.raises(KafkaException):
        producer.commit_transaction(30)
    with LogReader(broker.connection(), topic, 0, group=fresh("group")) as reader:
        assert reader.read_to_end() == []


def test_a_static_member_leaves_when_told_to_and_only_once(broker: EmbeddedBroker) -> None:
    topic, group, instance = fresh("topic"), fresh("group"), fresh("worker")
    create_topic(broker, topic)
    member = clients.consumer(broker.connection(), group, instance=instance)
    member.subscribe([topic])
    assert eventually(lambda: member.poll(0.1) is None and member.assignment() != [])
    member.close()
    assert raw.leave_group(broker.connection(), group, instance) is True
    assert raw.leave_group(broker.connection(), group, instance) is False


def test_records_before_a_cut_are_gone_and_the_ends_stay(broker: EmbeddedBroker) -> None:
    topic = fresh("cut")
    create_topic(broker, topic, partitions=2, cleanup_policy="compact,delete")
    write(broker.connection(), topic, [b"1", b"2", b"3"])
    with Admin(broker.connection()) as admin:
        admin.delete_records({(topic, 0): 2})
        assert admin.end_offsets(topic, "read_committed") == {0: 3, 1: 0}
    with LogReader(broker.connection(), topic, 0, group=fresh("group"), start=2) as reader:
        assert [record.value for record in reader.read_to_end()] == [b"3"]


def test_a_compacted_topic_refuses_to_be_cut(broker: EmbeddedBroker) -> None:
    topic = fresh("compact")
    create_topic(broker, topic, cleanup_policy="compact")
    with Admin(broker.connection()) as admin, pytest.raises(RefusedByBroker) as refusal:
        admin.delete_records({(topic, 0): 0})
    assert refusal.value.code == "POLICY_VIOLATION"


def test_an_account_above_its_quota_is_made_to_wait_and_its_neighbour_is_not(broker: EmbeddedBroker) -> None:
    topic, held, free = fresh("quota"), fresh("held"), fresh("free")
    create_topic(broker, topic)
    raw.set_quotas(broker.connection(), {held: Quota(1_000, 1_000), free: Quota(1e12, 1e12)})
    batch = {"Index": 0, "Records": one_record(b"x" * 100_000)}
    values = {"Acks": -1, "TimeoutMs": 10_000, "TopicData": [{"Name": topic, "PartitionData": [batch]}]}
    waits = []
    for account in (held, free):
        login = open_account(broker, account, AccessRule(f"User:{account}", "TOPIC", topic, "WRITE"))
        with Session(login) as session:
            waits.append(ask(session, "Produce", 12, values)["ThrottleTimeMs"])
    raw.set_quotas(broker.connection(), {held: None, free: None})
    assert waits[0] > waits[1] == 0
