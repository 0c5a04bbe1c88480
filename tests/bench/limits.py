"""A start with limits in a cgroup of its own, against those of crun, runc and podman: ./dev bench limits, in the guest

The same limits for all, on memory, processes and cpu, and the same profile: crun, runc and sandbox-oci have the bundle that
`sandbox spec` writes, with those limits in it.  Those that are said to go through the manager are started in a unit without
delegation, as from a login, and make a transient scope; `direct` is started in a unit with Delegate=yes, as the bench itself
is, and makes a cgroup beside its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from bench import BINARY, Contender, Group, Target
from podman import command, prepare

# A scope is asked for where the user's manager listens, not in the bench's own place.
MANAGERS = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
OPTIONS = ("--memory", "512M", "--pids", "100", "--cpus", "1")
RESOURCES = {"memory": {"limit": 512 << 20}, "pids": {"limit": 100}, "cpu": {"quota": 100_000, "period": 100_000}}
UNIT = ("systemd-run", "--user", "--scope", "--quiet", "--collect", "--")
CRUN = "crun run --systemd-cgroup"
TARGETS: tuple[Target, ...] = (("scope", 0.7, CRUN), ("direct", 0.5, CRUN))
LABELS = {
    "scope": "sandbox run, limits, a scope",
    "direct": "sandbox run, limits, direct",
    "none": "sandbox run, no limits",
    "oci": "sandbox-oci run --systemd-cgroup",
}


def starts(work: Path) -> Group:
    """Give the group `limits`."""
    os.environ["XDG_RUNTIME_DIR"] = MANAGERS
    bundle = work / "bundle"
    subprocess.run([BINARY, "spec", "-p", "build", "--output", bundle, "--", "true"], check=True)
    document = json.loads((bundle / "config.json").read_text())
    document["linux"]["resources"] = {**document["linux"].get("resources", {}), **RESOURCES}
    (bundle / "config.json").write_text(json.dumps(document))
    place = Path(tempfile.mkdtemp(prefix="sbx-", dir="/var/tmp"))  # podman wants a short name
    podman = prepare(place, Path(os.environ["XDG_RUNTIME_DIR"]))
    podman.environment |= {"DBUS_SESSION_BUS_ADDRESS": os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")}
    asked = [
        "--cgroup-manager=systemd",
        "run",
        "--rm",
        "--memory=512m",
        "--pids-limit=100",
        "--cpus=1",
        "busybox",
        "true",
    ]

    def runtime(name: str, *program: str) -> Contender:
        arguments = ["--systemd-cgroup", "run", "--bundle", str(bundle), f"bench-{program[0].rpartition('/')[2]}"]
        return Contender(name, [*program, *arguments], within=UNIT)

    ours = [str(BINARY), "run", "-p", "build"]
    contenders = [
        Contender("scope", [*ours, *OPTIONS, "--", "true"], within=UNIT),
        Contender("direct", [*ours, *OPTIONS, "--", "true"]),
        Contender("none", [*ours, "--", "true"]),
        runtime("oci", f"{BINARY}-oci"),
        runtime(CRUN, "crun", "--root", f"{work}/crun"),
        runtime("runc run --systemd-cgroup", "runc", "--root", f"{work}/runc"),
        Contender("podman run, crun", command(podman, "crun", *asked), within=UNIT),
    ]
    finish = (
        command(podman, "crun", "system", "migrate"),
        ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", str(place)],
    )
    peers = (CRUN, "runc run --systemd-cgroup", "podman run, crun")
    return Group("time to start and end `true` with limits", contenders, peers, TARGETS, LABELS, finish, warmup=2)
