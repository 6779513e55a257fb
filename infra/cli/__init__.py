"""The command line: each command parses, calls one room and prints."""

from __future__ import annotations

import sys

_INTERRUPTED = 130
"""`console.Exit` has it too, and cannot be asked while it is being imported."""


def main() -> None:
    """Run the command line; an expected fault is explained and Ctrl-C obeyed, never traced."""
    try:
        # Not at the top: most of a short command's time is this import, and Ctrl-C may come within it.
        from bianhe.infra.cli.commands import run

        run()
    except (KeyboardInterrupt, SystemError) as error:
        # Ctrl-C within a callback of the Kafka client comes out of whatever is called next.
        if isinstance(error, SystemError) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        print("stopped", file=sys.stderr)
        sys.exit(_INTERRUPTED)
