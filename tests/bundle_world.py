"""Bundles of busybox, as small as they can be."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

APPLETS = "cat echo env false grep id kill ls ps sh sleep stty test touch true tty wc".split()
NAMESPACES = ("user", "mount", "pid", "ipc", "uts", "cgroup")


def make_bundle(path: Path, *command: str, **changes: Any) -> Path:
    """Write a bundle that runs `command`; `changes` replace members of its config.json, `a__b` is b in a."""
    (path / "rootfs/bin").mkdir(parents=True)
    for name in ("etc", "proc", "dev", "tmp"):
        (path / "rootfs" / name).mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, path / "rootfs/bin/busybox")
    for name in APPLETS:
        (path / "rootfs/bin" / name).symlink_to("busybox")
    write_config(path, *command, **changes)
    return path


def write_config(path: Path, *command: str, **changes: Any) -> None:
    """Write another config.json for the bundle."""
    document: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "args": list(command or ("sleep", "1000")),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            # Otherwise it would be the id's, which tests that run at the same time share.
            "cgroupsPath": f"sbx-{secrets.token_hex(4)}",
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
        },
    }
    for name, value in changes.items():
        table = document
        *parents, last = name.split("__")
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    (path / "config.json").write_text(json.dumps(document))
