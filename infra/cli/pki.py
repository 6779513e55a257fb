"""`bianhe pki`: the certificates of the brokers' listeners, from an authority of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bianhe.infra import clock
from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.kafka.certificates import reload_keystore
from bianhe.infra.kafka.components import component
from bianhe.infra.pki import CERTIFICATE_DAYS, Certificate, NoAuthority, Pki
from bianhe.infra.settings import data_home, load
from bianhe.schemas.names import ADMIN_ACCOUNT

app = typer.Typer(help="Certificates of the brokers' listeners, from an authority of our own.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="the broker's name, and that of its keystore")]
Days = Annotated[int, typer.Option(min=1, help="how long it is valid")]


@app.command()
def init() -> None:
    """Make the authority, once: ca.pem for every client, ca.key for nobody else."""
    pki = Pki(data_home() / "pki")
    made = pki.init(clock.now())
    out.print(f"{pki.ca_file}  valid until {made.until:%Y-%m-%d}; {pki.key_file} (mode 0600) signs: keep it offline")


@app.command()
def issue(
    name: Name,
    host: Annotated[list[str], typer.Option(help="name or address under which clients reach it; may be repeated")],
    days: Days = CERTIFICATE_DAYS,
) -> None:
    """Make a keystore for a broker: key and certificate in one PEM file of mode 0600."""
    pki = Pki(data_home() / "pki")
    made = pki.issue(name, host, clock.now(), days)
    out.print(f"{pki.keystore(name)}  serial {made.serial:x}, valid until {made.until:%Y-%m-%d}")


@app.command()
def rotate(
    name: Name = "broker",
    days: Days = CERTIFICATE_DAYS,
    in_place: Annotated[
        Path | None, typer.Option("--in-place", help="a keystore that lies at this path on every broker already")
    ] = None,
) -> None:
    """Give running brokers a new certificate, and see by a handshake that each serves it."""
    pki, settings = Pki(data_home() / "pki"), load().kafka
    file = in_place or pki.keystore(name)
    made = Certificate.read(file)
    if in_place is None:
        made = pki.issue(name, made.hosts, clock.now(), days)
    brokers = reload_keystore(component(settings, ADMIN_ACCOUNT), file, made.serial)
    out.print(f"{', '.join(brokers)}  now serve serial {made.serial:x}, valid until {made.until:%Y-%m-%d}")


@app.command("show")
def show_(output: OutputOption = Output.TABLE) -> None:
    """Show the certificates of this machine's authority, never a key."""
    pki = Pki(data_home() / "pki")
    if not pki.ca_file.exists():
        raise NoAuthority(f"there is no {pki.ca_file}", cure="bianhe pki init makes an authority")
    rows = []
    for file in (pki.ca_file, *pki.keystores()):
        found = Certificate.read(file)
        hosts, serial = ", ".join(found.hosts), f"{found.serial:x}"
        rows.append({"file": str(file), "name": found.name, "hosts": hosts, "serial": serial, "until": found.until})
    show(rows, output)
