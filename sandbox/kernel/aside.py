"""Variables of the caller by which the loader, the C library or OpenSSL would execute what lies in a project.

The launcher gives them other names before it executes the interpreter (`nsinit/python.c`).  They are the caller's all the
same: a profile may keep or name them, and the command gets them.
"""

from __future__ import annotations

import os

PREFIX = "SANDBOX_ASIDE_"

SYSTEM_PATH = "/usr/bin:/bin:/usr/local/bin:/run/wrappers/bin:/usr/sbin:/sbin:/usr/local/sbin"
"""Where the system's programs are that we execute outside.  Not the caller's PATH: an activated environment of a project
is on it, into which a contained program may write."""


def give_back() -> None:
    """Let `os.environ` have them under their own names, and the C library, which reads them late, go without.

    What is executed from here gets them renamed, and nsinit takes that back.
    """
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        value, own = os.environ.pop(name), name.removeprefix(PREFIX)
        os.putenv(name, value)
        os.environ[own] = value
        os.unsetenv(own)
