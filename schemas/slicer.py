"""The slicer: one walk over a source record, one slice for each distinct view, without decoding.

A walk refuses what is malformed and notes where fields begin; each view is then a concatenation of byte ranges and of
what its masks put in their place. An item that a view does not name is never copied (law 2). Two engines do it, with
the same bytes and the same refusals: the kernel (schemas/kernel.py), and Python where it could not be built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol

from bianhe.schemas import contract_rules, generated
from bianhe.schemas.contract import Contract, InvalidContract
from bianhe.schemas.lanes import Deliver, Lanes, delivering
from bianhe.schemas.splice import Splice, splice
from bianhe.schemas.view import View


class Program(Protocol):
    """A contract and its views, compiled."""

    def slice(self, body: bytes, /) -> list[bytes | None]: ...
    def delivering(self, lanes: Lanes) -> Deliver: ...


class Generated:
    """The program in Python."""

    def __init__(self, contract: Contract, splices: Sequence[Splice]) -> None:
        self.slice: Final = generated.slice_function(contract, splices)

    def delivering(self, lanes: Lanes) -> Deliver:
        return delivering(self.slice, lanes)


_Compile = Callable[[Contract, Sequence[Splice]], Program]


class Engine(StrEnum):
    """What walks the bytes: the compiled kernel, or Python generated for the contract."""

    KERNEL = "kernel"
    PYTHON = "python"


def _engines() -> Mapping[Engine, _Compile]:
    try:
        from bianhe.schemas import kernel
    except ImportError:  # installed where no compiler was
        return {Engine.PYTHON: Generated}
    return {Engine.KERNEL: kernel.program, Engine.PYTHON: Generated}


ENGINES: Final = _engines()
"""The engines of this installation, the fastest first."""
ACTIVE: Final = next(iter(ENGINES))
"""The engine that a slicer has unless told otherwise."""


class Slicer:
    """Cuts records of one contract for any number of views at once.

    A view may be of a later revision of the same version: the items that it added are null in an earlier record.
    Takes each view with the secret of its pseudonyms (None where it has none). Raises InvalidContract if the contract
    breaks the contract rules, ValueError if a pseudonym has no secret. Immutable; may be shared by threads.
    """

    def __init__(self, contract: Contract, views: Sequence[tuple[View, bytes | None]], engine: Engine = ACTIVE) -> None:
        if faults := contract_rules.faults(contract.schema):
            raise InvalidContract(str(faults[0]), cause="; ".join(map(str, faults[1:])))
        program = ENGINES[engine](contract, [splice(contract, view, secret) for view, secret in views])
        self.delivering: Final = program.delivering
        """Return the function that delivers records into lanes, with their `bus_*` fields: see `Deliver`."""
        self.slice: Final = program.slice
        """Return, per view in the order given, the items of its delivery record from `event_id` on (no `bus_*`).

        None where the view's row rule does not hold. Raises Malformed if the body is not exactly one record in the
        canonical encoding of the contract, whichever fields the views keep. Takes time and memory in proportion to the
        body; how long a body may be is for the caller to say.
        """
