"""Times against bubblewrap, crun, runc and firejail, on equal work: ./dev bench [GROUP…]

Group `start`: every peer starts `true` under what `sandbox spec -p build` says: crun and runc from the bundle itself,
bubblewrap with the same namespaces, mounts, masks and environment given as options.  bubblewrap goes
without a seccomp filter, as it takes one only from an open descriptor, and firejail with options of its
own that come nearest: for both that is less work than ours, not more.  Group `oci`: `sandbox-oci` against runc and crun, verb by
verb, on one bundle (`oci.py`); group `podman`: podman with each of the three as its runtime.  Groups `verbs`, `ps`, `many`,
`build` and `memory`: what one notices who works with it (`daily.py`).  Group `limits` is for the guest alone (`limits.py`).
All run in turn, in several rounds, as whoever calls this; the tables show medians over all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SANDBOX_BINARY") or CHECKOUT / ".venv/bin/sandbox")
NAMESPACES = {"user", "ipc", "pid", "network", "uts", "cgroup"}  # bubblewrap's mount namespace is not asked for

Target = tuple[str, float, str]  # ours, at most so many times the peer; without a peer so many seconds


@dataclass(frozen=True)
class Contender:
    name: str
    command: list[str]
    prepare: list[str] | None = None
    within: tuple[str, ...] = ()  # what brings hyperfine to where it is measured


@dataclass(frozen=True)
class Group:
    """What is measured together: the times of `contenders` as multiples of those of `peers`."""

    title: str
    contenders: list[Contender]
    peers: tuple[str, ...]
    targets: tuple[Target, ...]
    labels: dict[str, str]
    finish: tuple[list[str], ...] = ()  # what is to be called at the end
    most_runs: int = 1000  # per turn: what takes long is not done as often as the rest
    warmup: int = 3
    close: Callable[[], object] = lambda: None  # ends what was started for it


TARGETS: tuple[Target, ...] = (
    # ours, at most this many times, the peer
    ("warm", 0.9, "bwrap"),
    ("warm", 0.4, "crun"),
    ("warm", 0.15, "runc"),
    ("first", 2.5, "runc"),
)
LABELS = {"warm": "sandbox run, kept plan", "first": "sandbox run, no kept plan"}


# --- the same work for all ---


def bubblewrap(spec: dict[str, Any], *command: str) -> list[str]:
    """Return bwrap's command line for a spec of ours; it runs `true`, or `command`."""
    arguments = ["bwrap", "--clearenv"]
    namespaces = {namespace["type"] for namespace in spec["linux"]["namespaces"]}
    arguments += [f"--unshare-{'net' if name == 'network' else name}" for name in sorted(namespaces & NAMESPACES)]
    for variable in spec["process"].get("env", []):
        arguments += ["--setenv", *variable.split("=", 1)]
    for mount in spec.get("mounts", []):
        arguments += bubblewrap_mount(mount)
    for name, value in spec.get("annotations", {}).items():
        if name.endswith("symlinks"):
            for link, destination in json.loads(value).items():
                arguments += ["--symlink", destination, link]
    for path in spec["linux"].get("maskedPaths", []):
        if os.path.isdir(path):
            arguments += ["--tmpfs", path, "--remount-ro", path]
        elif os.path.exists(path):
            arguments += ["--ro-bind", "/dev/null", path]
    for path in spec["linux"].get("readonlyPaths", []):
        if os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    if spec.get("hostname"):
        arguments += ["--hostname", spec["hostname"]]
    return [*arguments, "--chdir", spec["process"]["cwd"], "--", *(command or ["true"])]


def bubblewrap_mount(mount: dict[str, Any]) -> list[str]:
    target, kind, options = mount["destination"], mount.get("type", ""), mount.get("options", [])
    if kind == "bind" or "bind" in options or "rbind" in options:
        if PurePosixPath("/dev") in PurePosixPath(target).parents:
            return []  # --dev brings the default devices
        return ["--ro-bind" if "ro" in options or "rro" in options else "--bind", mount["source"], target]
    match kind:
        case "proc":
            return ["--proc", target]
        case "mqueue":
            return ["--mqueue", target]
        case "tmpfs" if target == "/dev":
            return ["--dev", "/dev"]
        case "tmpfs" if target == "/dev/shm":
            return []
        case "tmpfs":
            return ["--tmpfs", target]
        case "devpts":
            return []
        case "sysfs" | "cgroup" | "cgroup2":
            return ["--ro-bind", "/sys" if kind == "sysfs" else "/sys/fs/cgroup", target]
    raise SystemExit(f"bench: no option of bwrap's for the mount {mount}")


def firejail() -> list[str]:
    """Return the options of firejail's that come nearest to the profile `build`."""
    return [
        "firejail", "--quiet", "--noprofile", "--net=none", "--private", "--private-tmp", "--private-dev",
        "--ipc-namespace", "--caps.drop=all", "--nonewprivs", "--seccomp", "--hostname=sandbox", "--", "true",
    ]  # fmt: skip


def starts(work: Path) -> Group:
    """Give the group `start`."""
    ours = [str(BINARY), "run", "-p", "build", "--", "true"]
    bundle = work / "bundle"
    subprocess.run([BINARY, "spec", "-p", "build", "--output", bundle, "--", "true"], check=True)
    spec = json.loads((bundle / "config.json").read_text())
    plans = Path(os.environ["XDG_RUNTIME_DIR"], "sandbox/plans")
    contenders = [
        Contender("warm", ours),
        Contender("bwrap", bubblewrap(spec)),
        Contender("crun", ["crun", "--root", f"{work}/crun", "run", "--bundle", str(bundle), "bench-crun"]),
        Contender("runc", ["runc", "--root", f"{work}/runc", "run", "--bundle", str(bundle), "bench-runc"]),
        Contender("firejail", firejail()),
        Contender("first", ours, ["rm", "-rf", str(plans)]),
    ]
    peers = ("bwrap", "crun", "runc", "firejail")
    return Group("time to start and end `true`", contenders, peers, TARGETS, LABELS)


# --- measuring ---


def usable(contender: Contender, console: Console) -> bool:
    """Try it once: a peer that fails is left out, and the reason shown; our own failure ends the bench."""
    if not shutil.which(contender.command[0]):
        console.print(f"{contender.name}: not installed", style="yellow", markup=False)
        return False
    if contender.prepare:
        null = subprocess.DEVNULL
        subprocess.run(contender.prepare, stdin=null, stdout=null, stderr=null, check=False)
    # A file, not a pipe: a container that was only created keeps what it was given.
    with tempfile.TemporaryFile("w+") as said:
        command = [*contender.within, *contender.command]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
        if result.returncode == 0:
            return True
        said.seek(0)
        console.print(f"{contender.name} fails: {said.read().strip()}", style="red", markup=False)
    if contender.command[0].startswith(str(BINARY)):
        sys.exit(1)
    return False


def measure(contender: Contender, runs: int, output: Path, warmup: int) -> list[float]:
    """Return the times of `runs` starts, in seconds."""
    command = [*contender.within, "hyperfine", "--shell=none", "--style=none", f"--warmup={warmup}", f"--runs={runs}"]
    command += [f"--export-json={output}"]
    if contender.prepare:
        command += ["--prepare", quote(contender.prepare)]
    subprocess.run([*command, "--", quote(contender.command)], check=True, stdout=subprocess.DEVNULL)
    times: list[float] = json.loads(output.read_text())["results"][0]["times"]
    return times


def quote(command: list[str]) -> str:
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)


@contextmanager
def workplace() -> Iterator[Path]:
    """Give a project directory to stand in, and a runtime directory of the bench's own."""
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    with (
        tempfile.TemporaryDirectory(prefix="sbx-bench-", dir=home) as project,
        tempfile.TemporaryDirectory(prefix="sbx-bench-", dir=runtime) as work,
    ):
        before = dict(os.environ)
        os.chdir(project)
        os.environ["XDG_RUNTIME_DIR"] = work
        os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        try:
            yield Path(work)
        finally:
            os.chdir("/")
            os.environ.clear()
            os.environ.update(before)  # the next group has a place of its own


# --- telling ---


def version(command: str) -> str:
    if not shutil.which(command):
        return "absent"
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    lines = result.stdout.splitlines()
    return lines[0].removeprefix(command).removeprefix(" version").strip() if lines else ""


def machine(names: list[str]) -> dict[str, Any]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    versions = {name: version(name) for name in [*names, "hyperfine"]}
    versions["sandbox"] = version(str(BINARY))
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "system": release,
        "python": platform.python_version(),
        "uid": os.geteuid(),
        "versions": versions,
    }


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def show(group: Group, times: dict[str, list[float]], console: Console) -> bool:
    """Print the table; return whether every target that could be measured was reached."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    peers = [name for name in medians if name in group.peers]
    columns = peers if len(peers) < 6 else []  # else the ratios that matter are said below
    table = Table(title=f"{group.title}, as medians")
    table.add_column("")
    for heading in ("median ms", "least", "spread", "runs", *(f"/ {name}" for name in columns)):
        table.add_column(heading, justify="right")
    for name, values in times.items():
        quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        table.add_row(
            group.labels.get(name, name),
            milliseconds(medians[name]),
            milliseconds(min(values)),
            milliseconds(quarters[2] - quarters[0]),
            str(len(values)),
            *(f"{medians[name] / medians[peer]:.2f}" for peer in columns),
        )
    console.print(table)
    reached = True
    for ours, limit, peer in group.targets:
        if ours in medians and peer in medians:
            ratio = medians[ours] / medians[peer]
            reached &= ratio <= limit
            console.print(
                f"{'reached' if ratio <= limit else 'MISSED '}  {group.labels.get(ours, ours)}: "
                f"{ratio:.2f} of {group.labels.get(peer, peer)}, at most {limit}",
                markup=False,
                highlight=False,
            )
        elif ours in medians and not peer:
            reached &= medians[ours] <= limit
            console.print(
                f"{'reached' if medians[ours] <= limit else 'MISSED '}  {group.labels.get(ours, ours)}: "
                f"{milliseconds(medians[ours])} ms, at most {milliseconds(limit)}",
                markup=False,
                highlight=False,
            )
    return reached


def show_machine(about: dict[str, Any], console: Console) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    console.print(
        f"{about['cpu']}, {about['cores']} cores; {about['system']}, Linux {about['kernel']}", highlight=False
    )
    console.print(versions, highlight=False)


def measure_group(group: Group, rounds: int, runs: int, work: Path, console: Console) -> dict[str, list[float]]:
    """Return the times of each contender that works here, taken in turn."""
    try:
        field = [contender for contender in group.contenders if usable(contender, console)]
        times: dict[str, list[float]] = {contender.name: [] for contender in field}
        for _ in range(rounds):
            for contender in field:
                output = work / "hyperfine.json"
                times[contender.name] += measure(contender, min(runs, group.most_runs), output, group.warmup)
    finally:
        group.close()
        for command in group.finish:
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return times


def main() -> None:
    import daily  # here, as they import from us
    import limits
    import oci
    import podman

    groups = {
        "start": starts,
        "oci": oci.verbs,
        "podman": podman.runs,
        "verbs": daily.verbs,
        "ps": daily.listing,
        "many": daily.many,
        "build": daily.build,
        "limits": limits.starts,
    }
    names = [*groups, "memory"]
    parser = argparse.ArgumentParser(prog="./dev bench", description="Compare times with those of others.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(names)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=5, help="how often all have their turn (default 5)")
    parser.add_argument("--runs", type=int, default=20, help="starts per turn (default 20)")
    parser.add_argument("--json-fd", type=int, metavar="FD", help="write all times to this open descriptor")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(names):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    console = Console(width=int(os.environ.get("COLUMNS", "120")))
    reached = True
    results: dict[str, Any] = {}
    # That of the limits needs a machine with a user manager and its controllers: ./dev bench limits goes there.
    for name in options.groups or [name for name in names if name != "limits"]:
        with workplace() as work:
            if name == "memory":
                reached &= daily.memory(work, options.rounds, console, results)
                continue
            group = groups[name](work)
            times = measure_group(group, options.rounds, options.runs, work, console)
            reached &= show(group, times, console)
            results[name] = {
                "medians": {name: statistics.median(values) for name, values in times.items()},
                "commands": {contender.name: contender.command for contender in group.contenders},
                "times": times,
            }
    about = machine(["bwrap", "crun", "runc", "firejail", "podman"])
    show_machine(about, console)
    if options.json_fd is not None:
        result = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about, "groups": results}
        with open(options.json_fd, "w") as file:
            json.dump(result, file, indent=1)
    sys.exit(0 if reached or not options.check else 1)


if __name__ == "__main__":
    sys.modules["bench"] = sys.modules["__main__"]
    main()
