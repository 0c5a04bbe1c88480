#!/usr/bin/env python3
"""Run a command of busybox in a container, show what it uses while it runs, and end as it ends.

    examples/watch_container.py [COMMAND [ARGUMENT…]]

It shows the Python API: a container is an object, at the end of the `with` it is gone.  `apt install
busybox-static` gives the program that is the whole root file system here.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from sandbox import Containers
from sandbox.errors import HostError, SandboxError, WrongStatus

COUNT = ["sh", "-c", "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo counted to $i"]


def make_bundle(path: Path, command: list[str]) -> None:
    """Write a root file system of one program, and a configuration in which the caller is root."""
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("busybox is not found: apt install busybox-static")
    (path / "rootfs/bin").mkdir(parents=True)
    shutil.copy(busybox, path / "rootfs/bin/busybox")
    for name in ("sh", "cat", "echo", "id", "ls", "ps", "sleep", "true", "false"):
        (path / "rootfs/bin" / name).symlink_to("busybox")
    (path / "config.json").write_text(json.dumps({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": True},
        "process": {"args": command, "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts", "network", "cgroup")],
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
        },
    }))


def main(command: list[str]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        bundle = Path(directory) / "bundle"
        make_bundle(bundle, command or COUNT)
        containers = Containers(Path(directory) / "state")
        with containers.run("watched", bundle) as container:
            print(f"{container.id} runs as process {container.pid}: {container.status()}", file=sys.stderr)
            while True:
                try:
                    status = container.wait(0.2)
                    break
                except TimeoutError:
                    show_use(container)
        print(f"it ended with status {status}", file=sys.stderr)
        return 0 if status is None else status


def show_use(container: object) -> None:
    """Print the time and the processes that the container has had so far."""
    try:
        stats = container.stats()
    except WrongStatus:
        return  # it has just ended
    except HostError as error:
        print(f"no statistics: {error}", file=sys.stderr)
        return
    seconds = stats["cpu"]["usage"].get("total", 0) / 1e9
    print(f"{seconds:.2f} s of a processor, {stats['pids'].get('current', 0)} process(es)", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SandboxError as error:
        sys.exit(f"{error}\n{error.hint}".rstrip())
