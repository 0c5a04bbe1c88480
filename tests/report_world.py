"""A report of which everything is known, and a page as its elements and its text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec

from sandbox.runtime.report import (
    Cgroup,
    Cpu,
    Exit,
    Io,
    Memory,
    OutOfMemory,
    Pids,
    PidsEvents,
    Report,
    Samples,
    Setting,
    Usage,
)

MIB = 1 << 20
# Whoever writes a command line, a profile or a process's name.
HOSTILE = "</script></style><b>bold</b>\"'><img src=x onerror=alert(1)>&amp;<!--\u2028"


def full(text: str = "make") -> Report:
    """Return the report of a run of which everything is known."""
    count = 300
    times = [number / 10 for number in range(count)]
    return Report(
        schema=1,
        id="job",
        command=[text, text],
        profiles=[text],
        cwd=f"/{text}",
        settings=[
            Setting("limits.memory", str(512 * MIB), text, enforced=True),
            Setting("limits.cpus", text, text, enforced=False, why=text),
        ],
        started="2026-01-01T00:00:00.000000Z",
        ended="2026-01-01T00:00:30.000000Z",
        exit=Exit(137, None, 9, timed_out=False, oom=OutOfMemory("own", 9, text, 17)),
        usage=Usage(30, 20, 2, MIB),
        cgroup=Cgroup(
            Memory(500 * MIB, 512 * MIB),
            Cpu(22, 20, 2, 300, 12, 1.5),
            Io(10 * MIB, 20 * MIB, 30, 40),
            Pids(9, 64, PidsEvents(3)),
        ),
        samples=Samples(
            times,
            [number * 500 * MIB // count for number in range(count)],
            [time * (1 + (number // 50) % 2) for number, time in enumerate(times)],
            [number * MIB // 30 for number in range(count)],
            [number * MIB // 15 for number in range(count)],
            [1 + number % 9 for number in range(count)],
        ),
    )


class Outline(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data = ""
        self._open = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 (as in HTMLParser)
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.data += data
        elif self._open != "style":
            self.text += data


def data(path: Path) -> Report:
    return msgspec.json.decode(Outline(path.read_text()).data, type=Report, strict=True)
