"""Make one page of the report of a run, to be looked at: its facts, and plots of what it used over time.

Executed by the monitor (`nsinit/report.c`) at the end:

    DOCUMENT_FD DIRECTORY_FD PATH

DOCUMENT_FD is the report, DIRECTORY_FD where the page is to be, as it was found before anything ran, and PATH its name.

The page needs no other file and no network, and executes nothing.  Whatever comes from the run is text in it: a command
line, or a process's name, is written by others.
"""

from __future__ import annotations

import shlex
import sys
from html import escape
from typing import TYPE_CHECKING

import msgspec

from sandbox.errors import HostError, describe
from sandbox.quantities import size, span
from sandbox.runtime.report import Report, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox.cli.plots import Plot
    from sandbox.runtime.report import Stall


def main() -> None:
    """Write the page, or say why it is not there."""
    document, directory, path = sys.argv[1:]
    with open(int(document), "rb") as file:
        report = msgspec.json.decode(file.read(), type=Report)
    try:
        write(page(report).encode(), int(directory), path)
    except HostError as error:
        print(describe(error), file=sys.stderr)
        sys.exit(error.exit_code)


def page(report: Report) -> str:
    """Return the whole page."""
    title = f"{shlex.join(report.command)}: {outcome(report)[1]}"
    return _DOCUMENT.format(
        title=escape(title),
        style=_STYLE,
        head=_head(report),
        tiles=_tiles(report),
        plots=_plots(report),
        facts=_facts(report),
        settings=_settings(report),
        data=_data(report),
    )


# --- how it ended ---


def outcome(report: Report) -> tuple[str, str]:
    """Return a word for the colour, and what is said of the end."""
    end = report.exit
    if report.error:
        return "bad", f"not started, exit status {end.status}"
    if end.timed_out:
        return "bad", f"its time was over, exit status {end.status}"
    if end.oom and end.signal == 9:
        return "bad", f"out of memory, exit status {end.status}"
    if end.signal is not None:
        return "bad", f"ended by signal {end.signal}, exit status {end.status}"
    return ("good" if end.status == 0 else "bad"), f"exit status {end.status}"


def _memory_words(report: Report) -> str:
    """Say who ran out of memory; "" if nobody did."""
    oom, cgroup = report.exit.oom, report.cgroup
    if not oom:
        return ""
    limit = cgroup.memory.limit if cgroup else None
    whose = {
        "own": "the sandbox's limit" + (f" of {size(limit)}" if limit is not None else ""),
        "inside": "a limit that was set inside",
        "outside": "a limit outside of the sandbox, or that of the machine,",
    }[oom.limit]
    who = f" by {oom.name} (pid {oom.pid} inside)" if oom.name is not None else ""
    killed = "1 process was killed" if oom.killed == 1 else f"{oom.killed} processes were killed"
    return f"Out of memory: {whose} was reached{who}; {killed}."


# --- the parts ---


def _element(name: str, text: str, kind: str = "") -> str:
    return f"<{name}{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(text)}</{name}>"


def _head(report: Report) -> str:
    kind, words = outcome(report)
    lines = [
        f"<h1><code>{escape(shlex.join(report.command))}</code></h1>",
        f'<p><span class="outcome {kind}">{escape(words)}</span> ran {escape(_seconds(report.usage.wall))}</p>',
    ]
    if report.error:
        lines.append(_element("p", report.error.message, "alarm"))
        lines += [_element("p", f"cause: {report.error.cause}")] if report.error.cause else []
        lines += [_element("p", f"hint: {line}") for line in report.error.hint.splitlines()]
    if report.exit.oom:
        lines.append(_element("p", _memory_words(report), "alarm"))
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 100 else span(value)


def _tiles(report: Report) -> str:
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd>{escape(note)}</dd></div>"
        for name, value, note in _figures(report)
    )


def _figures(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and a note of what is known; what is not is left out, and said below the plots."""
    cgroup, usage = report.cgroup, report.usage
    if not cgroup:
        if report.started:
            yield "Processor time", _seconds(usage.user + usage.system), f"{_seconds(usage.system)} of it the kernel's"
            yield "Largest process", size(usage.largest_resident), "in memory"
        return
    memory, cpu, io, pids = cgroup.memory, cgroup.cpu, cgroup.io, cgroup.pids
    if memory.peak is not None:
        yield "Memory at most", size(memory.peak), _of(memory.peak, memory.limit)
    if memory.swap_peak:
        yield "Swap at most", size(memory.swap_peak), _of(memory.swap_peak, memory.swap_limit)
    if cpu.usage is not None:
        note = f"{_seconds(cpu.system)} of it the kernel's" if cpu.system is not None else ""
        yield "Processor time", _seconds(cpu.usage), note
    if cpu.throttled is not None and cpu.periods:
        yield "Throttled", _seconds(cpu.throttled), f"in {cpu.throttled_periods} of {cpu.periods} periods"
    if io.read is not None and io.written is not None:
        yield "Read", size(io.read), f"{io.reads} requests"
        yield "Written", size(io.written), f"{io.writes} requests"
    if pids.peak is not None:
        note = f"of {pids.limit}" if pids.limit is not None else "no limit"
        yield "Processes at most", str(pids.peak), note + (f", {pids.events.max} refused" if pids.events.max else "")
    pressure = cgroup.pressure
    waits = (("processors", pressure.cpu), ("memory", pressure.memory), ("I/O", pressure.io))
    yield from (_waiting(name, stall) for name, stall in waits if stall.some is not None)


def _of(value: int, limit: int | None) -> str:
    if limit is None:
        return "no limit"
    return f"{value / limit:.0%} of {size(limit)}" if limit else f"of {size(limit)}"


def _waiting(name: str, stall: Stall) -> tuple[str, str, str]:
    note = f"everything for {_seconds(stall.full)}" if stall.full is not None else ""
    return f"Waited for {name}", _seconds(stall.some or 0), note


def _plots(report: Report) -> str:
    from sandbox.cli.plots import plots, svg  # late: a picture's library is slow to be read

    parts, missing = [], []
    for plot in plots(report):
        if plot.series:
            parts.append(f'<figure id="{plot.name}"><figcaption>{escape(plot.title)}</figcaption>{svg(plot)}</figure>')
        else:
            missing.append(plot)
    return "\n".join([*parts, *_missing(report, missing)])


def _missing(report: Report, plots: list[Plot]) -> Iterable[str]:
    """Say what is not shown, and why."""
    if not plots:
        return
    names = ", ".join(plot.title for plot in plots)
    if not report.started:
        why = "it did not run."
    elif not report.cgroup:
        why = (
            "the sandbox had no cgroup of its own, in which the kernel would count. What is to be done: sandbox doctor."
        )
    else:
        controllers = ", ".join(plot.controller for plot in plots)
        why = f"not counted in its cgroup ({controllers}), or it was too short. What is to be done: sandbox doctor."
    yield _element("p", f"Not shown: {names}: {why}", "missing")


def _facts(report: Report) -> str:
    rows = [
        ("Sandbox", report.id),
        ("Profiles", ", ".join(report.profiles)),
        ("Directory", report.cwd),
        ("Started", report.started or ""),
        ("Ended", report.ended),
    ]
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows if value)


def _settings(report: Report) -> str:
    rows = []
    for entry in report.settings:
        state = "yes" if entry.enforced else f"no: {entry.why}"
        cells = [
            _element("td", entry.name),
            _element("td", _asked(entry.name, entry.asked)),
            _element("td", state, "" if entry.enforced else "bad"),
            _element("td", entry.origin, "origin"),
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


_BYTES = ("limits.memory", "limits.memory_high", "limits.memory_low", "limits.memory_min", "limits.swap")


def _asked(name: str, value: str) -> str:
    return size(int(value)) if name in _BYTES and value.isdigit() else value or "none"


def _data(report: Report) -> str:
    """Return the report itself; nothing in it ends the element that it stands in, or begins another."""
    text = msgspec.json.encode(report).decode()
    return "".join(f"\\u{ord(character):04x}" if character in "<>&\u2028\u2029" else character for character in text)


_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
{head}
</header>
<main>
<dl class="tiles">{tiles}</dl>
<section class="plots">
{plots}
</section>
<section>
<h2>The run</h2>
<table class="facts">{facts}</table>
</section>
<section>
<h2>What was asked for</h2>
<div class="wide"><table>
<thead><tr><th>Setting</th><th>Value</th><th>In force</th><th>Where it was written</th></tr></thead>
<tbody>{settings}</tbody>
</table></div>
</section>
</main>
<script type="application/json" id="report">{data}</script>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --soft: #5b646d; --line: #d9dee3; --tile: #f4f6f8;
  --first: #1f6fc4; --second: #b3541e; --good: #1a7f37; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e9ec; --soft: #9aa4ae; --line: #343b42; --tile: #1e2327;
  --first: #6cb2ff; --second: #f0a36b; --good: #56d37c; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.4rem; line-height: 1.3; max-height: 12rem; overflow-y: auto; }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }
code { font-family: ui-monospace, monospace; white-space: pre-wrap; }
.outcome { padding: .1rem .6rem; border-radius: 1rem; border: 1px solid; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
.alarm { border-left: .25rem solid var(--bad); padding-left: .75rem; font-weight: 600; }
.missing { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.tiles div { background: var(--tile); border-radius: .5rem; padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; color: var(--soft); font-size: .85rem; }
dt + dd { color: var(--ink); font-size: 1.35rem; line-height: 1.3; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .5rem; padding: .6rem; break-inside: avoid; }
figcaption { font-weight: 600; } figure svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; } .facts th { width: 8rem; } .origin { color: var(--soft); }
.wide { overflow-x: auto; } .wide table { min-width: 36rem; }
@media (max-width: 40rem) { body { padding: .75rem; } h1 { font-size: 1.1rem; } .wide table { min-width: 0; } .wide thead { display: none; }
  .wide tr { display: grid; grid-template-columns: 11rem 1fr auto; border-bottom: 1px solid var(--line); padding: .3rem 0; }
  .wide td { border: 0; padding: 0 .5rem 0 0; } .wide .origin { grid-column: 1 / -1; } }
@media print { :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --tile: #fff; --first: #1f6fc4; --second: #b3541e;
    --good: #1a7f37; --bad: #b42318; } body { max-width: none; padding: 0; font-size: 10pt; } .tiles div { border: 1px solid var(--line); }
  tr { break-inside: avoid; } .wide { overflow: visible; } .wide table { min-width: 0; } h1 { max-height: none; } }
"""
