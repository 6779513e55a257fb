"""Runs a program that dies with the process that started it: `python -m … <parent pid> -- program arguments`.

On Linux the kernel kills it, however its parent ends (prctl(2), PR_SET_PDEATHSIG). Elsewhere nothing can: there a
killed parent leaves the program running, and the lock it holds on its data says so at the next start.
The kernel watches the thread that started the program, so that thread has to live as long as the program is wanted.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, separator, *command = arguments
    if separator != "--" or not command:
        raise SystemExit(2)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have gone before the kernel was asked.
    if os.getppid() != int(parent):
        raise SystemExit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
