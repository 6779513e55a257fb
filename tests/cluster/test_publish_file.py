"""`bianhe publish` and `bianhe subscribe` as a user meets them, and a broker that is lost in the middle."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bianhe.consumers import Subscriber
from bianhe.infra.cli.console import Exit
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.errors import BrokerUnreachable
from bianhe.producers import NotDelivered, Publisher
from bianhe.schemas.errors import Transient
from support.broker import eventually
from support.command_line import bianhe, command, explained
from support.exchange import OPEN_READER, PROVIDER, Exchange, exchange
from support.rows import csv_file, number, person, row

SOURCE = "source.population.v1"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with exchange(tmp_path_factory.mktemp("exchange")) as running:
        stopping = threading.Event()
        watch = threading.Thread(target=running.bus.watch, args=(stopping.wait,))
        watch.start()
        yield running
        stopping.set()
        watch.join()


def records(city: Exchange) -> int:
    """How many records the source topic was ever given."""
    while True:
        # A broker that was just started again may need a moment.
        with suppress(Transient), Admin(city.bus.broker.connection()) as admin:
            return sum(admin.end_offsets(SOURCE, "read_uncommitted").values())


def test_b16_b17_rejected_rows_are_named_and_kept_whole_and_the_rest_is_published(
    city: Exchange, tmp_path: Path
) -> None:
    wrong = number(3)[:17] + ("0" if number(3)[17] != "0" else "1")
    rows = [row(citizen_id=number(1)), row(citizen_id=wrong), row(sex="5"), row(name="王" * 61)]
    file, rejects = tmp_path / "changes.csv", tmp_path / "rejected.csv"
    file.write_bytes(csv_file([*rows, row(citizen_id=number(2))], "gb18030").getvalue())
    before = records(city)
    done = bianhe("publish", "population", file, "--profile", city.profile(PROVIDER), "--rejects", rejects)
    assert done.returncode == 1, done.stderr
    assert f"5 read · 2 published · 3 rejected ({rejects}, mode 0600)" in done.stdout
    assert re.search(rf"row 3 +citizen_id +check digit is ., must be . +{wrong[:4]}…{wrong[-4:]}\n", done.stdout)
    assert re.search(r"row 4 +sex +5 is not in GB/T 2261\.1 \(0, 1, 2, 9\)\n", done.stdout)
    assert re.search(r"row 5 +name +61 characters, at most 50\n", done.stdout)
    assert wrong not in done.stdout + done.stderr
    assert records(city) == before + 2
    assert rejects.stat().st_mode & 0o777 == 0o600
    kept = list(csv.DictReader(rejects.read_text(encoding="utf-8").splitlines()))
    assert [(each["reject_row"], each["citizen_id"]) for each in kept] == [
        ("3", wrong),
        ("4", number()),
        ("5", number()),
    ]
    again = bianhe("publish", "population", file, "--profile", city.profile(PROVIDER), "--rejects", rejects)
    assert (again.returncode, records(city)) == (1, before + 2)
    assert "is already there" in again.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("name\n王某\n".encode("utf-16"), "neither UTF-8 nor GB18030"),
        (b"citizen_id,name\n1,2\n", "columns are missing for population.v1: sex"),
    ],
)
def test_b14_b15_a_file_that_cannot_be_read_changes_nothing(
    city: Exchange, tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "changes.csv"
    file.write_bytes(content)
    before = records(city)
    done = bianhe("publish", "population", file, "--profile", city.profile(PROVIDER))
    assert done.returncode == 1
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert records(city) == before


def test_b30_ctrl_c_says_where_to_go_on_and_nothing_is_lost_or_doubled(city: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    head, line = csv_file([row()]).getvalue().splitlines(keepends=True)
    file.write_bytes(head + line * 40_000)
    before = records(city)
    arguments = ("publish", "population", file, "--profile", city.profile(PROVIDER))
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(lambda: records(city) > before)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    read, published = map(int, re.findall(r"([\d,]+) (?:read|published)", out.replace(",", "")))
    assert 0 < read == published < 40_000
    assert records(city) == before + published
    assert f"go on with --from-row {published + 2}" in err
    done = bianhe(*arguments, "--from-row", published + 2)
    assert done.returncode == 0, done.stderr
    assert records(city) == before + 40_000


def test_b30_ctrl_c_ends_a_subscription_and_the_next_one_goes_on(city: Exchange) -> None:
    following = ("subscribe", "--profile", city.profile(OPEN_READER), "--follow", "--output", "json")
    seen = []
    for sequence in (81, 82):
        with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
            publisher.resource("population").publish(person(citizen_id=number(sequence)))
        with subprocess.Popen(
            command(*following), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            seen += [next(line for line in process.stdout if number(sequence) in line)]
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in said) == (Exit.INTERRUPTED, False)
        assert number(81) not in rest
    first, second = map(json.loads, seen)
    assert (first["partition"], first["bus_seq"]) != (second["partition"], second["bus_seq"])


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("publish", "population", "FILE", "--profile", PROVIDER), id="b31-publish"),
        pytest.param(("subscribe", "--profile", OPEN_READER), id="b31-subscribe"),
    ],
)
def test_a_wrong_password_is_told_and_never_shown(
    city: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    file = tmp_path / "changes.csv"
    file.write_bytes(csv_file([row()]).getvalue())
    named = {"FILE": file} | {code: city.profile(code) for code in (PROVIDER, OPEN_READER)}
    before = records(city)
    monkeypatch.setenv("BIANHE_PASSWORD", "not-the-password")
    done = bianhe(*(named.get(word, word) for word in words))
    assert (done.returncode, done.stdout) == (1, "")
    assert explained(done.stderr)
    assert f"refused account {words[-1]}: SCRAM authentication failed" in done.stderr
    assert "not-the-password" not in done.stderr
    assert records(city) == before
    assert list(tmp_path.iterdir()) == [file]


def test_json_lines_go_in_and_come_out(city: Exchange, tmp_path: Path) -> None:
    with Subscriber.from_profile(city.profile(OPEN_READER)) as subscriber:
        list(subscriber.drain())
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps(person(citizen_id=number(77), birth_date="1850-01-01")) + "\n")
    assert bianhe("publish", "population", file, "--profile", city.profile(PROVIDER)).returncode == 0
    reading = ("subscribe", "--profile", city.profile(OPEN_READER), "--follow", "--output", "json")
    lines: list[str] = []
    while not any(number(77) in line for line in lines):
        lines += bianhe(*reading, "--max", 1).stdout.splitlines()
    event = json.loads(lines[-1])
    assert (event["kind"], event["items"]["birth_date"]) == ("CHANGED", "1850-01-01")


def test_b27_a_broker_that_comes_back_in_time_costs_nothing(city: Exchange) -> None:
    before = records(city)
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        for sequence in range(1000):
            if sequence == 500:
                city.bus.broker.kill()
            population.publish(person(citizen_id=number(sequence)))
        city.bus.broker.restart()
    assert publisher.delivered == 1000
    assert records(city) == before + 1000


def test_b27_a_broker_that_stays_away_leaves_nothing_unsaid(city: Exchange) -> None:
    before = records(city)
    with pytest.raises(NotDelivered) as raised:
        publish_into_the_loss(city)
    city.bus.broker.restart()
    assert (raised.value.delivered, raised.value.undelivered) == (500, 500)
    assert "no broker answers" in raised.value.cause
    assert records(city) == before + 500


def publish_into_the_loss(city: Exchange) -> None:
    with Publisher.from_profile(city.profile(PROVIDER), delivery_timeout=4) as publisher:
        population = publisher.resource("population")
        for sequence in range(1000):
            if sequence == 500:
                publisher.flush()
                city.bus.broker.kill()
            population.publish(person(citizen_id=number(sequence)))


def test_b27_reading_to_the_end_does_not_wait_for_ever(city: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bianhe.consumers.kafka.DRAIN_SECONDS", 2.0)
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        publisher.resource("population").publish(person(name="未读"))
    with Subscriber.from_profile(city.profile(OPEN_READER)) as subscriber:
        events = subscriber.drain()
        city.bus.broker.kill()
        with pytest.raises(BrokerUnreachable):
            list(events)
    city.bus.broker.restart()
    with Subscriber.from_profile(city.profile(OPEN_READER)) as subscriber:
        assert eventually(lambda: any(event.items.get("name") == "未读" for event in subscriber.drain()))


def test_b27_a_bus_starts_its_lost_broker_anew(city: Exchange) -> None:
    before = records(city)
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        os.kill(city.bus.broker.pid, signal.SIGKILL)
        population.publish(person())
    assert records(city) == before + 1


def test_b27_a_subscriber_waits_for_its_broker_and_goes_on(city: Exchange, tmp_path: Path) -> None:
    printed, following = tmp_path / "printed", ("subscribe", "--profile", city.profile(OPEN_READER), "--follow")

    def arrives(name: str) -> bool:
        with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
            publisher.resource("population").publish(person(name=name))
        return eventually(lambda: name in printed.read_text(), 60)

    with printed.open("w") as file, subprocess.Popen(command(*following), stdout=file) as process:
        try:
            assert arrives("先来")
            city.bus.broker.kill()
            city.bus.broker.restart()
            assert arrives("回来")
        finally:
            process.kill()
