"""A delivery against what was due: how exactly does it differ, if it does?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from bianhe.consumers.checker.delivery import UNREADABLE, Delivered
from bianhe.consumers.checker.due import Due
from bianhe.consumers.checker.findings import Kind
from bianhe.consumers.checker.projection import NotOfItsSchema
from bianhe.consumers.checker.source import is_identity_number, is_key
from bianhe.consumers.checker.timeline import Feed

Difference = tuple[Kind, str]


def differences(found: Delivered, due: Due, feed: Feed, version: int | None, seq: int | None) -> Iterator[Difference]:
    """Everything in which a delivery is not what was due; `version` and `seq` None where they are not known."""
    if found.kind == UNREADABLE:
        yield Kind.PROJECTION, "it is no delivery record"
        return
    if found.source_offset != due.entry.offset:
        yield Kind.PROJECTION, f"bus_offset is {found.source_offset}, the source record is {due.entry.offset}"
    if seq is not None and found.seq != seq:
        yield Kind.SEQUENCE, f"bus_seq is {found.seq}, must be {seq}"
    if version is not None and found.version != version:
        yield Kind.VERSION, f"bus_policy is {found.version}, the journal says {version}"
    if found.extra:
        yield Kind.LEAK, f"it carries {len(found.extra)} headers that have no place there"
    if found.key != due.entry.key:
        someone = not is_key(found.key) or is_identity_number(found.key, due_day(due))
        yield (Kind.LEAK if someone else Kind.PROJECTION), "its key is not that of the source record"
    yield from _content(found, due, feed)


def due_day(due: Due) -> date:
    """The day on which the source record was appended (UTC)."""
    return datetime.fromtimestamp(due.entry.millis / 1000, UTC).date()


def _content(found: Delivered, due: Due, feed: Feed) -> Iterator[Difference]:
    if found.body is None:
        if found.kind != due.null:
            yield Kind.PROJECTION, f"it is a null of kind {found.kind!r}, due was {due.null or 'a record'!r}"
        return
    if due.projection is None:
        yield Kind.LEAK, f"it has a value where a null ({due.null}) was due"
        return
    if found.schema_id != feed.schema_id:
        yield Kind.LEAK, f"its schema id is {found.schema_id}, the view's is {feed.schema_id}"
        return
    if not due.projection.judgeable or due.projection.shape.write(due.fields) == found.body:
        return
    yield _body(found.body, due, feed)


def _body(body: bytes, due: Due, feed: Feed) -> Difference:
    assert due.projection is not None
    try:
        record, rest = due.projection.shape.read_loosely(body)
    except NotOfItsSchema as reason:
        return Kind.PROJECTION, reason.message
    if rest:
        return Kind.LEAK, f"{rest} bytes follow the last field that was granted"
    wrong = [name for name, value in due.fields.items() if record[name] != value]
    if not wrong:
        return Kind.VIEW, "the same fields in other bytes than everywhere else"
    bare = [
        name for name in wrong if name in feed.masks and due.source is not None and record[name] == due.source.get(name)
    ]
    if bare:
        return Kind.LEAK, f"unmasked: {', '.join(bare)}"
    return Kind.PROJECTION, f"not what the source says: {', '.join(wrong)}"
