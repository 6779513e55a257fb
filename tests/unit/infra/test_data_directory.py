from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest

from bianhe.infra.embedded.data_directory import (
    PORTS_FREE,
    AlreadyRunning,
    DataLock,
    PortTaken,
    choose_ports,
    secret,
)
from bianhe.infra.embedded.server_properties import HOST


def listener(port: int = 0) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((HOST, port))
    taken.listen()
    return taken


def test_ports_are_three_free_ones_below_those_that_the_kernel_gives_away(tmp_path: Path) -> None:
    ports = choose_ports(tmp_path, None, random.Random(1))
    numbers = {ports.client, ports.internal, ports.controller}
    assert len(numbers) == 3
    assert all(number in PORTS_FREE for number in numbers)


def test_the_next_start_has_the_same_ports(tmp_path: Path) -> None:
    first = choose_ports(tmp_path, None, random.Random(1))
    assert choose_ports(tmp_path, None, random.Random(2)) == first


def test_a_remembered_port_that_was_taken_meanwhile_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    first = choose_ports(tmp_path, None, random.Random(1))
    with listener(first.client):
        second = choose_ports(tmp_path, None, random.Random(2))
    assert second.client != first.client
    assert (second.internal, second.controller) == (first.internal, first.controller)


def test_b28_a_port_that_was_asked_for_and_is_taken_is_explained(tmp_path: Path) -> None:
    with listener() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)) as refusal:
            choose_ports(tmp_path, port, random.Random(1))
    assert refusal.value.cause
    assert refusal.value.cure


def test_a_data_directory_has_one_user_and_says_who(tmp_path: Path) -> None:
    lock = DataLock(tmp_path)
    with pytest.raises(AlreadyRunning) as refusal:
        DataLock(tmp_path)
    assert str(os.getpid()) in refusal.value.cause
    assert refusal.value.cure
    lock.release()
    DataLock(tmp_path).release()


def test_a_stale_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999999\n")
    lock = DataLock(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = secret(tmp_path, "node")
    assert secret(tmp_path, "node") == first
    assert (tmp_path / "secrets" / "node").stat().st_mode & 0o777 == 0o600
    assert first.get_secret_value() not in repr(first)
