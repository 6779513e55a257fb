"""The Schema Registry API: what each account may see, and the body of every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest
from fastapi.testclient import TestClient
from fastavro.schema import to_parsing_canonical_form
from pydantic import SecretStr
from sqlalchemy import Engine

from bianhe.registry.accounts.sql import set_password
from bianhe.registry.contracts.registration import guid, shape
from bianhe.registry.http import BODY_BYTES_MAX, MEDIA_TYPE, create_app
from bianhe.registry.policy.sql import append
from bianhe.registry.sharing import sql as sharing
from bianhe.registry.sql import transaction
from bianhe.schemas.records.codec import SCHEMA_IDS
from bianhe.schemas.records.codec import schema as record_schema
from bianhe.schemas.records.journal import Quarantined
from bianhe.schemas.records.policy import Effective
from support.registry import CONTRACTS, NOW, give_passwords, number_all, request

SOURCE = "source.population.v1-value"
OPEN = "open.population.v1.r1-value"
MAILBOX = "grant.renshe.population.v1.g-2026-0001-value"
PASSWORDS = {code: f"password of {code}" for code in ("gongan", "renshe", "tongji", "bus-admin")}


def _as(account: str) -> tuple[str, str]:
    return account, PASSWORDS[account]


NOTES = [
    Quarantined("source.population.v1", 2, 17, "ends before its last field", "0" * 64, 90),
    Quarantined("source.legal-entity.v1", 0, 3, "a string is not UTF-8, at byte 7", "1" * 64, 80),
]


@pytest.fixture
def served(city: Engine) -> Iterator[TestClient]:
    """The registry of a city where renshe has a mailbox and tongji reads the open channel of the population."""
    submitted = sharing.submit(city, request(), NOW)
    sharing.agree(city, submitted.number, (), (), "gongan", NOW)
    items = CONTRACTS["population"].unconditional
    sharing.submit(city, request(department="tongji", items=items), NOW)
    number_all(city)
    give_passwords(city, PASSWORDS)
    with TestClient(create_app(city, lambda wanted: [note for note in NOTES if wanted(note.topic)])) as client:
        yield client


def _subjects(client: TestClient, account: str) -> list[str]:
    found = client.get("/subjects", auth=_as(account)).json()
    assert isinstance(found, list)
    return found


def test_an_account_sees_the_subjects_that_it_may_read_or_write(served: TestClient) -> None:
    assert _subjects(served, "gongan") == [SOURCE]
    assert _subjects(served, "renshe") == [MAILBOX]
    assert _subjects(served, "tongji") == [OPEN]
    assert len(_subjects(served, "bus-admin")) == 9 + len(SCHEMA_IDS)


@pytest.mark.parametrize("name", SCHEMA_IDS)
def test_the_bus_alone_sees_the_schemas_of_its_own_records(served: TestClient, name: str) -> None:
    path = f"/schemas/ids/{SCHEMA_IDS[name]}"
    answer = served.get(path, auth=_as("bus-admin")).json()
    assert shape(answer["schema"]) == to_parsing_canonical_form(record_schema(name))
    assert served.get(f"/schemas/guids/{answer['guid']}", auth=_as("bus-admin")).json() == answer
    assert served.get(path, auth=_as("gongan")).status_code == 404


def test_a_schema_is_shown_by_id_to_those_alone_who_see_a_subject_of_it(served: TestClient) -> None:
    latest = served.get(f"/subjects/{MAILBOX}/versions/latest", auth=_as("renshe")).json()
    path = f"/schemas/ids/{latest['id']}"
    assert served.get(path, auth=_as("renshe")).json() == latest
    for stranger in ("tongji", "gongan"):
        answer = served.get(path, auth=_as(stranger))
        assert (answer.status_code, answer.json()["error_code"]) == (404, 40403)
        assert served.get(f"/schemas/guids/{latest['guid']}", auth=_as(stranger)).status_code == 404
        assert served.get(f"/subjects/{MAILBOX}/versions", auth=_as(stranger)).json()["error_code"] == 40401


def test_a_schema_appears_when_its_policy_record_is_numbered(served: TestClient, city: Engine) -> None:
    submitted = sharing.submit(city, request(department="tongji", items=("former_name",)), NOW)
    row = sharing.agree(city, submitted.number, (), (), "gongan", NOW)
    assert f"{row.topic}-value" not in _subjects(served, "tongji")
    number_all(city)
    assert f"{row.topic}-value" in _subjects(served, "tongji")


def test_a_schema_goes_when_the_grant_took_effect_and_not_before(served: TestClient, city: Engine) -> None:
    sharing.revoke(city, "G-2026-0001", "purpose-met", "gongan", NOW)
    assert _subjects(served, "renshe") == [MAILBOX]
    with transaction(city) as connection:
        append(connection, [Effective(grant="G-2026-0001", edge={"0": 1})], NOW)
    assert _subjects(served, "renshe") == []


def test_every_way_to_a_schema_gives_the_same_one(served: TestClient) -> None:
    auth = _as("gongan")
    latest = served.get(f"/subjects/{SOURCE}/versions/latest", auth=auth).json()
    assert latest["guid"] == guid(latest["schema"])
    assert (latest["subject"], latest["version"]) == (SOURCE, 1)
    assert served.get(f"/subjects/{SOURCE}/versions/1", auth=auth).json() == latest
    assert served.get(f"/schemas/ids/{latest['id']}?subject={SOURCE}&fetchMaxId=false", auth=auth).json() == latest
    assert served.get(f"/schemas/guids/{latest['guid']}", auth=auth).json() == latest
    assert served.get(f"/schemas/ids/{latest['id']}/schema", auth=auth).text == latest["schema"]
    assert served.get(f"/subjects/{SOURCE}/versions/1/schema", auth=auth).text == latest["schema"]
    assert served.get(f"/schemas/ids/{latest['id']}/subjects", auth=auth).json() == [SOURCE]
    assert served.get(f"/schemas/ids/{latest['id']}/versions", auth=auth).json() == [{"subject": SOURCE, "version": 1}]


def test_registering_a_known_schema_gives_its_id_however_it_is_written(served: TestClient) -> None:
    known = served.get(f"/subjects/{SOURCE}/versions/latest", auth=_as("gongan")).json()
    spaced = json.dumps(json.loads(known["schema"]), indent=2, sort_keys=True)
    for path in (f"/subjects/{SOURCE}/versions?normalize=False", f"/subjects/{SOURCE}?normalize=False&deleted=False"):
        answer = served.post(path, json={"schema": spaced}, auth=_as("gongan"))
        assert (answer.status_code, answer.json()) == (200, known)


def test_registering_an_unknown_schema_is_a_conflict_and_changes_nothing(served: TestClient) -> None:
    for subject in (SOURCE, "somewhere-value", "source.population.v1-key"):
        answer = served.post(f"/subjects/{subject}/versions", json={"schema": '"string"'}, auth=_as("gongan"))
        assert (answer.status_code, answer.json()["error_code"]) == (409, 40901)
    assert _subjects(served, "gongan") == [SOURCE]


def test_compatibility_is_answered_by_the_rules_of_the_catalog(served: TestClient) -> None:
    known = served.get(f"/subjects/{SOURCE}/versions/latest", auth=_as("gongan")).json()
    path = f"/compatibility/subjects/{SOURCE}/versions/latest"
    assert served.post(path, json={"schema": known["schema"]}, auth=_as("gongan")).json() == {"is_compatible": True}
    other = json.loads(known["schema"])
    other["fields"][5]["type"] = "long"
    answer = served.post(f"{path}?verbose=true", json={"schema": json.dumps(other)}, auth=_as("gongan")).json()
    assert answer["is_compatible"] is False
    assert "name" in " ".join(answer["messages"])


BAD_REQUESTS = {
    "an unknown path": ("GET", "/nowhere", 404, 404),
    "an id that is no number": ("GET", "/schemas/ids/abc", 404, 404),
    "an unknown id": ("GET", "/schemas/ids/99", 404, 40403),
    "an id that no wire format holds": ("GET", f"/schemas/ids/{10**20}", 404, 40403),
    "an unknown subject": ("GET", "/subjects/nothing-value/versions", 404, 40401),
    "an unknown version": ("GET", f"/subjects/{SOURCE}/versions/7", 404, 40402),
    "a version that is none": ("GET", f"/subjects/{SOURCE}/versions/first", 422, 42202),
    "a look-up in an unknown subject": ("POST", "/subjects/nothing-value", 404, 40401),
    "a method that is none": ("DELETE", "/schemas/types", 405, 405),
    "deleting a version": ("DELETE", f"/subjects/{SOURCE}/versions/1", 422, 42205),
    "deleting a subject": ("DELETE", f"/subjects/{SOURCE}", 422, 42205),
    "setting the level": ("PUT", "/config", 422, 42205),
    "setting the level of a subject": ("PUT", f"/config/{SOURCE}", 422, 42205),
    "setting the mode of a subject": ("PUT", f"/mode/{SOURCE}", 422, 42205),
    "a level of a subject's own": ("GET", f"/config/{SOURCE}", 404, 40408),
    "a mode of a subject's own": ("GET", f"/mode/{SOURCE}", 404, 40409),
}


@pytest.mark.parametrize("bad", BAD_REQUESTS)
def test_every_error_has_confluents_body(served: TestClient, bad: str) -> None:
    method, path, status, code = BAD_REQUESTS[bad]
    body = {"schema": '"string"'} if method == "POST" else None
    answer = served.request(method, path, json=body, auth=_as("gongan"))
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert set(answer.json()) == {"error_code", "message"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 5}',
        b'{"schema": "{"}',
        b'{"schema": ""}',
        b'{"schema": "x", "schemaType": "JSON"}',
        b"[" * 9999,
    ],
)
def test_a_body_that_is_no_schema_is_told_so(served: TestClient, body: bytes) -> None:
    for path in (f"/subjects/{SOURCE}", f"/compatibility/subjects/{SOURCE}/versions/latest"):
        answer = served.post(path, content=body, auth=_as("gongan"))
        assert (answer.status_code, answer.json()["error_code"]) == (422, 42201)


def test_a_body_that_is_too_large_is_not_read(served: TestClient) -> None:
    answer = served.post(f"/subjects/{SOURCE}", content=b" " * (BODY_BYTES_MAX + 1), auth=_as("gongan"))
    assert (answer.status_code, answer.json()["error_code"]) == (422, 42209)


def test_a_wrong_password_is_refused_with_confluents_body(served: TestClient) -> None:
    for auth in (("gongan", "wrong"), ("nobody", "wrong"), None):
        answer = served.get("/subjects", auth=auth)
        assert (answer.status_code, answer.json()["error_code"]) == (401, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_an_old_password_ends_with_the_new_one(served: TestClient, city: Engine) -> None:
    assert _subjects(served, "gongan") == [SOURCE]
    set_password(city, "gongan", SecretStr("another"))
    assert served.get("/subjects", auth=_as("gongan")).status_code == 401
    assert served.get("/subjects", auth=("gongan", "another")).status_code == 200


def test_what_clients_ask_first_is_answered(served: TestClient) -> None:
    topic = "/associations/resources/-/source.population.v1?resourceType=topic&associationType=value"
    assert served.get(topic, auth=_as("gongan")).json() == []
    assert served.get("/schemas/types", auth=_as("gongan")).json() == ["AVRO"]
    assert served.get("/mode", auth=_as("gongan")).json() == {"mode": "READONLY"}
    assert served.get("/config", auth=_as("gongan")).json() == {"compatibilityLevel": "FULL_TRANSITIVE"}
    whole = "?defaultToGlobal=true"
    assert served.get(f"/mode/{SOURCE}{whole}", auth=_as("gongan")).json() == {"mode": "READONLY"}
    assert served.get(f"/config/{SOURCE}{whole}", auth=_as("gongan")).json()["compatibilityLevel"] == "FULL_TRANSITIVE"
    java = {"Accept": "text/html, image/gif, image/jpeg, */*;q=0.2"}
    answer = served.get("/", auth=_as("gongan"), headers=java)
    assert (answer.json(), answer.headers["Content-Type"]) == ({}, MEDIA_TYPE)
    assert served.head("/", auth=_as("gongan")).status_code == 200


def test_health_needs_no_password_and_says_what_waits(served: TestClient, city: Engine) -> None:
    assert served.get("/health").json() == {"status": "ok", "policy": number_all(city), "waiting": 0}
    sharing.revoke(city, "G-2026-0001", "purpose-met", "gongan", NOW)
    assert served.get("/health").json()["waiting"] == 1


def test_a_provider_sees_its_own_events_that_were_not_trusted_and_nobody_else_does(served: TestClient) -> None:
    def told(account: str) -> list[object]:
        return [note["topic"] for note in served.get("/quarantine", auth=_as(account)).json()]

    assert served.get("/quarantine", auth=_as("gongan")).json() == [asdict(NOTES[0])]
    assert (told("renshe"), told("tongji")) == ([], [])
    assert told("bus-admin") == [note.topic for note in NOTES]
    assert served.get("/quarantine").status_code == 401
