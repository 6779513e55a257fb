"""Bad input through the command line: one error with cause or cure, no traceback, and not a row or file changes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bianhe.infra.cli.console import Exit
from bianhe.infra.settings import write_secret
from bianhe.schemas.contract import shipped
from bianhe.schemas.names import ADMIN_ACCOUNT
from support.command_line import Run, explained
from support.registry import SAMPLE
from support.rows import csv_file, row

VECTORS = Path(__file__).parents[1] / "vectors" / "catalog" / "faults.toml"
CATALOGS = [
    fault for fault in tomllib.loads(VECTORS.read_text(encoding="utf-8"))["fault"] if fault["law"].startswith("b0")
]
APPLICATION = {
    "--department": "renshe",
    "--resource": "population",
    "--items": "citizen_id,ethnic_group",
    "--purpose": "业务协同",
    "--basis": "社会保险法 第五十七条第三款",
    "--scenario": "养老保险关系转移",
    "--until": "2099-12-31",
}


def state(home: Path) -> tuple[str, list[str]]:
    """Every row of the database, and the names of all other files."""
    with closing(sqlite3.connect(home / "registry.sqlite")) as database:
        rows = "\n".join(database.iterdump())
    return rows, sorted(str(file) for file in home.rglob("*") if not file.name.startswith("registry.sqlite"))


def refused(run: Run, home: Path, *arguments: object) -> str:
    """Run what must be refused; gives what was said."""
    before = state(home)
    code, out, said = run(*arguments)
    assert (code, out) == (Exit.FAILED, "")
    assert explained(said)
    assert state(home) == before
    return said


def submit(**other: str) -> list[str]:
    options = APPLICATION | {f"--{name}": value for name, value in other.items()}
    return ["application", "submit", "--declare", *(word for option in options.items() for word in option)]


@pytest.mark.parametrize("fault", CATALOGS, ids=lambda fault: fault["law"])
def test_a_bad_catalog_is_not_imported(imported: Run, tmp_path: Path, fault: dict[str, str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(SAMPLE.read_text(encoding="utf-8").replace(fault["find"], fault["put"], 1), encoding="utf-8")
    said = refused(imported, tmp_path, "catalog", "import", path)
    assert f"bad.toml, {fault['place']}" in said
    assert fault["rule"] in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"type": ["null", "long"]}, "compatible-backward", id="b07-a-text-becomes-a-number"),
        pytest.param({"type": "string", "default": ""}, "compatible-backward", id="b07-never-null-any-more"),
        pytest.param({"type": ["string", "null"]}, "contract-union", id="b08-null-stands-second"),
        pytest.param({"type": "Nothing"}, "contract-type", id="b08-an-unknown-type"),
        pytest.param({"codes": "no-such-table"}, "contract-codes", id="b08-an-unknown-code-table"),
    ],
)
def test_a_bad_contract_is_not_imported(imported: Run, tmp_path: Path, change: dict[str, Any], told: str) -> None:
    schema = json.loads(shipped("population", 1))
    next(field for field in schema["fields"] if field["name"] == "former_name").update(change)
    (tmp_path / "population.v1.avsc").write_text(json.dumps(schema), encoding="utf-8")
    shutil.copy(SAMPLE, tmp_path / "catalog.toml")
    said = refused(imported, tmp_path, "catalog", "import", tmp_path / "catalog.toml")
    assert "resource population, contract v1" in said
    assert told in said


@pytest.mark.parametrize(
    ("other", "told"),
    [
        pytest.param({"items": "name,fingerprint"}, "居民身份证法", id="b09-withheld"),
        pytest.param({"until": "2020-12-31"}, "in the past", id="b10-past"),
        pytest.param({"items": "shoe_size"}, "no such item", id="b11-unknown"),
        pytest.param({"items": " ,"}, "no item is named", id="b11-none"),
        pytest.param({"basis": " "}, "basis: is missing", id="b13-blank"),
        pytest.param({"basis": ""}, "basis: is missing", id="b13-none"),
    ],
)
def test_a_bad_application_is_not_submitted(imported: Run, tmp_path: Path, other: dict[str, str], told: str) -> None:
    assert told in refused(imported, tmp_path, *submit(**other))


def test_b12_a_row_rule_on_a_masked_item_is_not_granted(imported: Run, tmp_path: Path) -> None:
    number = imported(*submit())[1].split()[0]
    masked = ("--agree", "--mask", "citizen_id=first:6", "--where", "citizen_id prefix 410212")
    assert "condition-masked" in refused(imported, tmp_path, "application", "decide", number, *masked)


@pytest.fixture
def bus_away(imported: Run, tmp_path: Path) -> Run:
    """A machine with everything a command needs but a broker; `G` in a command line stands for a grant."""
    write_secret(tmp_path / "secrets" / ADMIN_ACCOUNT, SecretStr("wrong or right, nobody asks"))
    write_secret(tmp_path / "password", SecretStr("wrong or right, nobody asks"))
    (tmp_path / "changes.csv").write_bytes(csv_file([row()]).getvalue())
    profile = 'department = "gongan"\nbootstrap = "127.0.0.1:1"\nregistry = "http://127.0.0.1:1"\n'
    (tmp_path / "gongan.toml").write_text(profile + 'password_file = "password"\nkey_secrets = "keys"\n')
    grant = imported(*submit(items="unconditional"))[1].split()[0]
    named = {"G": grant, "FILE": tmp_path / "changes.csv", "PROFILE": tmp_path / "gongan.toml"}
    return lambda *words: imported(*(named.get(word, word) for word in words))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("publish population FILE --profile PROFILE", id="b26-publish"),
        pytest.param("subscribe --profile PROFILE", id="b26-subscribe"),
        pytest.param("sync plan", id="b26-sync-plan"),
        pytest.param("sync apply", id="b26-sync-apply"),
        pytest.param("account list", id="b26-account-list"),
        pytest.param("account rotate renshe", id="b26-account-rotate"),
        pytest.param("grant revoke G --ground purpose-met", id="b26-grant-revoke"),
    ],
)
def test_without_a_broker_a_command_says_so_soon(bus_away: Run, tmp_path: Path, line: str) -> None:
    begun = time.monotonic()
    said = refused(bus_away, tmp_path, *line.split())
    assert time.monotonic() - begun < 15
    assert said.startswith("error  no broker answers at 127.0.0.1:1\n")
    assert "bianhe up" in said
    assert "nobody asks" not in said


def test_b29_a_locked_database_refuses_a_command(imported: Run, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "registry.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in refused(imported, tmp_path, *submit())
    assert imported(*submit())[0] == Exit.DONE


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(submit(), id="b29-application"),
        pytest.param(["application", "decide", "A", "--agree"], id="b29-decision"),
        pytest.param(["catalog", "import", "CHANGED"], id="b29-catalog"),
    ],
)
def test_a_read_only_database_refuses_a_command(
    imported: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(SAMPLE.read_text(encoding="utf-8").replace("商务局", "商务和粮食局"), encoding="utf-8")
    named = {"A": imported(*submit())[1].split()[0], "CHANGED": changed}
    monkeypatch.setenv("BIANHE_DATABASE", f"sqlite:///file:{tmp_path / 'registry.sqlite'}?mode=ro&uri=true")
    assert "read-only" in refused(imported, tmp_path, *(named.get(word, word) for word in words))


@pytest.mark.parametrize("address", ["nowhere", "mysql://root:s3cret@localhost/registry", "klingon://registry"])
def test_b29_an_address_of_no_database_is_told_and_not_shown(
    imported: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("BIANHE_DATABASE", address)
    said = refused(imported, tmp_path, "application", "list")
    assert "BIANHE_DATABASE" in said
    assert "s3cret" not in said
