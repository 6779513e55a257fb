"""`bianhe publish`: a file onto a source topic, with what it refuses beside it."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TextIO

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from bianhe.infra.cli.console import Exit, err, explain, out
from bianhe.producers.encodings import encoding_of
from bianhe.producers.importers import REJECT_COLUMNS, Format, Reject, changes
from bianhe.producers.kafka import Publisher, Tally, publish_rows
from bianhe.schemas.contract import EVENT_NAMES, Contract
from bianhe.schemas.errors import Rejected

REJECTS_SHOWN: Final = 20


class RejectsNotWritten(Rejected):
    """The reject file cannot be written."""


def publish(
    resource: Annotated[str, typer.Argument(help="resource, such as population")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    profile: Annotated[Path, typer.Option(help="the provider's profile")],
    rejects: Annotated[Path | None, typer.Option(help="where refused rows go (default: <file>.rejected)")] = None,
    encoding: Annotated[str | None, typer.Option(help="of the file; UTF-8 and GB18030 are recognised")] = None,
    format: Annotated[Format | None, typer.Option(help="default: by the file's name")] = None,
    from_row: Annotated[int, typer.Option(min=1, help="begin at this row; a CSV header is row 1")] = 1,
) -> None:
    """Publish the rows of a CSV or JSON Lines file; columns are the items of the contract.

    Ends with 0 only if every row was published. Ctrl-C stops after what was taken is acknowledged, and says where to
    go on.
    """
    form = format or (Format.JSON_LINES if file.suffix in (".jsonl", ".ndjson") else Format.CSV)
    with file.open("rb") as source:
        found = encoding_of(source, encoding)
        with Publisher.from_profile(profile) as publisher:
            target = publisher.resource(resource)
            refused = RejectFile(rejects or file.with_name(f"{file.name}.rejected"), form, target.contract)
            rows = changes(source, found, form, target.contract)
            with orderly_stop() as stopped, row_progress(source) as progress, refused:
                tally = publish_rows(
                    target, rows, from_row=from_row, reject=refused, stopped=stopped, progress=progress
                )
    report(tally, refused, stopped())


def report(tally: Tally, refused: RejectFile, stopped: bool) -> None:
    """Say what became of the rows; exits with 1, or 130 after Ctrl-C, unless all were published."""
    unsent = f" · {tally.unsent:,} not acknowledged" if tally.unsent else ""
    where = f" ({refused.path}, mode 0600)" if refused.shown else ""
    out.print(f"{tally.read:,} read · {tally.published:,} published · {tally.rejected:,} rejected{where}{unsent}")
    widest = max((len(reject.fault.field) for reject in refused.shown), default=0)
    for reject in refused.shown:
        fault = reject.fault
        out.print(escape(f"  row {reject.row:<8,} {fault.field:<{widest}}  {fault.reason:<48}  {fault.shown}".rstrip()))
    if tally.rejected > len(refused.shown):
        out.print(f"  … and {tally.rejected - len(refused.shown):,} more")
    if tally.failure is not None:
        explain(tally.failure)
    if tally.resume_row is not None and tally.read:
        err.print(f"go on with --from-row {tally.resume_row}")
    if stopped:
        raise typer.Exit(Exit.INTERRUPTED)
    if tally.failure is not None or tally.rejected or tally.unsent:
        raise typer.Exit(Exit.FAILED)


class RejectFile:
    """Writes refused rows whole into a file of mode 0600, made with the first of them; never over another file."""

    def __init__(self, path: Path, form: Format, contract: Contract) -> None:
        if path.exists():
            raise RejectsNotWritten(
                f"{path} is already there", cure="name another file with --rejects, or move it away"
            )
        self.path = path
        self.shown: list[Reject] = []
        self._form = form
        self._columns = (*REJECT_COLUMNS, *EVENT_NAMES, *contract.by_name)
        self._file: TextIO | None = None

    def __enter__(self) -> RejectFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, reject: Reject) -> None:
        if len(self.shown) < REJECTS_SHOWN:
            self.shown.append(reject)
        try:
            self._write(reject)
        except OSError as error:
            raise RejectsNotWritten(f"{self.path} cannot be written", cause=error.strerror or str(error)) from error

    def _write(self, reject: Reject) -> None:
        if self._file is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            # Half a character can stand in JSON and not in UTF-8: it is written as JSON's own escape.
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")
            if self._form is Format.CSV:
                csv.writer(self._file).writerow(self._columns)
        if self._form is Format.CSV:
            csv.DictWriter(self._file, self._columns).writerow(reject.fields())
        else:
            self._file.write(json.dumps(reject.fields(), ensure_ascii=False, default=str) + "\n")
        self._file.flush()


@contextmanager
def orderly_stop() -> Iterator[Callable[[], bool]]:
    """Inside the block the first Ctrl-C only makes the yielded function true; the second one interrupts."""
    told = []

    def stop(*_: object) -> None:
        told.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        err.print("stopping: waiting for what was taken; Ctrl-C again gives up")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(told)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def row_progress(source: BinaryIO) -> Iterator[Callable[[Tally], None]]:
    """A bar on a terminal, by the bytes read of a file; nothing elsewhere."""
    size = os.fstat(source.fileno()).st_size
    columns = (TextColumn("publishing"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]:,} rows"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("publish", total=size, rows=0)

        def advance(tally: Tally) -> None:
            if tally.read % 500 == 0:
                bar.update(task, completed=source.tell(), rows=tally.read)

        yield advance
