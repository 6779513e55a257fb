"""The letter says what the grant does, item by item, and why."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bianhe.registry.sharing import application as rules
from bianhe.registry.sharing.compile import compile_grant
from bianhe.registry.sharing.letter import agreement, clauses, mask_text, refusal
from bianhe.schemas.grant import Mask, parse_row_rule
from support.registry import CATALOG, NOW, POPULATION, request

RESOURCE = CATALOG.resource["population"]


def _letter(items: tuple[str, ...], masks: tuple[str, ...] = (), where: str = "") -> str:
    application = rules.submit(request(items=items), CATALOG, POPULATION, "A-2026-0001", NOW)
    row_rule = parse_row_rule(where) if where else ()
    grant = rules.agree(application, tuple(map(Mask.parse, masks)), row_rule, POPULATION, "G-2026-0001")
    delivery = compile_grant(grant, POPULATION, "open.population.v1.r1")
    answered = rules.granted(application, grant, "gongan", NOW)
    return agreement(answered, grant, delivery.view, delivery.topic, CATALOG)


def test_a_letter_names_grant_purpose_basis_term_and_topic() -> None:
    letter = _letter(("name", "migrated_on"))
    for part in (
        "模拟数据",
        "G-2026-0001",
        "A-2026-0001",
        "人力资源和社会保障局",
        "公安局",
        "业务协同",
        "社会保险法 第五十七条第三款",
        "2027-12-31",
        "grant.renshe.population.v1.g-2026-0001",
        "renshe.main",
        "2026年11月23日",
    ):
        assert part in letter


def test_a_letter_tells_masks_and_row_rule_in_words() -> None:
    letter = _letter(
        ("citizen_id", "name", "birth_date", "address", "address_id"),
        ("citizen_id=first:6", "name=pseudonym", "birth_date=year", "address=constant:不提供", "address_id=null"),
        "residence_division prefix 4102 and status in 1,2 and sex = 1",
    )
    for part in ("仅保留前 6 个字符", "假名", "仅保留年份", "固定值“不提供”", "置空"):
        assert part in letter
    assert "户籍地行政区划以 4102 开头;户口状态为 1、2 之一;性别为 1" in letter


@given(st.lists(st.sampled_from([item.name for item in POPULATION.items]), min_size=1, unique=True))
def test_every_item_of_the_catalog_has_a_clause(items: list[str]) -> None:
    application = rules.submit(request(items=tuple(items)), CATALOG, POPULATION, "A-2026-0001", NOW)
    masked = (Mask.parse(f"{items[0]}=null"),)
    grant = rules.agree(application, masked, (), POPULATION, "G-2026-0001")
    found = {clause.item: clause for clause in clauses(RESOURCE, compile_grant(grant, POPULATION, None).view)}
    assert list(found) == [item.name for item in RESOURCE.items]
    assert {name for name, clause in found.items() if clause.treatment == "提供"} == set(items[1:])
    assert found[items[0]].treatment == f"脱敏:{mask_text(masked[0])}"
    assert found["fingerprint"].treatment == "不予共享"
    assert all(clause.article for clause in found.values())


def test_a_refusal_gives_reason_and_the_way_of_article_15() -> None:
    application = rules.submit(request(), CATALOG, POPULATION, "A-2026-0001", NOW)
    letter = refusal(rules.refused(application, "与职责无关", "gongan", NOW), CATALOG)
    assert "理由:与职责无关" in letter
    assert "由政务服务和大数据管理局协调解决(第十五条)" in letter
    assert "公民身份号码、姓名、迁入日期" in letter
