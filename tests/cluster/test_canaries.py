"""Personal data and secrets stay where they belong: canaries through a whole bus over TLS, and a search afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from bianhe.consumers import Subscriber
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.settings import Profile
from bianhe.producers import InvalidEvent, Publisher
from bianhe.schemas import names
from support.broker import eventually, processes_on
from support.command_line import bianhe, in_this_process
from support.exchange import MAILBOX_READER, OPEN_READER, PROVIDER, Exchange, exchange
from support.rows import csv_file, number, person, row

CANARIES: Final = {
    "citizen_id": number(777),
    "name": "金丝雀甲",
    "address": "金丝雀路七号院",
    "address_id": "canary-address-7781",
    "former_name": "金丝雀乙",
    "contact_phone": "13900007781",
}
TOO_LONG: Final = "金丝雀丙" * 20
WHERE_RECORDS_LIE: Final = (names.SOURCE_PREFIX, names.OPEN_PREFIX, names.GRANT_PREFIX)
OFFSETS_ALONE: Final = (".index", ".timeindex")
"""The broker's own, ten empty megabytes each."""
SOURCE: Final = names.source_topic("population", 1)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    home = tmp_path_factory.mktemp("canaries")
    (home / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(home / "tmp"))
        with exchange(home, tls=True) as running:
            yield running


def test_no_personal_datum_and_no_secret_lies_where_it_does_not_belong(
    city: Exchange, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = city.profiles.parent
    monkeypatch.setenv("BIANHE_HOME", str(home))
    run = in_this_process(monkeypatch, capfd)
    said = [_published(city)]
    _poisoned(city)
    for department in (OPEN_READER, MAILBOX_READER):
        with Subscriber.from_profile(city.profile(department)) as subscriber:
            assert CANARIES["name"].startswith(next(iter(subscriber)).items["name"])
    _, grants, _ = run("grant", "list", "--department", MAILBOX_READER, "--output", "json")
    (grant,) = (row["number"] for row in json.loads(grants))
    options = ("--profile", city.profile(PROVIDER), "--rejects", tmp_path / "rejects")
    done = bianhe("publish", "population", _file(tmp_path), *options)
    assert "1 published · 1 rejected" in done.stdout, done.stderr
    said.append(done.stdout + done.stderr)
    for words in (
        ("grant", "revoke", grant, "--ground", "purpose-met"),
        ("check", "--output", "json"),
        ("doctor", "--output", "json"),
        ("quarantine", "list"),
        ("account", "list"),
        ("sync", "plan"),
    ):
        code, out, err = run(*words)
        assert code != 2, err
        said.append(out + err)
    said += _metrics(home)
    spoken = "\n".join(said)
    assert "quarantine" in spoken
    assert "bianhe_router_quarantined_total" in spoken
    secrets = _secrets(home)
    assert len(secrets) > 5
    personal = CANARIES | {"rejected": TOO_LONG}
    assert _found(personal, spoken.encode()) == []
    assert _found(secrets, spoken.encode()) == []
    delivered = False
    for file in (each for each in home.rglob("*") if each.is_file() and each.suffix not in OFFSETS_ALONE):
        content, place = file.read_bytes(), file.relative_to(home)
        if _holds_records(place):
            delivered |= _found(CANARIES, content) == list(CANARIES)
        else:
            assert _found(personal, content) == [], place
        if not _is_secret(place):
            assert _found(secrets, content) == [], place
    assert delivered
    for pid in processes_on(home):
        assert _found(secrets, Path(f"/proc/{pid}/cmdline").read_bytes()) == []


def test_the_search_would_find_a_canary_in_each_way_that_programs_write_it() -> None:
    for written in (str.encode, repr, json.dumps, ascii):
        text = written(CANARIES["name"])
        assert _found(CANARIES, text if isinstance(text, bytes) else text.encode()) == ["name"]


def _published(city: Exchange) -> str:
    """Publish one person made of canaries, and one that is refused; what the refusal says."""
    with Publisher.from_profile(city.profile(PROVIDER)) as publisher:
        population = publisher.resource("population")
        population.publish(person(**CANARIES, residence_division="410212"))
        with pytest.raises(InvalidEvent) as refusal:
            population.publish(person(**CANARIES | {"name": TOO_LONG}))
    return f"{refusal.value!r} {refusal.value} {refusal.value.cause} {refusal.value.cure}"


def _poisoned(city: Exchange) -> None:
    """Put what cannot be trusted into the source, canaries in it, and wait until it lies in quarantine."""
    admin = city.bus.broker.connection()
    profile = Profile.read(city.profile(PROVIDER))
    provider = Connection(profile.bootstrap, profile.department, profile.password(), profile.ca_file)
    whole = next(value for value in _values(admin, SOURCE) if CANARIES["name"].encode() in value)
    producer = clients.producer(provider)
    for key, value in (
        (b"cut", whole[:-3]),
        (b"longer", whole + CANARIES["name"].encode()),
        (b"none", " ".join(CANARIES.values()).encode()),
        (CANARIES["citizen_id"].encode(), whole),
    ):
        producer.produce(SOURCE, value, key)
    assert producer.flush(30) == 0
    assert eventually(lambda: len(_values(admin, names.QUARANTINE)) == 4, 60)


def _values(connection: Connection, topic: str) -> list[bytes]:
    partitions = 4 if topic == SOURCE else 1
    found = []
    for partition in range(partitions):
        with LogReader(connection, topic, partition, group="canaries") as reader:
            found += [record.value for record in reader.read_to_end() if record.value is not None]
    return found


def _file(folder: Path) -> Path:
    """One good row and one whose identity number is wrong."""
    path = folder / "people.csv"
    path.write_bytes(
        csv_file([row(**CANARIES), row(**CANARIES | {"citizen_id": CANARIES["citizen_id"][:-1] + "?"})]).read()
    )
    return path


def _metrics(home: Path) -> list[str]:
    """What each process of the bus shows to whoever counts."""
    targets = [json.loads(file.read_text())[0]["targets"][0] for file in (home / "metrics").glob("*.json")]
    return [httpx2.get(f"http://{target}/metrics").text for target in targets]


def _secrets(home: Path) -> dict[str, str]:
    """Every secret that the bus and its users have in files, by the file."""
    patterns = ("kafka/secrets/*", "profiles/*/password", "profiles/*/keys/*", "pki/ca.key", "pki/broker.pem")
    files = [file for pattern in patterns for file in home.glob(pattern) if file.suffix != ".toml"]
    lines = [(file, line) for file in files for line in file.read_text().partition("-----END")[0].splitlines()]
    kept = [(file, line) for file, line in lines if len(line) > 20 and "-----" not in line]
    return {f"{file.relative_to(home)} {place}": line for place, (file, line) in enumerate(kept)}


def _found(canaries: dict[str, str], content: bytes) -> list[str]:
    """Which of these stand in the content, as they are or with their characters escaped."""
    return [
        name
        for name, value in canaries.items()
        if any(form in content for form in (value.encode(), ascii(value)[1:-1].encode()))
    ]


def _holds_records(place: Path) -> bool:
    """The broker's own folders of the topics that carry events."""
    return place.parts[:2] == ("kafka", "kafka") and place.parts[2].startswith(WHERE_RECORDS_LIE)


def _is_secret(place: Path) -> bool:
    """Where a secret belongs: its own file, and what the broker is started with (all mode 0600)."""
    return "secrets" in place.parts or place.parts[0] in ("profiles", "pki") or place.suffix == ".properties"
