"""`sandbox-oci` against runc and crun, verb by verb: ./dev bench oci

All have the bundle that `runc spec --rootless` writes, with `true` in a root file system that is one static busybox.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from bench import BINARY, Contender, Group, Target

OURS = f"{BINARY}-oci" if "-sanitized" not in BINARY.name else str(BINARY)
TARGETS: tuple[Target, ...] = (
    ("fresh", 0.8, "runc run"),
    ("seen", 0.5, "crun run"),
    ("state", 1.0, "runc state"),
    ("start", 1.0, "runc start"),
    ("kill", 1.0, "runc kill"),
    ("delete", 1.0, "runc delete"),
    ("exec", 0.5, "crun exec"),
)
LABELS = {
    "fresh": "sandbox-oci run, fresh bundle",
    "seen": "sandbox-oci run, seen before",
    **{verb: f"sandbox-oci {verb}" for verb in ("create", "start", "state", "kill", "delete", "exec")},
}


def make_bundle(directory: Path, *arguments: str) -> None:
    """Write a bundle of busybox with runc's own spec."""
    programs = directory / "rootfs/bin"
    programs.mkdir(parents=True)
    shutil.copy("/bin/busybox", programs / "busybox")
    for name in ("true", "sleep", "sh"):
        (programs / name).symlink_to("busybox")
    subprocess.run(["runc", "spec", "--rootless"], cwd=directory, check=True)
    document = json.loads((directory / "config.json").read_text())
    document["process"] |= {"args": list(arguments), "terminal": False}
    (directory / "config.json").write_text(json.dumps(document))


def verbs(work: Path) -> Group:
    """Give the group `oci`."""
    once, long = work / "once", work / "long"
    make_bundle(once, "/bin/true")
    make_bundle(long, "/bin/sleep", "1000")
    plans = f"{os.environ['XDG_RUNTIME_DIR']}/sandbox/plans"
    ours = [OURS]
    finish: list[list[str]] = []
    contenders = [
        Contender("seen", [*ours, "run", "--bundle", str(once), "bench"]),
        Contender("fresh", [*ours, "run", "--bundle", str(once), "bench"], ["rm", "-rf", plans]),
    ]
    programs = [("", ours), *((name, [name, "--root", f"{work}/{name}"]) for name in ("crun", "runc"))]
    for peer, program in programs:
        if peer and not shutil.which(peer):
            continue
        name = f"{peer} {{}}" if peer else "{}"
        if peer:
            contenders.append(Contender(f"{peer} run", [*program, "run", "--bundle", str(once), "bench"]))
        subprocess.run(
            [*program, "run", "--detach", "--bundle", str(long), "lives"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        finish += [[*program, "delete", "--force", name] for name in ("lives", "bench")]
        # As a shell would put it; what it says on stderr stays visible.
        remove = f"{' '.join(program)} delete --force bench 2>/dev/null"
        create = f"{' '.join(program)} create --bundle {long} bench </dev/null >/dev/null"
        contenders += [
            Contender(
                name.format("create"),
                [*program, "create", "--bundle", str(long), "bench"],
                ["sh", "-c", f"{remove}; true"],
            ),
            Contender(name.format("start"), [*program, "start", "bench"], ["sh", "-c", f"{remove}; {create}"]),
            Contender(name.format("state"), [*program, "state", "lives"]),
            Contender(name.format("kill"), [*program, "kill", "lives", "CONT"]),
            Contender(name.format("exec"), [*program, "exec", "lives", "/bin/true"]),
            Contender(
                name.format("delete"), [*program, "delete", "--force", "bench"], ["sh", "-c", f"{remove}; {create}"]
            ),
        ]
    peers = (
        "crun run",
        "runc run",
        *(f"{peer} {verb}" for peer in ("crun", "runc") for verb in ("start", "state", "kill", "delete", "exec")),
    )
    return Group("sandbox-oci, verb by verb", contenders, peers, TARGETS, LABELS, tuple(finish))
