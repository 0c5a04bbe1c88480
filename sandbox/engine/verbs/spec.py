"""`spec`: a starter config.json, which but for its version is runc's."""

from __future__ import annotations

import json
import os

from sandbox.engine.log import reason
from sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.engine.call import Call

_VERSION = "1.0.2"  # every runtime takes it, and nothing newer is used
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def run(call: Call) -> int:
    """Write it."""
    bundle = call.line.text("bundle")
    if bundle:
        try:
            os.chdir(bundle)
        except OSError as error:
            raise HostError(f"chdir {bundle}: {reason(error)}") from error
    text = json.dumps(document(rootless=call.line.flag("rootless")), indent="\t")
    try:
        # 0666, of which the caller's umask takes away, as for any file of the caller's.
        descriptor = os.open("config.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError as error:
        raise HostError("File config.json exists. Remove it first") from error
    except OSError as error:
        raise HostError(f"open config.json: {reason(error)}") from error
    with open(descriptor, "w") as file:
        file.write(text)
    return 0


def document(*, rootless: bool) -> dict[str, Any]:
    """Return the specification; a rootless one has a user namespace with the caller as id 0."""
    return {
        "ociVersion": _VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "ambient"), _CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "runc",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            _mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
            _mount(
                "/dev/pts",
                "devpts",
                "devpts",
                f"nosuid noexec newinstance ptmxmode=0666 mode=0620{'' if rootless else ' gid=5'}",
            ),
            _mount("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
            _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
            # A sysfs can be mounted by who owns the network namespace.
            _mount("/sys", "none", "/sys", "rbind nosuid noexec nodev ro")
            if rootless
            else _mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
            _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
        ],
        "linux": {
            **(_mappings() if rootless else {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}),
            "namespaces": [{"type": kind} for kind in _namespaces(rootless=rootless)],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def _namespaces(*, rootless: bool) -> list[str]:
    return [
        "pid",
        *([] if rootless else ["network"]),
        "ipc",
        "uts",
        "mount",
        # As runc: not on a host with the cgroups of v1.
        *(["cgroup"] if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else []),
        *(["user"] if rootless else []),
    ]


def _mount(destination: str, kind: str, source: str, options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options.split()}


def _mappings() -> dict[str, Any]:
    return {
        "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
    }
