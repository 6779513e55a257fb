"""The folder of one embedded broker: its lock, its secrets, its ports."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from bianhe.infra.embedded.server_properties import HOST, Ports
from bianhe.infra.settings import write_private
from bianhe.schemas.errors import Rejected

# Above 32767 the kernel gives ports to clients, and one of them once held a listener's.
PORTS_FREE: Final = range(20_000, 32_768)
LOCK_SECONDS: Final = 10.0


class AlreadyRunning(Rejected):
    """Another process uses the data directory."""


class PortTaken(Rejected):
    """The port that was asked for belongs to another program."""


class DataLock:
    """The exclusive use of a data directory, for as long as a process that inherited `descriptor` lives.

    The broker inherits it: where a killed parent leaves the broker running for a moment, the next start waits for it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "lock"
        self.descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._acquire(data_dir)
        except BaseException:
            os.close(self.descriptor)
            raise
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self.descriptor)

    def _acquire(self, data_dir: Path) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self._file.read_text().strip()
                if _lives(holder) or time.monotonic() > deadline:
                    raise AlreadyRunning(
                        f"the data in {data_dir} is in use",
                        cause=f"process {holder or '(unknown)'} runs a broker on it",
                        cure=f"use that one, stop it (kill {holder or '<pid>'}), or name another data directory",
                    ) from None
                time.sleep(0.05)
            else:
                return


def secret(data_dir: Path, name: str) -> SecretStr:
    """Return the secret of that name, made up and stored (mode 0600) the first time."""
    file = data_dir / "secrets" / name
    if not file.exists():
        write_private(file, secrets.token_urlsafe(24))
    return SecretStr(file.read_text("ascii"))


def check_port(port: int, otherwise: str) -> None:
    """Raise PortTaken if nobody can listen on this port now; `otherwise` is what to do but stop who does."""
    if not _free(port):
        raise PortTaken(
            f"port {port} on {HOST} is taken",
            cause="another program listens there",
            cure=f"stop that program, or {otherwise}",
        )


def choose_ports(data_dir: Path, asked: int | None, chance: random.Random) -> Ports:
    """Return three free ports, the same as last time where they are still free.

    `asked` is the client port that the caller insists on: PortTaken is raised if another program has it.
    """
    if asked is not None:
        check_port(asked, "choose another port (1024 to 32767), or none to have a free one chosen")
    file = data_dir / "ports.json"
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    fresh = free_ports(chance)
    used: set[int] = set()

    def choose(listener: str) -> int:
        port = known.get(listener)
        if port is None or port in used or not _free(port):
            port = next(candidate for candidate in fresh if candidate not in used)
        used.add(port)
        return port

    used |= {asked} if asked is not None else set()
    client = asked if asked is not None else choose("client")
    ports = Ports(client, choose("internal"), choose("controller"))
    write_private(
        file, json.dumps({"client": ports.client, "internal": ports.internal, "controller": ports.controller})
    )
    return ports


def free_ports(chance: random.Random) -> Iterator[int]:
    """Ports that nobody listens on now, drawn from those that the kernel gives to no client."""
    while True:
        port = chance.choice(PORTS_FREE)
        if _free(port):
            yield port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
