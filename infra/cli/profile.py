"""`bianhe profile`: what a department's client starts with, for our own and for every other client."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from bianhe.infra.cli.client_settings import Client, settings_for
from bianhe.infra.cli.console import out
from bianhe.infra.settings import InvalidProfile, Profile, load, write_secret
from bianhe.producers.keys import SECRET_BYTES
from bianhe.schemas import names

app = typer.Typer(help="Profiles (接入配置): what a department's client starts with.", no_args_is_help=True)

Department = Annotated[str, typer.Argument(help="code of the department")]
FromFile = Annotated[
    Path | None, typer.Option("--profile", help="take addresses from a profile, not from this machine")
]


@app.command()
def show(
    department: Department,
    client: Annotated[Client, typer.Option("--for", help="which client")],
    profile: FromFile = None,
) -> None:
    """Print safe settings for a Kafka client, with what it does wrong by default."""
    print(settings_for(client, _profile(department, profile)), end="")


@app.command()
def write(
    department: Department,
    to: Annotated[Path, typer.Option(help="the file to write; password and keys are looked for beside it")],
) -> None:
    """Write a profile for `bianhe publish`, `bianhe subscribe` and the SDK; it carries no secret."""
    profile = _profile(department, None)
    on_this_machine = load().home / "secrets" / department
    password = on_this_machine if on_this_machine.exists() else to.with_name(f"{department}.password")
    profile = profile.model_copy(update={"password_file": password, "key_secrets": Path("keys")})
    if to.exists():
        raise InvalidProfile(f"{to} is already there", cure="name another file, or move it away")
    to.write_text(profile.to_toml(), encoding="utf-8")
    out.print(f"{to}: the password is BIANHE_PASSWORD, or in {password} (mode 0600)", markup=False)


@app.command()
def key(
    resource: Annotated[str, typer.Argument(help="resource whose keys are derived with a secret")],
    profile: Annotated[Path, typer.Option(help="the provider's profile")],
) -> None:
    """Make the secret that a provider derives entity keys with; once for a resource, and to be kept for ever."""
    folder = Profile.read(profile).key_secrets
    if folder is None:
        raise InvalidProfile(f"{profile} names no key_secrets", cure='add key_secrets = "keys"')
    path = folder / f"{names.code(resource)}.key"
    if path.exists():
        raise InvalidProfile(f"{path} is already there", cause="another secret would give every entity another key")
    write_secret(path, SecretStr(secrets.token_hex(SECRET_BYTES)))
    out.print(f"{path} (mode 0600): keep a copy, without it no key can be derived again")


def _profile(department: str, path: Path | None) -> Profile:
    if path is not None:
        return Profile.read(path).model_copy(update={"department": names.code(department)})
    settings = load()
    return Profile(
        department=names.code(department),
        bootstrap=settings.kafka.bootstrap,
        registry=settings.registry,
        ca_file=settings.kafka.ca_file,
    )
