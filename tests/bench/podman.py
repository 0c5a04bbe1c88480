"""`podman run --rm IMAGE true` with sandbox-oci, crun and runc as podman's runtime: ./dev bench podman

All have the same image, storage and settings, and no network; the runtime is named in the call.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench import CHECKOUT, Contender, Group, Target

sys.path.append(str(CHECKOUT / "tests"))
from podman_world import IMAGE, RUNTIMES, Podman, prepare

TARGETS: tuple[Target, ...] = (("sandbox-oci", 1.0, "runc"),)
LABELS = {name: f"podman run, {name}" for name in RUNTIMES}


def runs(work: Path) -> Group:
    """Give the group `podman`."""
    place = work / "podman"
    place.mkdir()
    podman = prepare(place, Path(os.environ["XDG_RUNTIME_DIR"]))
    contenders = [
        Contender(name, command(podman, name, "run", "--rm", IMAGE, "true")) for name in ("sandbox-oci", "crun", "runc")
    ]
    # The first ends the process that holds podman's user namespace; layers are in part closed to their owner.
    finish = (
        command(podman, "crun", "system", "migrate"),
        ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", str(place)],
    )
    return Group("podman run --rm IMAGE true", contenders, ("crun", "runc"), TARGETS, LABELS, finish)


def command(podman: Podman, runtime: str, *arguments: str) -> list[str]:
    podman.runtime = runtime
    variables = [f"{name}={value}" for name, value in podman.environment.items()]
    return ["env", "-i", *variables, *podman.command(*arguments)]
