"""What the runtimes of Debian 13, crun 1.21 and runc 1.1.15, do otherwise than those of Debian 12, which oci_differences.py knows.

Which of the two is here, crun says.  In each table a variant has the reasons that hold no longer, and those that are new.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping

from oci_world import Explained

# crun says less and less: these are gone wherever they stood.
GONE = {
    "it makes no session of its own",
    "crun stays in the caller's cgroup when it is not root",
    "crun makes no cgroup when it is not root",
    "crun sets no HOME",
    "crun looks HOME up before it masks",
}

# As in WAYS, and before that of the same fact there.
WAY = (r'(hook \S+ state ociVersion)="1.0"', r'\1="1.2.0"', "another version")

SCHEDULER = ("runc: nice 0", "runc: scheduler 0 0 processors .*")
ENOSYS = "runc says that there is no such call where its library knows no call of that number"

CRUN: dict[str, tuple[Iterable[str], Explained]] = {
    "rootfsPropagation unbindable": (
        ["runc binds the root after it has made it unbindable"],
        {
            "runc does not set it for the root that remains": (
                "runc: mount / .*propagation=private.*",
                "crun: mount / .*propagation=unbindable,.*",
            )
        },
    ),
    "scheduler": ([], {"not known to runc 1.1": (*SCHEDULER, "crun: nice 5", "crun: scheduler 3 0 processors .*")}),
    "ioPriority": ([], {"not known to runc 1.1": ("runc: ioprio 0", f"crun: ioprio {2 << 13 | 7}")}),
    "exec as a user, by number alone": (
        [],
        {
            "crun takes a number alone for no user": (
                r"(?:runc|crun): descriptor [12] pipe .*",
                r"(?:runc|crun): status\.(?:CapEff|CapPrm|Uid) .*",
                "(?:runc|crun): uid .*",
                "(?:runc|crun): env HOME=.*",
            )
        },
    ),
    "exec into a container of a user": (
        ["the user is not the container's"],
        {"standard streams are not given to the user, or not all": ("(?:runc|crun): descriptor [012] pipe .*",)},
    ),
    "exec where the process has limits of its own": (
        [],
        {"the umask is the container's": ("runc: status.Umask 0022", "crun: status.Umask 0077")},
    ),
    "exec at a terminal as a user": (["the terminal is not the user's"], {}),
    "closed standard streams": (["crun refuses them"], {"crun fails over them": ("runc: exit 0", "crun: exit -11")}),
    **dict.fromkeys(
        ("ociVersion 1.2.0", "ociVersion 9.0.0", "ociVersion nonsense"), (["runc 1.1 does not look at it"], {})
    ),
    "a namespace twice": (["crun does not mind"], {}),
    "namespaces joined by path": (["runc 1.1 wants id maps for any user namespace"], {}),
    "a device that the host has": (
        ["crun makes the devices asked for before it has a namespace"],
        {
            "a device is mounted nosuid and noexec": (
                "runc: mount /dev/fuse .* rw,relatime .*",
                "crun: mount /dev/fuse .* rw,nosuid,noexec,relatime .*",
            )
        },
    ),
    "a device that is there anyway": (
        ["crun makes the devices asked for before it has a namespace"],
        {"crun mounts it twice": ("crun: mount /dev/null .*",)},
    ),
    "seccomp, all but some: ERRNO": ([], {ENOSYS: ("runc: call 5000 error 38", "crun: call 5000 error 1")}),
    "seccomp defaultErrnoRet": ([], {ENOSYS: ("runc: call 5000 error 38", "crun: call 5000 error 55")}),
    "unified with nonsense": (["crun makes no cgroup when it is not root"], {}),
    "intelRdt": ([], {"refused, as it cannot be had": ("runc: exit 0", "crun: exit 1")}),
}
OURS: dict[str, tuple[Iterable[str], Explained]] = {
    "seccomp, all but some: ERRNO": ([], {ENOSYS: ("runc: call 5000 error 38", "ours: call 5000 error 1")}),
    "seccomp defaultErrnoRet": ([], {ENOSYS: ("runc: call 5000 error 38", "ours: call 5000 error 55")}),
    "timeOffsets": (["crun 1.8 does not know them"], {}),
}


def newer() -> bool:
    """Whether crun is one of these: later than 1.8."""
    try:
        said = subprocess.run(["crun", "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return False  # then its tests do not run
    found = re.search(r"version (\d+)\.(\d+)", said)
    return bool(found) and (int(found[1]), int(found[2])) > (1, 8)


def updated(
    explained: Mapping[str, Explained], changes: Mapping[str, tuple[Iterable[str], Explained]]
) -> dict[str, Explained]:
    """Return a table of oci_differences.py as it holds for these."""
    table = {}
    for variant in {**explained, **changes}:
        gone, new = changes.get(variant, ((), {}))
        old = explained.get(variant, {})
        table[variant] = {**{reason: lines for reason, lines in old.items() if reason not in {*gone, *GONE}}, **new}
    return table
