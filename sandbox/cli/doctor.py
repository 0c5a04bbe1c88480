"""`sandbox doctor`: what this host allows, found out by trying it, and what to do about the rest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

from sandbox.errors import SandboxError, printable
from sandbox.kernel.probe.attempt import run
from sandbox.kernel.probe.distribution import family, release
from sandbox.kernel.probe.finding import Cause, Finding, State
from sandbox.kernel.probe.lacks import lack
from sandbox.kernel.probe.survey import Group, survey

SCHEMA = 1
"""Changed when a member of the JSON document changes its meaning or goes."""

_MARKS: dict[State, str] = {"ok": "✓", "warn": "!", "fail": "✗", "n/a": "-"}
_PLAIN_MARKS: dict[State, str] = {"ok": "ok", "warn": "warning", "fail": "FAILED", "n/a": "-"}
_STYLES: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "bold red", "n/a": "dim"}
_TO_DO = "to do: "
_TRIAL_SECONDS = 5.0
_NAME_WIDTH = 20
_SMALLEST = 32  # below this many columns for words, they stand below the name


def doctor(program: str, *, as_json: bool, verbose: bool) -> int:
    """Try everything, print it, and return the exit status: 1 where the main job cannot work."""
    groups = _groups(program)
    if as_json:
        found = list(groups)
        _show_json(found)
    else:
        found = []
        show = _show_rich if sys.stdout.isatty() else _show_plain
        for group in groups:
            found.append(group)
            show(group, verbose)
        _show_sum(found)
    return 0 if _works(found) else 1


def _groups(program: str) -> Iterator[Group]:
    yield from survey()
    started = time.monotonic()
    finding = _probe_run(program)
    yield Group("The main job", (finding,), time.monotonic() - started)


def _works(groups: Sequence[Group]) -> bool:
    return not any(finding.state == "fail" for group in groups for finding in group.findings)


def _probe_run(program: str) -> Finding:
    """Run a command in a sandbox, by the installed program and all of its parts."""
    from sandbox.plan.encode import encode
    from sandbox.profile.request import Request
    from sandbox.runtime.compilation import compile_request

    name, how = "sandbox run", "a plan of the profile base, executed by nsinit; nothing of it is kept"
    request = Request(("base",), (("process.cwd", "/"),), "/", os.geteuid(), os.getegid())
    try:
        compilation = compile_request(request)
    except SandboxError as error:
        cause = Cause(why=error.cause, cure=error.hint)
        return Finding(name=name, state="fail", found=str(error), cause=cause, how=how)
    plan = os.memfd_create("plan")
    os.write(plan, encode(compilation.plan))
    try:
        # "true" may be somewhere else on this system, which is none of our business: then all before it has worked.
        said = run(
            ["sandbox-plan", str(plan), "0", "true"], program=program, descriptors=(plan,), seconds=_TRIAL_SECONDS
        )
    finally:
        os.close(plan)
    if said.status in (0, 126, 127):
        return Finding(name=name, state="ok", found="a command ran in a sandbox", how=how)
    message, cause = _refusal(said.words)
    found = message or said.words or said.end
    return Finding(name=name, state="fail", found=found, cause=cause or lack(said.number), how=how)


def _refusal(said: str) -> tuple[str, Cause]:
    """Take apart what `errors.describe()` has put together."""
    parts = {"sandbox: ": "", "  cause: ": "", "  hint: ": ""}
    for line in said.splitlines():
        for start in parts:
            if line.startswith(start) and not parts[start]:
                parts[start] = line.removeprefix(start)
    message, why, cure = parts.values()
    return message, Cause(why=why, cure=cure)


# --- as text ---


def _explained(cause: Cause) -> Iterator[str]:
    if cause.why:
        yield printable(f"because {cause.why}")
    if cause.cure:
        yield printable(f"{_TO_DO}{cause.cure}")


def _lines(finding: Finding, *, verbose: bool) -> Iterator[tuple[str, str]]:
    """Give what stands below a finding: a style, and the words."""
    for words in _explained(finding.cause):
        yield "bold" if words.startswith(_TO_DO) else "", words
    if verbose and finding.how:
        yield "dim", f"tried: {finding.how}"


def _show_rich(group: Group, verbose: bool) -> None:  # noqa: FBT001 (as _show_plain)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    marks = _MARKS if "utf" in (console.encoding or "").lower() else _PLAIN_MARKS
    console.print(Text(group.title, style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    narrow = console.width - _NAME_WIDTH - 6 < _SMALLEST
    table.add_column(no_wrap=True)
    if not narrow:
        table.add_column(width=_NAME_WIDTH)
    table.add_column(overflow="fold")
    for finding in group.findings:
        mark = Text(marks[finding.state], style=_STYLES[finding.state])
        found = printable(finding.found)
        if narrow:
            table.add_row(mark, Text(f"{finding.name}: {found}"))
        else:
            table.add_row(mark, Text(finding.name), Text(found))
        for style, words in _lines(finding, verbose=verbose):
            table.add_row("", *(() if narrow else ("",)), Text(words, style=style))
    console.print(table)
    if verbose:
        console.print(Text(f"  {group.seconds * 1000:.0f} ms", style="dim"))
    console.print()


def _show_plain(group: Group, verbose: bool) -> None:  # noqa: FBT001 (one of two, chosen by what stdout is)
    for finding in group.findings:
        print(f"{finding.state}: {group.title}: {finding.name}: {printable(finding.found)}")
        for _, words in _lines(finding, verbose=verbose):
            print(f"    {words}")


def _show_sum(groups: Sequence[Group]) -> None:
    failed = [finding for group in groups for finding in group.findings if finding.state == "fail"]
    warnings = sum(finding.state == "warn" for group in groups for finding in group.findings)
    also = {0: "", 1: "; 1 warning, about what only some need"}.get(
        warnings, f"; {warnings} warnings, about what only some need"
    )
    if not failed:
        print(f"sandbox works here{also}")
        return
    # Again, as all above may have gone past.
    print(f"sandbox does not work here: {', '.join(finding.name for finding in failed)}")
    for cause in dict.fromkeys(finding.cause for finding in failed if finding.cause):
        for words in _explained(cause):
            print(f"    {words}")


# --- as JSON ---


def _show_json(groups: Sequence[Group]) -> None:
    system = os.uname()
    document = {
        "schema": SCHEMA,
        "works": _works(groups),
        "host": {
            "kernel": system.release,
            "machine": system.machine,
            "distribution": release().get("ID", ""),
            "version": release().get("VERSION_ID", ""),
            "packages": family(),
        },
        "findings": [
            {
                "group": group.title,
                "name": finding.name,
                "state": finding.state,
                "found": finding.found,
                "why": finding.cause.why,
                "cure": finding.cause.cure,
                "how": finding.how,
            }
            for group in groups
            for finding in group.findings
        ],
    }
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
