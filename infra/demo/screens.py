"""What the demo shows. Every screen is headed 模拟数据: departments, people and numbers are invented."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from bianhe.consumers import Event
from bianhe.consumers.checker.findings import Kind, Report, Verdict
from bianhe.infra.demo.attempts import Answer
from bianhe.infra.demo.drift import DIFFERENCES, Drift
from bianhe.infra.demo.recount import Difference
from bianhe.infra.demo.revoking import Revoked
from bianhe.infra.demo.stage import Stage
from bianhe.infra.demo.tasks import Reading
from bianhe.registry.catalog.entry import CatalogItem
from bianhe.registry.catalog.sql import contract_of
from bianhe.registry.sharing.grant import GrantRow
from bianhe.registry.sharing.letter import Clause, clauses
from bianhe.registry.sql import transaction
from bianhe.schemas import names
from bianhe.schemas.contract import Part, Sharing
from bianhe.schemas.view import grant_view

NOTICE: Final = "模拟数据"
VALUE_CELLS: Final = 16
_SIGNS: Final = {True: "[green]✓[/]", False: "[bold red]✗[/]", None: "[dim]?[/]"}
COLUMNS_SHOWN: Final = 5
"""Departments side by side in one table."""

Shown = Callable[[int, int, int, int], None]
Received = tuple[GrantRow, Event, Sequence[Clause]]


class Screen:
    """Prints the story on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def told(self, text: str) -> None:
        """One thing that is done."""
        self._console.print(f"[green]✓[/] {escape(text)}")

    @contextmanager
    def flow(self, total: int) -> Iterator[Shown]:
        """Two bars: what was published, and what was routed of it."""
        self._head("four providers publish, the router routes")
        columns = (TextColumn("{task.description:<10}"), BarColumn(20), TextColumn("{task.fields[text]}"))
        with Progress(*columns, console=self._console) as bars:
            published = bars.add_task("publishing", total=total, text="")
            routed = bars.add_task("routing", total=total, text="")

            def shown(sent: int, taken: int, written: int, kept_back: int) -> None:
                bars.update(published, completed=sent, text=f"{sent:,} events")
                deliveries = f"{written:,} records written, {kept_back:,} kept back by row rules"
                bars.update(routed, completed=taken, text=f"{taken:,} events → {deliveries}")

            yield shown

    @contextmanager
    def reading(self, departments: int) -> Iterator[Callable[[Sequence[Reading]], None]]:
        """One bar: how many departments have read all that is there."""
        columns = (TextColumn("reading   "), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task("", total=departments, text="")

            def shown(done: Sequence[Reading]) -> None:
                received = sum(tally.records for reading in done for tally in reading.tallies.values())
                bars.update(task, completed=len(done), text=f"departments · {received:,} records received")

            yield shown

    def table(
        self,
        stage: Stage,
        readings: Mapping[str, Reading],
        written: Mapping[str, int],
        kept_back: Mapping[str, int],
        wrong: int,
    ) -> None:
        """Departments by resources: what each received, how many items, what was kept back from it."""
        self._head("what every department received")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(NOTICE)
        for resource in stage.catalog.resources:
            table.add_column(resource.title)
        for code in stage.subscribers:
            by_resource = {row.grant.resource: row for row in stage.grants_of(code)}
            cells = [
                _cell(stage, by_resource[resource.code], readings[code], kept_back)
                if resource.code in by_resource
                else "–"
                for resource in stage.catalog.resources
            ]
            table.add_row(stage.catalog.title(code), *cells)
        table.add_section()
        sums = [_sums(stage, resource.code, readings, written, kept_back) for resource in stage.catalog.resources]
        for place, title in enumerate(("written", "received", "kept back")):
            table.add_row(f"[bold]{title}[/]", *(f"{numbers[place]:,}" for numbers in sums))
        self._console.print(table)
        self._console.print(
            "-n: kept back by a row rule · an open channel is written once, however many departments read it",
            style="dim",
        )
        cells_counted = len(stage.answers.grants)
        verdict = f"equal in all {cells_counted} cells" if not wrong else f"[bold red]{wrong} differences[/]"
        self._console.print(f"recount from the input files under the catalog: {verdict}")

    def story(self, stage: Stage, readings: Mapping[str, Reading], refused: str, refusal: str) -> None:
        """The last event of one person, side by side as each department received it, with the clause for each item."""
        self._head("one event, 死亡注销 of one synthetic person, as it arrived")
        resource = stage.catalog.resource["population"]
        rows = [row for row in stage.answers.grants if row.grant.resource == resource.code]
        with transaction(stage.database) as connection:
            contract = contract_of(connection, resource.code, resource.version)
        columns = []
        for row in rows:
            event = readings[row.grant.department].story.get(row.topic)
            if event is None:
                rule = " and ".join(map(str, row.grant.row_rule))
                self._console.print(
                    f"{_wide(stage.catalog.title(row.grant.department), 24)} kept back: not in its rows, "
                    f"{escape(rule)} ({row.grant.number} 行级条件)"
                )
            else:
                columns.append((row, event, clauses(resource, grant_view(contract, row.grant))))
        title = stage.catalog.title(refused)
        self._console.print(f"{_wide(title, 24)} refused by the broker: {escape(refusal)} (no grant: 未授权)")
        for start in range(0, len(columns), COLUMNS_SHOWN):
            self._console.print()
            self._console.print(_side_by_side(stage, columns[start : start + COLUMNS_SHOWN]))
        masked = next(row for row in rows if row.grant.masks)
        letter = stage.papers.letter(masked.grant.number)
        self._console.print(f"\ndecision letter of {masked.grant.number}: {letter}\n")
        self._console.print(letter.read_text(encoding="utf-8"), style="dim", markup=False)

    def refusals(self, answers: Collection[Answer]) -> None:
        """What was tried without a grant, and the broker's answers."""
        refused = sum(answer.refused for answer in answers)
        self._head(f"refused by the broker: {refused} of {len(answers)} attempts that no grant allows")
        for answer in answers:
            colour = "green" if answer.refused else "bold red"
            self._console.print(f"  {answer.what:<36} {answer.name:<44} [{colour}]{answer.answer}[/]")

    def revocation(self, revoked: Revoked) -> None:
        """The end of a grant: its steps, its edge, and that nothing lies behind."""
        self._head(f"revoked {revoked.grant} (purpose-met 使用目的已实现) while {revoked.later} events flowed")
        for step in revoked.steps:
            self._console.print(f"  {escape(step)}")
        offsets = " ".join(f"{partition}:{end}" for partition, end in sorted(revoked.edge.items()))
        after = "nothing after" if revoked.ends == revoked.edge else "[bold red]records after it[/]"
        self._console.print(
            f"  closed {revoked.seconds:.1f} s after the decision · last offsets {offsets}, {after}\n"
            f"  {revoked.topic}: {revoked.written:,} records written, {revoked.received:,} received; "
            f"{revoked.after} later events were routed past it\n\n$ bianhe receipt verify {revoked.receipt}"
        )
        for check in revoked.checks:
            self._console.print(f"{_SIGNS[check.holds]} {escape(check.what)} [dim]· {escape(check.found)}[/]")

    def drift(self, drift: Drift) -> None:
        """What sync said of a rule that was added by hand."""
        self._head("an access rule added by hand, outside the catalog")
        for command, (code, words) in zip(("plan", "apply", "plan"), drift.steps, strict=True):
            self._console.print(f"$ bianhe sync {command}    [dim](exit {code})[/]")
            self._console.print(words, markup=False)
        state = (
            "found and closed" if drift.found[0] == DIFFERENCES and not drift.differences else "[bold red]not closed[/]"
        )
        self._console.print(f"drift: 1 access rule without a grant, {state}")

    def judgement(self, report: Report) -> None:
        """What the checker says of the raw logs."""
        self._head("the raw logs, read and judged by a program that shares no code with the router")
        color = "green" if report.verdict is Verdict.VALID else "bold red"
        self._console.print(
            f"$ bianhe check\n[{color}]{report.verdict}[/]: {report.checked[Kind.PROJECTION]:,} deliveries of "
            f"{report.checked[Kind.QUARANTINE]:,} source records, {report.checked[Kind.ATOMICITY]:,} journal entries, "
            f"{report.checked[Kind.TIMELINE]:,} policy records, {report.checked[Kind.ACCESS]:,} access rules"
        )

    def end(self, differences: Collection[Difference], seconds: float) -> None:
        """Whether every number is what the recount expects; if not, which are not."""
        self._console.print()
        for difference in differences:
            self._console.print(f"[bold red]differs[/]  {escape(str(difference))}")
        if not differences:
            self._console.print(f"every number equals the recount · {seconds:.0f} s")
            self._console.print("\nNext: bianhe up   (everything on http://127.0.0.1:8080)   ·   docs: infra/docs/")

    def _head(self, title: str) -> None:
        self._console.print(f"\n[bold reverse] {NOTICE} [/] [bold]{title}[/]\n")


def _cell(stage: Stage, row: GrantRow, reading: Reading, kept_back: Mapping[str, int]) -> str:
    tally = reading.tallies.get(row.topic)
    parts = [stage.catalog.resource[row.grant.resource].by_name[name].part for name in row.grant.items]
    base, business = parts.count(Part.BASE), parts.count(Part.BUSINESS)
    items = f"{base} + {business} items" if business else f"{base} items"
    text = f"{tally.records if tally else 0:,} · {items}"
    return f"{text} [dim]-{kept_back[row.topic]:,}[/]" if kept_back.get(row.topic) else text


def _sums(
    stage: Stage, resource: str, readings: Mapping[str, Reading], written: Mapping[str, int], kept: Mapping[str, int]
) -> tuple[int, int, int]:
    def of(topic: str) -> bool:
        parsed = names.parse_topic(topic)
        return parsed is not None and parsed.resource == resource

    received = (tally.records for reading in readings.values() for topic, tally in reading.tallies.items() if of(topic))
    return sum(n for topic, n in written.items() if of(topic)), sum(received), sum(n for t, n in kept.items() if of(t))


def _side_by_side(stage: Stage, columns: Sequence[Received]) -> Table:
    """Items down, departments across; the article of an item beside it, the grant's number and purpose above."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("item")
    table.add_column("clause", style="dim")
    for row, _, _ in columns:
        title = stage.catalog.title(row.grant.department)
        table.add_column(f"{title}\n{row.grant.number}\n第十四条 {row.grant.purpose}", overflow="fold")
    resource = stage.catalog.resource[columns[0][0].grant.resource]
    for place, clause in enumerate(columns[0][2]):
        cells = [_treated(event, here[place]) for _, event, here in columns]
        table.add_row(f"{clause.title} {clause.item}", _article(resource.by_name[clause.item]), *cells)
    return table


def _article(item: CatalogItem) -> str:
    """The article that an item's sharing type rests on."""
    match item.sharing:
        case Sharing.UNCONDITIONAL:
            return "第十二条 无条件共享"
        case Sharing.CONDITIONAL:
            return "第十五条 有条件共享"
        case Sharing.WITHHELD:
            return "第十一条 不予共享"


def _treated(event: Event, clause: Clause) -> str:
    """A value as it arrived, with its mask if it has one, or why it did not arrive."""
    if clause.item not in event.items:
        return f"[dim]– {escape(clause.treatment)}[/]"
    value = escape(_shown(event.items[clause.item]))
    return value if clause.treatment == "提供" else f"{value} [yellow]{escape(clause.treatment)}[/]"


def _shown(value: Any) -> str:
    if value is None:
        return "(空)"
    text = value.hex() if isinstance(value, bytes) else str(value)
    if cell_len(text) <= VALUE_CELLS:
        return text
    half = VALUE_CELLS // 2 - 1
    return f"{set_cell_size(text, half).rstrip()}…{text[-4:]}"


def _wide(text: str, cells: int) -> str:
    return set_cell_size(text, cells)
