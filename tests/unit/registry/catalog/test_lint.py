"""Every way in which a catalog file is wrong gives a fault with file, entry, rule and article."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bianhe.registry.catalog.entry import Basis, InvalidCatalog, Rank
from bianhe.registry.catalog.file import read_catalog
from bianhe.registry.catalog.lint import ARTICLES, was_read
from bianhe.schemas.contract import Sharing, shipped
from bianhe.schemas.errors import Fault
from support.registry import CATALOG, SAMPLE

_FILE = Path(__file__).parents[3] / "vectors" / "catalog" / "faults.toml"
FAULTS = tomllib.loads(_FILE.read_text(encoding="utf-8"))["fault"]


def _faults(path: Path) -> tuple[Fault, ...]:
    try:
        return read_catalog(path)[2].faults
    except InvalidCatalog as refused:
        return tuple(refused.faults)


def _changed(folder: Path, find: str, put: str) -> Path:
    text = SAMPLE.read_text(encoding="utf-8")
    assert find in text
    path = folder / "kaifeng.toml"
    path.write_text(text.replace(find, put, 1), encoding="utf-8")
    return path


def test_the_sample_catalog_has_no_fault_and_no_warning() -> None:
    _, _, findings = read_catalog(SAMPLE)
    assert (findings.faults, findings.warnings) == ((), ())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["law"])
def test_a_wrong_catalog_is_told_file_entry_and_article(tmp_path: Path, fault: dict[str, str]) -> None:
    found = _faults(_changed(tmp_path, fault["find"], fault["put"]))
    assert (f"kaifeng.toml, {fault['place']}", fault["rule"]) in [(one.place, one.rule) for one in found]


def test_every_rule_of_the_linter_has_a_wrong_catalog() -> None:
    tried = {fault["rule"].split(",")[0] for fault in FAULTS}
    assert set(ARTICLES) - tried == {"basis-rank"}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = SAMPLE.read_text(encoding="utf-8").replace('title = "姓名"', 'title = "名字"').replace("用于身份核验", "")
    path = tmp_path / "kaifeng.toml"
    path.write_text(text.replace('authority = "zhengshuju"', 'authority = "nobody"'), encoding="utf-8")
    assert {fault.rule.split(",")[0] for fault in _faults(path)} == {
        "department-known",
        "contract-agrees",
        "condition-stated",
    }


def test_a_basis_of_policy_alone_is_a_warning(tmp_path: Path) -> None:
    path = _changed(tmp_path, 'rank = "法律", mark', 'rank = "党中央、国务院政策", mark')
    _, _, findings = read_catalog(path)
    assert findings.faults == ()
    assert [warning.rule for warning in findings.warnings] == ["basis-rank, 809"]


def test_more_partitions_than_workers_pay_for_are_a_warning(tmp_path: Path) -> None:
    _, _, findings = read_catalog(_changed(tmp_path, "partitions = 4", "partitions = 32"))
    assert [warning.place for warning in findings.warnings] == ["kaifeng.toml, resource population, partitions"]


def test_a_toml_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    [fault] = _faults(_changed(tmp_path, "base = true", "base = maybe"))
    line = SAMPLE.read_text(encoding="utf-8").splitlines().index("base = true") + 1
    assert f"line {line}" in fault.message


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "kaifeng.toml"
    path.write_bytes(SAMPLE.read_text(encoding="utf-8").encode("gb18030"))
    [fault] = _faults(path)
    assert fault.rule == "utf-8"


def test_a_contract_that_is_no_json_is_told(tmp_path: Path) -> None:
    path = _changed(tmp_path, "base = true", "base = true")
    (tmp_path / "population.v1.avsc").write_text("{", encoding="utf-8")
    [fault] = _faults(path)
    assert fault.place == "kaifeng.toml, resource population, contract v1"


def test_a_contract_that_cannot_be_one_is_told_with_its_cure(tmp_path: Path) -> None:
    path = _changed(tmp_path, "base = true", "base = true")
    text = shipped("population", 1).replace('"SNAPSHOT"', '"SNAPSHOT", "OTHER"')
    (tmp_path / "population.v1.avsc").write_text(text, encoding="utf-8")
    [fault] = _faults(path)
    assert (fault.place, fault.cure) == ("kaifeng.toml, resource population, contract v1", "write it so")
    assert fault.message.startswith('field 2 is not {"name": "event_kind"')


def test_a_basis_was_read_only_if_each_of_its_articles_was() -> None:
    def basis(article: str) -> Basis:
        return Basis(document="居民身份证法", article=article, rank=Rank.LAW)

    assert was_read(basis("第三条、第六条"))
    assert was_read(basis("第六条第三款"))
    assert not was_read(basis("第三条、第七条"))
    assert not was_read(basis("有关规定"))


def test_every_base_resource_has_conditional_and_withheld_items() -> None:
    for resource in CATALOG.resources:
        assert {item.sharing for item in resource.items} == set(Sharing)
        assert resource.sharing is Sharing.CONDITIONAL
