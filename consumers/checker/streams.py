"""A dump: a folder with the raw batches of every partition, and what the cluster said of itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bianhe.consumers.checker.batches import entries
from bianhe.consumers.checker.log import Entry, Extent, Place, Rule
from bianhe.schemas.errors import Rejected

_CLUSTER: Final = "cluster.json"


class NoDump(Rejected):
    """The folder holds no dump of a bus."""


class Dump:
    """A bus as it lies in a folder (`<topic>/<partition>.batches` and `cluster.json`). Raises NoDump."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            facts = json.loads((folder / _CLUSTER).read_text(encoding="utf-8"))
            self.extents: Mapping[Place, Extent] = {
                (topic, partition): Extent(start, end) for topic, partition, start, end in facts["extents"]
            }
            self.rules: Mapping[int, frozenset[Rule]] = {
                int(node): frozenset(Rule(*rule) for rule in rules) for node, rules in facts["rules"].items()
            }
            self.settled: bool = facts["settled"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoDump(f"{folder} holds no dump", cure="make one with bianhe check --dump <folder>") from error

    def entries(self, place: Place) -> Iterator[Entry]:
        """The raw log of a partition, a batch at a time."""
        extent = self.extents[place]
        with _file(self._folder, place).open("rb") as file:
            while head := file.read(12):
                piece = head + file.read(int.from_bytes(head[8:12], "big"))
                yield from (entry for entry in entries(piece) if extent.start <= entry.offset < extent.end)


def write_batches(folder: Path, place: Place, pieces: Iterable[bytes]) -> None:
    """Write one partition's raw batches."""
    file = _file(folder, place)
    file.parent.mkdir(exist_ok=True)
    with file.open("wb") as out:
        out.writelines(pieces)


def write_cluster(
    folder: Path, extents: Mapping[Place, Extent], rules: Mapping[int, frozenset[Rule]], settled: bool
) -> None:
    """Write what makes the folder a dump; the last thing, so that half a dump is none."""
    facts = {
        "extents": [[*place, extent.start, extent.end] for place, extent in sorted(extents.items())],
        "rules": {str(node): sorted(known) for node, known in rules.items()},
        "settled": settled,
    }
    (folder / _CLUSTER).write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")


def make_folder(folder: Path) -> None:
    """An empty folder that its owner alone can enter: a dump holds personal data. Raises NoDump where it exists."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise NoDump(f"{folder} exists", cure="name a folder that does not exist yet") from error


def _file(folder: Path, place: Place) -> Path:
    return folder / place[0] / f"{place[1]}.batches"
