"""The commands of catalog, applications, grants and contracts, from the file to the letter, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bianhe.infra.cli.console import Exit
from support.command_line import Run
from support.registry import SAMPLE

APPLY = (
    *("application", "submit", "--department", "renshe", "--resource", "population", "--until", "2099-12-31"),
    *("--purpose", "业务协同", "--basis", "社会保险法 第五十七条第三款", "--scenario", "养老保险关系转移"),
)


def test_a_catalog_is_imported_once_and_shown(run: Run) -> None:
    code, out, _ = run("catalog", "import", str(SAMPLE))
    assert code == Exit.DONE
    assert "waiting for the relay" in out
    assert "nothing changed" in run("catalog", "import", str(SAMPLE))[1]
    assert "自然资源和空间地理" in run("catalog", "show")[1]
    items = json.loads(run("catalog", "show", "population", "--output", "json")[1])
    assert {item["item"]: item["sharing"] for item in items}["fingerprint"] == "不予共享"


def test_a_faulty_catalog_is_listed_and_not_imported(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(SAMPLE.read_text(encoding="utf-8").replace('provider = "gongan"', 'provider = "x"'), "utf-8")
    code, out, _ = run("catalog", "lint", str(path), "--output", "json")
    assert code == Exit.FAILED
    assert [row["place"] for row in json.loads(out)] == ["catalog.toml, resource population, provider"]
    assert "[[department]]" in run("catalog", "lint", str(path))[1]
    code, _, err = run("catalog", "import", str(path))
    assert code == Exit.FAILED
    assert "第十一条" in err
    assert run("catalog", "lint", str(SAMPLE))[0] == Exit.DONE


def test_a_conditional_application_goes_from_submission_to_letter_and_end(imported: Run, tmp_path: Path) -> None:
    code, out, _ = imported(*APPLY, "--items", "citizen_id,name,migrated_on", "--declare")
    assert (code, "A-" in out, "公安局 answers by" in out) == (Exit.DONE, True, True)
    number = out.split()[0]
    rule = ("--mask", "citizen_id=first:6", "--where", "residence_division prefix 410212")
    code, out, _ = imported("application", "decide", number, "--agree", *rule)
    assert code == Exit.DONE
    assert "3 items, 1 masked, 1 row rule" in out
    grant = out.split()[0]
    assert "仅保留前 6 个字符" in (tmp_path / "letters" / f"{grant}.txt").read_text(encoding="utf-8")
    assert grant in imported("application", "show", number)[1]
    assert "residence_division prefix 410212" in imported("grant", "list")[1]
    assert "答复函" in imported("grant", "show", grant)[1]
    assert imported("grant", "show", grant, "--output", "json")[0] == Exit.DONE


def test_unconditional_items_are_granted_at_once(imported: Run) -> None:
    code, out, _ = imported(*APPLY, "--items", "unconditional", "--declare")
    assert (code, out.startswith("G-")) == (Exit.DONE, True)
    [row] = json.loads(imported("grant", "list", "--output", "json")[1])
    assert row["topic"] == "open.population.v1.r1"


def test_a_refusal_needs_a_reason(imported: Run) -> None:
    number = imported(*APPLY, "--items", "ethnic_group", "--declare")[1].split()[0]
    assert imported("application", "decide", number, "--refuse")[0] == Exit.FAILED
    assert imported("application", "decide", number, "--refuse", "--mask", "name=null")[0] == Exit.MISUSED
    code, out, _ = imported("application", "decide", number, "--refuse", "--reason", "与职责无关")
    assert (code, "refused" in out) == (Exit.DONE, True)
    [row] = json.loads(imported("application", "list", "--output", "json")[1])
    assert (row["state"], row["reason"]) == ("refused", "与职责无关")


@pytest.mark.parametrize(
    "command",
    [
        (*APPLY, "--items", "fingerprint", "--declare"),
        (*APPLY, "--items", "name"),
        ("application", "show", "A-2000-0001"),
        ("application", "decide", "A-2000-0001", "--agree"),
        ("grant", "show", "G-2000-0001"),
        ("grant", "revoke", "G-2000-0001", "--ground", "purpose-met"),
        ("contract", "show", "weather"),
        ("contract", "show", "population", "--version", "9"),
        ("catalog", "show", "weather"),
        ("catalog", "lint", "/nowhere/catalog.toml"),
        ("grant", "list", "--department", "nosuch"),
        ("grant", "list", "--resource", "nosuch"),
        ("subscribe", "--profile", "/nowhere/renshe.toml"),
        ("pki", "show"),
        ("catalog", "import", "/nowhere/catalog.toml"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_an_expected_fault_is_explained_and_not_traced(imported: Run, command: tuple[str, ...]) -> None:
    code, out, err = imported(*command)
    assert (code, out) == (Exit.FAILED, "")
    assert err.startswith("error")
    assert "cure" in err
    assert "Traceback" not in err


def test_a_contract_is_a_table_for_people_and_avro_for_programs(imported: Run) -> None:
    assert "公民身份号码" in imported("contract", "show", "population")[1]
    schema = json.loads(imported("contract", "show", "population", "--output", "json")[1])
    assert (schema["type"], schema["resource"]) == ("record", "population")
