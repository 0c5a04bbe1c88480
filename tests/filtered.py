"""Execute a command under a seccomp filter: filtered.py FILTER COMMAND [ARGUMENT…]; FILTER holds struct sock_filter."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def main() -> None:
    """Install the filter for good, and become the command."""
    path, *command = sys.argv[1:]
    with open(path, "rb") as file:
        data = file.read()
    program = ctypes.create_string_buffer(data, len(data))
    described = struct.pack("@HP", len(data) // 8, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0)):
        if libc.prctl(*arguments) < 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


main()
