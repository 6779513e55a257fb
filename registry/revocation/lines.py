"""A revocation as a person follows it: a line for each step, and what keeps it waiting."""

from __future__ import annotations

from collections.abc import Mapping

from bianhe.registry.revocation.step import (
    Close,
    Done,
    Fence,
    Finish,
    MarkEffective,
    Settled,
    Step,
    WaitForEnds,
    WaitForFetches,
    WaitForLog,
    WaitForWriters,
    Withdraw,
)
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.receipt import Receipt


def line(step: Step) -> str:
    """What a step tells; empty where it tells nothing new."""
    match step:
        case WaitForLog():
            return ""
        case WaitForWriters(version, late, writers, doing):
            return f"{doing:<10} policy {version} · {writers - len(late)} of {writers} writers acknowledged"
        case Fence(version, writers):
            return f"fencing    {', '.join(writers)}, silent since policy {version}"
        case WaitForEnds(topic):
            return f"revoking   waits until nothing is pending on {topic}"
        case MarkEffective(version, writers, edge, fenced) if edge:
            shut_out = f", {len(fenced)} fenced" if fenced else ""
            return f"revoking   policy {version} · {writers - len(fenced)} of {writers} writers acknowledged{shut_out}"
        case MarkEffective(version):
            return f"revoking   policy {version} · an open channel has no last offset"
        case Withdraw(_, edge, seconds) | Close(_, edge, seconds) | Finish(edge, seconds) if edge:
            return f"effective  {seconds:.1f} s after the decision · last offsets {offsets(edge)}"
        case WaitForFetches(millis):
            return f"closing    access rule gone; {millis / 1000:.0f} s until no fetch from before can wait any more"
        case Done(receipt):
            return f"closed     {_closed(receipt)} · receipt {receipt.number}"
        case Settled(GrantState.SUSPENDED, version):
            return f"suspended  policy {version} · stands still where it is"
        case Settled(_, version):
            return f"resumed    policy {version} · goes on from there"
        case _:
            return ""


def offsets(edge: Mapping[int, int]) -> str:
    """Last offsets by partition."""
    return " ".join(f"{partition}:{end}" for partition, end in sorted(edge.items()))


def _closed(receipt: Receipt) -> str:
    if receipt.kept_for:
        return f"access rule kept for {', '.join(receipt.kept_for)}"
    count = len(receipt.brokers)
    emptied = "mailbox emptied, " if receipt.withdrawn else ""
    together = "effective now, " if not receipt.edge else ""
    return f"{together}{emptied}access rules gone on {count} of {count} brokers"


def obstacle(step: Step, number: str) -> tuple[str, str]:
    """What keeps a revocation waiting in a step, as cause and cure."""
    again = f"then bianhe grant show {number}"
    match step:
        case WaitForWriters(_, late, _):
            return f"writer {', '.join(late)} has not acknowledged", f"it is fenced in a moment; {again}"
        case Fence(_, writers):
            return f"writer {', '.join(writers)} could not be fenced", f"see whether every broker runs, {again}"
        case WaitForEnds(topic):
            return f"{topic} is not there, or a transaction is open on it", f"bianhe sync apply, bianhe doctor, {again}"
        case WaitForFetches(millis):
            return f"connections from before may live for {millis / 1000:.0f} s", f"wait as long, {again}"
        case Close(rule):
            return f"a broker still knows the access rule {rule}", f"see whether every broker runs, {again}"
        case _:
            return "the registry does not run", f"start it (bianhe up), {again}"
