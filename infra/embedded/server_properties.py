"""What the embedded broker is told: its server.properties, decided without touching anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from bianhe.schemas.names import ADMIN_ACCOUNT

HOST: Final = "127.0.0.1"
NODE_ID: Final = 1
NODE_ACCOUNT: Final = "node"
"""The broker itself, on the listeners that it alone uses."""

_DAY_MINUTES = 24 * 60
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"

_GUARANTEES: Final = {
    # Default deny; nobody creates a topic by naming it.
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:{NODE_ACCOUNT};User:{ADMIN_ACCOUNT}",
    "allow.everyone.if.no.acl.found": "false",
    "auto.create.topics.enable": "false",
    # A producer that went away holds others' reading back no longer than this, and is swept at once.
    "transaction.max.timeout.ms": "60000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # A waiting fetch outlives the access rule that allowed it until its connection is closed.
    "connections.max.idle.ms": "60000",
    "connections.max.reauth.ms": "60000",
    "fetch.max.bytes": "8388608",
    # Far below the files that a process may open; the brokers' own listener gets a place even then.
    "max.connections": "2000",
    "offsets.retention.minutes": str(90 * _DAY_MINUTES),
    # A starved controller would fence its own broker after 9 s.
    "broker.session.timeout.ms": "60000",
}

_ONE_NODE: Final = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    # A quarter of the heap otherwise, for keys of topics far larger than one node holds.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """The listeners' ports: CLIENT for everybody, INTERNAL and CONTROLLER for the node itself."""

    client: int
    internal: int
    controller: int

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.client}"

    @property
    def internal_bootstrap(self) -> str:
        return f"{HOST}:{self.internal}"


def server_properties(
    log_dir: Path,
    ports: Ports,
    node_password: SecretStr,
    keystore: Path | None = None,
    group_delay_ms: int = 0,
) -> str:
    """Return the text of server.properties; it holds the node's password, so the file needs mode 0600.

    With a keystore (PEM) clients speak TLS; the node's own listeners, on 127.0.0.1, never do. So long a new group waits
    for members before it shares out partitions.
    """
    settings = _node(log_dir, ports) | _login(node_password) | _tls(keystore) | _GUARANTEES | _ONE_NODE
    settings["group.initial.rebalance.delay.ms"] = str(group_delay_ms)
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _node(log_dir: Path, ports: Ports) -> dict[str, str]:
    inside = f"CLIENT://{ports.bootstrap},INTERNAL://{ports.internal_bootstrap}"
    controller = f"{HOST}:{ports.controller}"
    return {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "log.dirs": str(log_dir),
        "listeners": f"{inside},CONTROLLER://{controller}",
        "advertised.listeners": f"{inside},CONTROLLER://{controller}",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": controller,
    }


def _tls(keystore: Path | None) -> dict[str, str]:
    if keystore is None:
        return {}
    return {
        "listener.security.protocol.map": "CLIENT:SASL_SSL,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "listener.name.client.ssl.keystore.type": "PEM",
        "listener.name.client.ssl.keystore.location": str(keystore),
        "listener.name.client.ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
    }


def _login(node_password: SecretStr) -> dict[str, str]:
    secret = node_password.get_secret_value()
    node = f'{_PLAIN} username="{NODE_ACCOUNT}" password="{secret}" user_{NODE_ACCOUNT}="{secret}";'
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": _SCRAM,
        "listener.name.internal.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.internal.plain.sasl.jaas.config": node,
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": node,
    }
