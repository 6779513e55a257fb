"""Importing a catalog: whole or not at all, once, and with only what changed going onto the policy log."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bianhe.registry.catalog.entry import InvalidCatalog, NoCatalog
from bianhe.registry.catalog.sql import import_catalog, show, show_contract
from bianhe.registry.policy.sql import pending
from bianhe.registry.sharing import sql as sharing
from bianhe.registry.sql import transaction
from bianhe.schemas.contract import shipped
from bianhe.schemas.policy import EMPTY, fold
from bianhe.schemas.records.policy import Department, OpenChannel, PolicyRecord, Resource, Writers
from support.registry import NOW, SAMPLE, request, with_sample


def _changed(folder: Path, find: str, put: str) -> Path:
    text = SAMPLE.read_text(encoding="utf-8")
    assert find in text
    path = folder / "catalog.toml"
    path.write_text(text.replace(find, put, 1), encoding="utf-8")
    return path


def _kinds(database: Engine) -> Counter[str]:
    with transaction(database) as connection:
        return Counter(row.body.kind for row in pending(connection))


def test_the_sample_catalog_reaches_the_policy_log_and_folds(city: Engine) -> None:
    with transaction(city) as connection:
        rows = pending(connection)
    policy = EMPTY
    for row in rows:
        number = policy.version + 1
        policy = fold(policy, [PolicyRecord(number=number, previous=policy.head, id=row.id, at=row.at, body=row.body)])
    assert set(policy.open_channels) == {f"open.{code}.v1.r1" for code, _ in policy.resources}
    assert len(policy.resources) == 4
    assert len(policy.departments) == 17


def test_a_worker_that_may_have_written_is_never_forgotten(city: Engine) -> None:
    [grown] = import_catalog(city, SAMPLE, 3, NOW).written.values()
    assert isinstance(grown, Writers)
    assert grown.transactional_ids == ("bus.router.0", "bus.router.1", "bus.router.2")
    assert import_catalog(city, SAMPLE, 2, NOW).written == {}


def test_what_was_imported_is_what_the_file_says(city: Engine) -> None:
    assert show(city) == with_sample(city).catalog


def test_the_same_file_again_changes_nothing(city: Engine) -> None:
    before = _kinds(city)
    assert with_sample(city).written == {}
    assert _kinds(city) == before


def test_a_change_of_one_department_emits_that_department_alone(city: Engine, tmp_path: Path) -> None:
    path = _changed(tmp_path, 'title = "商务局"', 'title = "商务和粮食局"')
    [body] = import_catalog(city, path, 1, NOW).written.values()
    assert isinstance(body, Department)
    assert (body.code, body.title) == ("shangwu", "商务和粮食局")


def test_a_department_that_left_the_catalog_is_disabled_once(city: Engine, tmp_path: Path) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    start = text.index('[[department]]\ncode = "weishi"')
    path = tmp_path / "catalog.toml"
    path.write_text(text[:start] + text[text.index("[[resource]]") :], encoding="utf-8")
    [body] = import_catalog(city, path, 1, NOW).written.values()
    assert isinstance(body, Department)
    assert (body.code, body.enabled) == ("weishi", False)
    assert import_catalog(city, path, 1, NOW).written == {}


def test_b01_a_faulty_file_changes_nothing(city: Engine, tmp_path: Path) -> None:
    before, kinds = show(city), _kinds(city)
    with pytest.raises(InvalidCatalog):
        import_catalog(city, _changed(tmp_path, 'provider = "gongan"', 'provider = "gongam"'), 1, NOW)
    assert (show(city), _kinds(city)) == (before, kinds)


def test_a_missing_file_is_a_fault_and_no_traceback(city: Engine, tmp_path: Path) -> None:
    with pytest.raises(NoCatalog, match="there is no file"):
        import_catalog(city, tmp_path / "nowhere.toml", 1, NOW)


def test_partitions_stay_for_the_life_of_a_version(city: Engine, tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalog) as refused:
        import_catalog(city, _changed(tmp_path, "partitions = 4", "partitions = 8"), 1, NOW)
    assert refused.value.faults[0].rule == "partitions-last"


def test_a_resource_in_force_cannot_leave(city: Engine, tmp_path: Path) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "catalog.toml"
    path.write_text(text[: text.index('[[resource]]\ncode = "licence"')], encoding="utf-8")
    with pytest.raises(InvalidCatalog) as refused:
        import_catalog(city, path, 1, NOW)
    assert refused.value.faults[0].rule == "resource-lasts"


def _with_contract(folder: Path, resource: str, change: dict[str, object], item: str) -> Path:
    """The sample catalog beside a contract in which one item is changed."""
    schema = json.loads(shipped(resource, 1))
    next(field for field in schema["fields"] if field["name"] == item).update(change)
    (folder / f"{resource}.v1.avsc").write_text(json.dumps(schema), encoding="utf-8")
    shutil.copy(SAMPLE, folder / "catalog.toml")
    return folder / "catalog.toml"


def test_b07_an_incompatible_contract_is_refused(city: Engine, tmp_path: Path) -> None:
    before = show_contract(city, "population")
    path = _with_contract(tmp_path, "population", {"type": "long"}, "name")
    with pytest.raises(InvalidCatalog) as refused:
        import_catalog(city, path, 1, NOW)
    assert "contract v1" in refused.value.faults[0].place
    assert show_contract(city, "population") == before


def test_b08_a_contract_against_the_contract_rules_is_refused(database: Engine, tmp_path: Path) -> None:
    path = _with_contract(tmp_path, "population", {"type": ["string", "null"]}, "former_name")
    with pytest.raises(InvalidCatalog) as refused:
        import_catalog(database, path, 1, NOW)
    assert any("population" in fault.place and "former_name" in fault.place for fault in refused.value.faults)
    with pytest.raises(NoCatalog):
        show(database)


def test_another_view_opens_another_revision_of_the_open_channel(city: Engine, tmp_path: Path) -> None:
    path = _with_contract(tmp_path, "licence", {"sensitivity": 2}, "name")
    written = list(import_catalog(city, path, 1, NOW).written.values())
    assert [type(body) for body in written] == [Resource, OpenChannel]
    assert isinstance(written[1], OpenChannel)
    assert (written[1].topic, written[1].revision) == ("open.licence.v1.r2", 2)


def test_an_open_channel_does_not_change_under_its_grants(city: Engine, tmp_path: Path) -> None:
    items = show(city).resource["licence"].unconditional
    granted = sharing.submit(city, request(department="yibao", resource="licence", items=items), NOW)
    path = _with_contract(tmp_path, "licence", {"sensitivity": 2}, "name")
    with pytest.raises(InvalidCatalog) as refused:
        import_catalog(city, path, 1, NOW)
    assert refused.value.faults[0].rule == "view-lasts"
    assert granted.grant is not None
    sharing.revoke(city, granted.grant, "catalog-changed", "zhengshuju", NOW)
    assert import_catalog(city, path, 1, NOW).written
