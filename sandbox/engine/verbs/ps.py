"""`ps`: the processes of a container, as the system's ps(1) shows them."""

from __future__ import annotations

import os

from sandbox.engine.call import put
from sandbox.errors import HostError, UsageError
from sandbox.kernel.aside import SYSTEM_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.engine.call import Call


def run(call: Call) -> int:
    """Print the lines of `ps -ef`, or of ps with the options that follow the id, that are of the container."""
    form = call.line.text("format") or "table"
    processes = call.container().processes()
    if form == "json":
        put(f"[{','.join(map(str, processes))}]\n" if processes else "null\n")
        return 0
    if form != "table":
        raise UsageError("invalid format option")
    put(select(_ps(call.line.operands[1:] or ["-ef"]), set(processes)))
    return 0


def _ps(options: list[str]) -> str:
    import subprocess  # late: 9 ms that the JSON form does not owe

    try:
        result = subprocess.run(
            ["ps", *options],
            env={**os.environ, "PATH": SYSTEM_PATH},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        from sandbox.kernel.probe.distribution import install  # late: for a refusal alone

        raise HostError('exec: "ps": executable file not found in $PATH', hint=install("ps")) from error
    if result.returncode:
        raise HostError(f"exit status {result.returncode}: {result.stdout}")
    return result.stdout


def select(output: str, processes: set[int]) -> str:
    """Return the heading and the lines whose column PID names one of `processes`.  Raises HostError."""
    heading, *lines = output.splitlines()
    columns = heading.split()
    if "PID" not in columns:
        raise HostError("couldn't find PID field in ps output")
    index = columns.index("PID")
    kept = [heading]
    for line in lines:
        fields = line.split()
        if not fields:
            continue
        if len(fields) <= index or not fields[index].isdigit():
            raise HostError(f"unable to parse pid: {line}")
        if int(fields[index]) in processes:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)
