"""`bianhe signing`: the keys that sign the policy log, replaced without a moment in which nobody is believed."""

from __future__ import annotations

from typing import Annotated

import typer

from bianhe.infra.cli.console import Output, OutputOption, out, show
from bianhe.infra.kafka.components import POLICY_KEYS, component, policy_keys
from bianhe.infra.settings import load
from bianhe.registry.policy.kafka import make_signing_key, retire_predecessors, use_successor
from bianhe.schemas.names import ADMIN_ACCOUNT
from bianhe.schemas.signatures import PinnedKeys, Role

app = typer.Typer(help="The keys that sign the policy log.", no_args_is_help=True)
RoleArgument = Annotated[Role, typer.Argument(help="whose key: the registry's relay, or break-glass")]


@app.command("show")
def show_(output: OutputOption = Output.TABLE) -> None:
    """Show the public keys that are pinned on this machine, to be compared by telephone; never a private one."""
    known = PinnedKeys.parse(policy_keys(load().kafka.secrets))
    show([{"role": role, "public": public} for role, keys in known.public.items() for public in keys], output)


@app.command()
def make(role: RoleArgument) -> None:
    """Make the first key of a role, or its successor, which nothing signs with yet."""
    folder = load().kafka.secrets
    key = make_signing_key(folder, role)
    out.print(f"made       {role} {key.public}")
    out.print(f"copy {folder / POLICY_KEYS} to every machine by hand and restart what runs there")
    out.print(f"a successor signs after: bianhe signing use {role}")


@app.command()
def use(role: RoleArgument) -> None:
    """Sign with the successor from now on, once every machine has its public half."""
    key = use_successor(load().kafka.secrets, role)
    out.print(f"in use     {role} {key.public}")
    if role is Role.RELAY:
        out.print("restart the registry; after its next decision: bianhe signing retire relay")


@app.command()
def retire(role: RoleArgument) -> None:
    """Believe the earlier keys of a role no more; refused as long as one of them signed the end of the log."""
    settings = load().kafka
    key = retire_predecessors(component(settings, ADMIN_ACCOUNT), settings.secrets, role)
    out.print(f"pinned     {role} {key.public} alone")
    out.print(f"copy {settings.secrets / POLICY_KEYS} to every machine by hand and restart what runs there")
