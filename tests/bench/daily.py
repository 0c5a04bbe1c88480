"""What one notices who works with it: ./dev bench verbs|ps|many|build|memory

`verbs`: `sandbox exec` into a sandbox that runs, against crun's and runc's into a container of the same spec, and `--help`.
`ps`: the list of 500 that run.  `many`: 200 starts as fast as the processors allow.  `build`: GNU awk, configured and
compiled inside and outside.  `memory`: the proportional set size (PSS, proc(5), smaps_rollup) of the runtime's own
processes while the command of one sandbox does nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import BINARY, CHECKOUT, Contender, Group, bubblewrap, quote
from rich.console import Console
from rich.table import Table

LISTED = 500
STARTS = 200
MEMORY_KB = 600
SOURCE = CHECKOUT / ".cache/gawk"
NULL = subprocess.DEVNULL


def spec_of(bundle: Path, *command: str) -> dict[str, Any]:
    """Write the bundle of a run under the profile `build`, and return its spec."""
    subprocess.run([BINARY, "spec", "-p", "build", "--output", bundle, "--", *command], check=True)
    spec: dict[str, Any] = json.loads((bundle / "config.json").read_text())
    return spec


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        if time.monotonic() > end:
            sys.exit("bench: what was started does not come up")
        time.sleep(0.01)


def registered() -> int:
    """Return of how many sandboxes the first process is written down."""
    return len(list(Path(os.environ["XDG_RUNTIME_DIR"], "sandbox/containers").glob("*/state.json")))


# --- times ---


def verbs(work: Path) -> Group:
    """Give the group `verbs`."""
    spec_of(work / "bundle", "sleep", "1000")
    lives = subprocess.Popen([BINARY, "run", "-p", "build", "--name", "lives", "--", "sleep", "1000"], stdin=NULL)
    wait_until(lambda: registered() == 1)
    contenders = [
        Contender("exec", [str(BINARY), "exec", "lives", "--", "true"]),
        Contender("help", [str(BINARY), "--help"]),
    ]
    finish = []
    for peer in ("crun", "runc"):
        if not shutil.which(peer):
            continue
        program = [peer, "--root", f"{work}/{peer}"]
        started = [*program, "run", "--detach", "--bundle", str(work / "bundle"), "lives"]
        subprocess.run(started, stdin=NULL, stdout=NULL, stderr=NULL, check=True)
        contenders.append(Contender(f"{peer} exec", [*program, "exec", "lives", "true"]))
        finish.append([*program, "delete", "--force", "lives"])

    def close() -> None:
        lives.terminate()
        lives.wait()

    targets = (("exec", 0.5, "crun exec"), ("help", 0.15, ""))
    labels = {"exec": "sandbox exec", "help": "sandbox --help"}
    peers = ("crun exec", "runc exec")
    return Group("time of a verb", contenders, peers, targets, labels, tuple(finish), close=close)


def listing(work: Path) -> Group:
    """Give the group `ps`."""
    subprocess.run([BINARY, "run", "-p", "build", "--", "cat"], stdin=NULL, check=True)
    reader, writer = os.pipe()
    running = [
        subprocess.Popen([BINARY, "run", "-p", "build", "--", "cat"], stdin=reader, stdout=NULL) for _ in range(LISTED)
    ]
    os.close(reader)
    wait_until(lambda: registered() == LISTED)

    def close() -> None:
        os.close(writer)
        for process in running:
            process.wait()

    contenders = [Contender("ps", [str(BINARY), "ps"]), Contender("ps --quiet", [str(BINARY), "ps", "--quiet"])]
    labels = {"ps": f"sandbox ps, {LISTED} running", "ps --quiet": f"sandbox ps --quiet, {LISTED} running"}
    return Group("time to list what runs", contenders, (), (("ps", 0.15, ""),), labels, close=close)


def many(work: Path) -> Group:
    """Give the group `many`."""
    spec = spec_of(work / "bundle", "true")
    cores = len(os.sched_getaffinity(0))

    def all_of(command: list[str]) -> list[str]:
        return ["sh", "-c", f"seq {STARTS} | xargs -P {cores} -I@@@ {quote(command)}"]

    contenders = [
        Contender("many", all_of([str(BINARY), "run", "-p", "build", "--", "true"])),
        Contender("bwrap", all_of(bubblewrap(spec))),
    ]
    labels = {"many": f"sandbox run, {STARTS} times", "bwrap": f"bwrap, {STARTS} times"}
    title = f"time of {STARTS} starts, {cores} at once"
    return Group(title, contenders, ("bwrap",), (("many", 1.0, "bwrap"),), labels, most_runs=3, warmup=1)


def build(work: Path) -> Group:
    """Give the group `build`."""
    if not SOURCE.is_dir():
        sys.exit(f"bench: {SOURCE} is not there: run tests/fetch_source {SOURCE.name}")
    jobs = len(os.sched_getaffinity(0))
    # Without its manual, the sources of which Debian leaves out.
    compile_it = ["sh", "-c", f"cd tree && ./configure -q && make -s -C support -j{jobs} && make -s -j{jobs} gawk"]
    fresh = ["sh", "-c", f"rm -rf tree && cp -a {SOURCE} tree && sync"]
    contenders = [
        Contender("inside", [str(BINARY), "run", "-p", "build", "--", *compile_it], fresh),
        Contender("outside", compile_it, fresh),
    ]
    labels = {"inside": "GNU awk built inside", "outside": "GNU awk built outside"}
    targets = (("inside", 1.03, "outside"),)
    return Group("time to build a C project", contenders, ("outside",), targets, labels, most_runs=1, warmup=0)


# --- memory ---


@dataclass(frozen=True)
class Held:
    """One sandbox that does nothing; `finish` is called when it was looked at."""

    name: str
    command: list[str]
    finish: list[str] | None = None


def below(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
    return found


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def proportional(pid: int) -> int:
    """Return the PSS of a process in kB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def weigh(held: Held) -> tuple[int, int]:
    """Return the PSS of the runtime's processes together, in kB, and how many they are."""
    process = subprocess.Popen(held.command, stdin=NULL, stdout=NULL, stderr=NULL)
    try:
        wait_until(lambda: any(name_of(pid) == "sleep" for pid in below(process.pid)))
        time.sleep(0.2)
        ours = [pid for pid in below(process.pid) if name_of(pid) != "sleep"]
        return sum(proportional(pid) for pid in ours), len(ours)
    finally:
        for pid in reversed(below(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        if held.finish:
            subprocess.run(held.finish, capture_output=True, check=False)


def memory(work: Path, rounds: int, console: Console, results: dict[str, Any]) -> bool:
    """Show the group `memory`; return whether the target was reached."""
    spec = spec_of(work / "bundle", "sleep", "1000")
    contenders = [
        Held("sandbox", [str(BINARY), "run", "-p", "build", "--", "sleep", "1000"]),
        Held("bwrap", bubblewrap(spec, "sleep", "1000")),
        *(
            Held(
                peer,
                [peer, "--root", f"{work}/{peer}", "run", "--bundle", str(work / "bundle"), "bench"],
                [peer, "--root", f"{work}/{peer}", "delete", "--force", "bench"],
            )
            for peer in ("crun", "runc")
        ),
    ]
    subprocess.run([BINARY, "run", "-p", "build", "--", "sleep", "0"], check=True)  # the plan is kept
    table = Table(title="memory of an idle sandbox's runtime, as medians of the proportional set size")
    for heading in ("", "kB", "least", "processes"):
        table.add_column(heading, justify="right" if heading else "left")
    medians = {}
    weights: dict[str, list[int]] = {}
    for held in contenders:
        if not shutil.which(held.command[0]):
            continue
        found = [weigh(held) for _ in range(rounds)]
        weights[held.name] = [kilobytes for kilobytes, _ in found]
        medians[held.name] = statistics.median(weights[held.name])
        table.add_row(held.name, f"{medians[held.name]:.0f}", str(min(weights[held.name])), str(found[0][1]))
    console.print(table)
    reached = medians["sandbox"] <= MEMORY_KB
    verdict = "reached" if reached else "MISSED "
    console.print(f"{verdict}  sandbox: {medians['sandbox']:.0f} kB, at most {MEMORY_KB}", highlight=False)
    results["memory"] = {"medians": medians, "kilobytes": weights}
    return reached
