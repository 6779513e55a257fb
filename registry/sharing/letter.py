"""The letter that answers an application (答复函), in Chinese. Pure: the grant's digest stands in it and binds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bianhe.registry.catalog.entry import Catalog, Resource
from bianhe.registry.sharing.application import STANDING_CONSENT, Application, way_out
from bianhe.schemas.contract import Item, Part, Sharing
from bianhe.schemas.grant import CITY_TIME, Condition, Grant, Mask, MaskKind, Operator
from bianhe.schemas.view import View

_PARTS: Final = {Part.BASE: "基础信息项", Part.BUSINESS: "业务信息项"}


@dataclass(frozen=True, slots=True)
class Clause:
    """What a grant does with one item of the catalog, and the article that it rests on."""

    item: str
    title: str
    treatment: str
    """提供, 脱敏 with the kind of mask, 未授权 or 不予共享."""
    article: str


def clauses(resource: Resource, view: View) -> tuple[Clause, ...]:
    """Every item of the resource, given or not, in the order of the catalog."""
    found = []
    for item in resource.items:
        if item.sharing is Sharing.WITHHELD:
            found.append(Clause(item.name, item.title, "不予共享", f"第十一条;{item.basis}"))
        elif item.name not in view.items:
            found.append(Clause(item.name, item.title, "未授权", "未申请"))
        else:
            mask = view.masks.get(item.name)
            treatment = "提供" if mask is None else f"脱敏:{mask_text(mask)}"
            found.append(Clause(item.name, item.title, treatment, _article(view.contract.by_name[item.name])))
    return tuple(found)


def agreement(application: Application, grant: Grant, view: View, topic: str, catalog: Catalog) -> str:
    """The letter of a grant. `topic` is where it is delivered; all times are the city's."""
    resource = catalog.resource[grant.resource]
    provider, subscriber = catalog.title(resource.provider), catalog.title(grant.department)
    lines = [
        *_head(catalog, "政务数据共享答复函", grant.number),
        f"{subscriber}:",
        "",
        f"你单位 {_day(application.submitted_at)} 提出的共享申请({application.number})收悉。"
        f"{_authority_to_answer(application, provider)}现答复如下:",
        "",
        f"一、同意共享{provider}的“{resource.title}”({resource.code}.v{grant.version}),共 {len(grant.items)} 项。",
        f"    使用用途:{grant.purpose}(第十四条)",
        f"    使用依据:{grant.basis}",
        f"    使用场景:{grant.scenario}",
        f"    使用范围:{grant.scope}",
        f"    使用时限:至 {grant.until} 止(含当日)",
        *([f"    本授权替代 {application.request.changes},后者同时终止。"] if application.request.changes else []),
        "",
        "二、信息项:",
        *(f"    {_clause_line(clause)}" for clause in clauses(resource, view)),
        "",
        f"三、行级条件:{_row_rule_text(grant, view)}",
        "",
        "四、交付方式:",
        f"    主题 {topic};账号 {grant.department} 可读,其他账号不可读该专属投递。"
        if topic.startswith("grant.")
        else f"    公共通道 {topic};账号 {grant.department} 可读。",
        f"    消费组:{'、'.join(f'{grant.department}.{client}' for client in _clients(catalog, grant.department))}",
        "",
        "五、使用要求:只用于上述用途,不得提供给第三方或用于其他目的(第十八条、809 第二十五条);",
        "    使用记录至少保存三年(809 第二十九条);发现疑义或错误及时反馈提供部门校核(第十八条);",
        "    目的已实现或无法实现的,按提供部门要求处置数据;滥用的,暂停共享、限期整改直至终止(809 第二十七条)。",
        "",
        *_foot(provider, application),
        f"授权摘要 SHA-256:{grant.digest}",
    ]
    return "\n".join(lines) + "\n"


def refusal(application: Application, catalog: Catalog) -> str:
    """The letter of a refusal: its reason and the way of article 15."""
    request = application.request
    resource = catalog.resource[request.resource]
    provider = catalog.title(resource.provider)
    titles = [resource.by_name[name].title for name in request.items if name in resource.by_name]
    lines = [
        *_head(catalog, "政务数据不予共享答复函", application.number),
        f"{catalog.title(request.department)}:",
        "",
        f"你单位 {_day(application.submitted_at)} 提出的共享申请({application.number})收悉。",
        f"申请共享“{resource.title}”的:{'、'.join(titles)}。",
        "",
        f"经研究,不予共享。理由:{application.reason}",
        "",
        f"{way_out(catalog, resource)}。",
        "",
        *_foot(provider, application),
    ]
    return "\n".join(lines) + "\n"


def mask_text(mask: Mask) -> str:
    """A mask in words."""
    match mask.kind:
        case MaskKind.NULL:
            return "置空"
        case MaskKind.CONSTANT:
            return f"固定值“{mask.argument}”"
        case MaskKind.FIRST:
            return f"仅保留前 {mask.argument} 个字符"
        case MaskKind.PSEUDONYM:
            return "替换为本授权专用的假名"
        case MaskKind.YEAR:
            return "仅保留年份"


def _head(catalog: Catalog, title: str, number: str) -> list[str]:
    return [*([f"【{catalog.notice}】", ""] if catalog.notice else []), title, f"编号:{number}", ""]


def _foot(provider: str, application: Application) -> list[str]:
    assert application.decided_at is not None
    return [provider, _day(application.decided_at)]


def _authority_to_answer(application: Application, provider: str) -> str:
    if application.decided_by == STANDING_CONSENT:
        return f"所申请的均为无条件共享信息项,依{provider}的预先同意即时答复。"
    return ""


def _article(item: Item) -> str:
    if item.sharing is Sharing.CONDITIONAL:
        return f"{_PARTS[item.part]},第十五条有条件共享,提供部门同意"
    return f"{_PARTS[item.part]},{'第十二条' if item.part is Part.BASE else '第十五条'}无条件共享"


def _clause_line(clause: Clause) -> str:
    return f"{clause.title}({clause.item}):{clause.treatment}〔{clause.article}〕"


def _row_rule_text(grant: Grant, view: View) -> str:
    if not grant.row_rule:
        return "无,提供全部实体的变更。"
    return (
        "仅提供同时满足下列条件的实体:" + ";".join(_condition(view, condition) for condition in grant.row_rule) + "。"
    )


def _condition(view: View, condition: Condition) -> str:
    title = view.contract.by_name[condition.item].title
    values = "、".join(condition.values)
    match condition.operator:
        case Operator.EQUALS:
            return f"{title}为 {values}"
        case Operator.IN:
            return f"{title}为 {values} 之一"
        case Operator.PREFIX:
            return f"{title}以 {values} 开头"


def _clients(catalog: Catalog, department: str) -> tuple[str, ...]:
    return catalog.department[department].clients if department in catalog.department else ("main",)


def _day(at: datetime) -> str:
    local = at.astimezone(CITY_TIME)
    return f"{local.year}年{local.month}月{local.day}日"
