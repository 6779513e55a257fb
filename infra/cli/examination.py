"""What `bianhe doctor` looks at, in order: a table of checks, each a small function that looks and has it judged."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import confluent_kafka
import httpx2
from sqlalchemy import update

from bianhe.consumers.router.kafka import outlet
from bianhe.infra import clock
from bianhe.infra.cli import judgement
from bianhe.infra.cli.broker_requirements import brokers_as_required
from bianhe.infra.cli.finding import Finding, State, Verdict, ok
from bianhe.infra.cli.installation import Installation
from bianhe.infra.embedded.jars import default_cache, kafka_jars, locked_jars, verified_jars
from bianhe.infra.embedded.java import find_java
from bianhe.infra.kafka import raw
from bianhe.infra.kafka.certificates import served
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.kafka.session import check_login
from bianhe.infra.kafka.transactions import hanging
from bianhe.infra.pki import Certificate
from bianhe.infra.settings import data_home
from bianhe.producers import encoder
from bianhe.registry.acknowledgements.kafka import Acknowledgements
from bianhe.registry.clocks.sql import calendar as working_days
from bianhe.registry.clocks.working_days import Calendar
from bianhe.registry.migrations import revisions
from bianhe.registry.policy.chain import check_witness
from bianhe.registry.policy.sql import highest_number, number_of, pending
from bianhe.registry.quarantine.kafka import standing
from bianhe.registry.sql import DatabaseUnusable, transaction, turn
from bianhe.registry.stops.stop import in_force
from bianhe.registry.sync.kafka import plan_cluster
from bianhe.schemas import names, slicer
from bianhe.schemas.errors import BusError
from bianhe.schemas.records.journal import Quarantined

SETTINGS: Final = "settings"
QUARANTINE_READ_MAX: Final = 10_000
REGISTRY_SECONDS: Final = 5.0
UNGRANTED_TOPIC: Final = "doctor.nobody-may-see-this"

Look = Callable[[Installation], Iterator[Verdict]]


class Check(NamedTuple):
    """One check. What it raises stops the checks that need it; the faults that it yields do not."""

    name: str
    look: Look
    needs: tuple[str, ...] = ()


def examine(installation: Installation, checks: Iterable[Check]) -> Iterator[Finding]:
    """Yield the findings of all checks as they come; one that cannot be made is unknown, never an error."""
    stopped: set[str] = set()
    for check in checks:
        if missing := [name for name in check.needs if name in stopped]:
            stopped.add(check.name)
            yield Finding(check.name, State.UNKNOWN, f"not examined, for want of: {', '.join(missing)}")
            continue
        try:
            for verdict in check.look(installation):
                yield Finding(check.name, *verdict)
        except BusError as error:
            stopped.add(check.name)
            yield Finding(check.name, State.FAULT, str(error), error.cause, error.cure)
        except Exception as error:
            # A doctor that dies of what it finds helps nobody. The text may hold a secret, so only the kind is told.
            stopped.add(check.name)
            yield Finding(check.name, State.UNKNOWN, f"not examined: {type(error).__name__}, which nobody expected")


def packages(installation: Installation) -> Iterator[Verdict]:
    yield ok(f"bianhe {importlib.metadata.version('bianhe')}, Python {platform.python_version()}")
    yield from judgement.librdkafka(confluent_kafka.libversion()[0])
    installed = {_normal(each.name): each.version for each in importlib.metadata.distributions()}
    yield from judgement.packages(importlib.metadata.requires("bianhe") or (), installed)


def _normal(name: str) -> str:
    """The name of a package as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def active_slicer(installation: Installation) -> Iterator[Verdict]:
    yield from judgement.compiled(
        slicer.ACTIVE is slicer.Engine.KERNEL,
        "the kernel cuts the records",
        "records are cut in Python: the same bytes, about ten times slower",
    )


def publisher_loop(installation: Installation) -> Iterator[Verdict]:
    yield from judgement.compiled(
        encoder.COMPILED,
        "a compiled loop checks and encodes what is published",
        "what is published is checked and encoded in Python: the same bytes, slower",
    )


def router_loop(installation: Installation) -> Iterator[Verdict]:
    yield from judgement.compiled(
        outlet.is_known(),
        "plain records go the short way to the broker",
        "the router writes record by record in Python: the same bytes, slower the more delivery topics there are",
    )


def java(installation: Installation) -> Iterator[Verdict]:
    yield ok(str(find_java()) if installation.embedded else "not needed, the brokers run elsewhere")


def jars(installation: Installation) -> Iterator[Verdict]:
    if not installation.embedded:
        yield ok("not needed, the brokers run elsewhere")
        return
    cache, locked = default_cache(), locked_jars()
    if "KAFKA_HOME" in os.environ:
        yield ok(f"{len(kafka_jars(cache))} jars of KAFKA_HOME, used as they are")
        return
    present = tuple(jar for jar in locked if (cache / jar.file_name).exists())
    if present:
        verified_jars(cache, present, lambda done, total: None)
    if len(present) == len(locked):
        yield ok(f"{len(present)} jars verified")
    else:
        yield Verdict(
            State.WARNING,
            f"{len(locked) - len(present)} of {len(locked)} jars are not in {cache}",
            "no broker was started here yet",
            "bianhe up fetches them; that start needs a Maven repository",
        )


def disk(installation: Installation) -> Iterator[Verdict]:
    place = data_home().absolute()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    yield from judgement.disk(shutil.disk_usage(existing).free, str(place))


def settings(installation: Installation) -> Iterator[Verdict]:
    found = installation.settings
    yield ok(f"brokers {found.kafka.bootstrap}, registry {found.registry}, data {data_home()}")


def secret_files(installation: Installation) -> Iterator[Verdict]:
    folders = (installation.settings.kafka.secrets, data_home() / "secrets")
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir()) if file.is_file()]
    readable = [file for file in files if file.stat().st_mode & 0o077]
    for file in readable:
        yield Verdict(State.FAULT, f"others can read {file}", "its mode is not 0600", f"chmod 600 {file}")
    if not readable:
        yield ok(f"{len(files)} files, each its owner's alone")


def database(installation: Installation) -> Iterator[Verdict]:
    with transaction(installation.database) as connection:
        connection.execute(update(turn).values(number=turn.c.number))
        found, wanted = revisions(connection)
    if found != wanted:
        raise DatabaseUnusable(
            f"the registry's database is at revision {found}, this Bianhe needs {wanted}",
            cause="it was made by another version",
            cure="start the registry of this version, which migrates it: bianhe up",
        )
    yield ok(f"{installation.database.dialect.name}, writable, revision {found}")


def calendar(installation: Installation) -> Iterator[Verdict]:
    with transaction(installation.database) as connection:
        known = working_days(connection)
    yield from judgement.calendar(known, clock.now().date())


def registry(installation: Installation) -> Iterator[Verdict]:
    url = installation.settings.registry.rstrip("/")
    with httpx2.Client(timeout=REGISTRY_SECONDS, trust_env=False) as client:
        try:
            health = client.get(f"{url}/health")
            associations = client.get(f"{url}/associations/resources/-/doctor")
        except httpx2.HTTPError as error:
            yield judgement.registry_silent(url, type(error).__name__)
            return
    yield from judgement.registry(url, (health.status_code, health.text), (associations.status_code, associations.text))


def brokers(installation: Installation) -> Iterator[Verdict]:
    addresses = check_login(installation.admin).values()
    faults = _faults(lambda address: check_login(replace(installation.admin, bootstrap=address)), addresses)
    yield from faults or [ok(", ".join(addresses))]


def certificates(installation: Installation) -> Iterator[Verdict]:
    addresses, ca_file = check_login(installation.admin).values(), installation.settings.kafka.ca_file
    if ca_file is None:
        yield judgement.unencrypted(addresses)
        return
    yield judgement.certificate("the authority's certificate", Certificate.read(ca_file).until, clock.now())
    for address in addresses:
        what = f"the certificate of {address}"
        yield judgement.certificate(what, served(address, ca_file).until, clock.now())


def accounts(installation: Installation) -> Iterator[Verdict]:
    faults = _faults(lambda account: check_login(installation.component(account)), names.BUS_ACCOUNTS)
    yield from faults or [ok(f"{', '.join(names.BUS_ACCOUNTS)} log in")]


def _faults(act: Callable[[str], object], things: Iterable[str]) -> list[Verdict]:
    """What stands in the way of doing this with each of these."""
    faults = []
    for thing in things:
        try:
            act(thing)
        except BusError as error:
            faults.append(Verdict(State.FAULT, str(error), error.cause, error.cure))
    return faults


def broker_settings(installation: Installation) -> Iterator[Verdict]:
    yield from brokers_as_required(installation.cluster.broker_settings())


def default_deny(installation: Installation) -> Iterator[Verdict]:
    seen = raw.sees_topic(installation.component(names.RELAY_ACCOUNT), UNGRANTED_TOPIC)
    yield from judgement.default_deny(seen, UNGRANTED_TOPIC)


def replication(installation: Installation) -> Iterator[Verdict]:
    settings_of = installation.cluster.broker_settings().values()
    minimum = min(int(each.get("min.insync.replicas", 1)) for each in settings_of)
    yield from judgement.replication(installation.cluster.replicas(), minimum)


def clocks(installation: Installation) -> Iterator[Verdict]:
    before = time.time()
    there = raw.cluster_time(installation.admin)
    yield from judgement.clock(before, there, time.time())


def policy_log(installation: Installation) -> Iterator[Verdict]:
    policy = installation.policy_log.catch_up()
    yield ok(f"{policy.version} records, the chain is whole, ends in {policy.head[:12]}")


def stops(installation: Installation) -> Iterator[Verdict]:
    try:
        with transaction(installation.database) as connection:
            known = working_days(connection)
    except BusError:
        # What stands still is to be seen without the database too; then weeks are plain ones.
        known = Calendar()
    yield from judgement.stops(list(in_force(installation.policy_log.policy, known)), clock.now())


def relay(installation: Installation) -> Iterator[Verdict]:
    # The database first: what it has read back must stand on a log that is read later.
    with transaction(installation.database) as connection:
        highest, waiting = highest_number(connection), pending(connection)
    policy = installation.policy_log.catch_up()
    with transaction(installation.database) as connection:
        same = number_of(connection, installation.policy_log.id_of(highest))
    check_witness(policy, highest, same)
    yield from judgement.relay(waiting, highest, policy, clock.now())


def router(installation: Installation) -> Iterator[Verdict]:
    policy = installation.policy_log.policy
    with Acknowledgements(installation.admin) as acknowledgements:
        acknowledged = {writer: acknowledgements.of(writer).policy_version for writer in policy.writers}
    sources = [topic for topic in installation.cluster.topics() if topic.startswith(names.SOURCE_PREFIX)]
    members = installation.cluster.group_members(names.ROUTER_GROUP) if sources else None
    yield from judgement.router(policy, acknowledged, members)


def lag(installation: Installation) -> Iterator[Verdict]:
    cluster, resources = installation.cluster, installation.policy_log.policy.resources
    routed, existing = cluster.group_offsets(names.ROUTER_GROUP)[names.ROUTER_GROUP], cluster.topics()
    waiting = {}
    for topic in sorted(names.source_topic(code, version) for code, version in resources):
        if topic in existing:
            ends = cluster.end_offsets(topic, "read_committed")
            waiting[topic] = sum(max(end - routed.get((topic, partition), 0), 0) for partition, end in ends.items())
    yield from judgement.lag(waiting)


def quarantine(installation: Installation) -> Iterator[Verdict]:
    first = installation.cluster.start_offsets(names.QUARANTINE)[0]
    end = installation.cluster.end_offsets(names.QUARANTINE, "read_committed")[0]
    start = max(first, end - QUARANTINE_READ_MAX)
    with LogReader(installation.admin, names.QUARANTINE, 0, group=names.ADMIN_ACCOUNT, start=start) as reader:
        events = [Quarantined.decode(record.value or b"") for record in reader.read_to_end()]
    yield from judgement.quarantine(events, more=start > first)


def standstill(installation: Installation) -> Iterator[Verdict]:
    yield from judgement.standstill(standing(installation.admin, installation.policy_log.policy))


def transactions(installation: Installation) -> Iterator[Verdict]:
    yield from judgement.transactions(hanging(installation.admin, names.MANAGED_PREFIXES))


def sync(installation: Installation) -> Iterator[Verdict]:
    yield from judgement.sync(plan_cluster(installation.admin))


_BROKERS, _DATABASE, _POLICY_LOG = "brokers", "database", "policy log"
CHECKS: Final = (
    Check("packages", packages),
    Check("slicer", active_slicer),
    Check("publisher loop", publisher_loop),
    Check("router loop", router_loop),
    Check("Java", java),
    Check("jars", jars),
    Check("disk", disk),
    Check(SETTINGS, settings),
    Check("secret files", secret_files, (SETTINGS,)),
    Check(_DATABASE, database, (SETTINGS,)),
    Check("calendar", calendar, (_DATABASE,)),
    Check("registry", registry, (SETTINGS,)),
    Check(_BROKERS, brokers, (SETTINGS,)),
    Check("certificates", certificates, (_BROKERS,)),
    Check("accounts", accounts, (_BROKERS,)),
    Check("broker settings", broker_settings, (_BROKERS,)),
    Check("default deny", default_deny, (_BROKERS,)),
    Check("replication", replication, (_BROKERS,)),
    Check("clocks", clocks, (_BROKERS,)),
    Check(_POLICY_LOG, policy_log, (_BROKERS,)),
    Check("stops", stops, (_POLICY_LOG,)),
    Check("relay", relay, (_DATABASE, _POLICY_LOG)),
    Check("router", router, (_POLICY_LOG,)),
    Check("router lag", lag, (_POLICY_LOG,)),
    Check("quarantine", quarantine, (_BROKERS,)),
    Check("standstill", standstill, (_POLICY_LOG,)),
    Check("transactions", transactions, (_BROKERS,)),
    Check("sync", sync, (_POLICY_LOG,)),
)
"""Every check, each after those that it needs."""
