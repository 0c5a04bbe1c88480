"""`sandbox ps`: what runs, and on request what has ended and is kept."""

from __future__ import annotations

import os
import sys
import time

from sandbox.cli.tables import show_table
from sandbox.cli.verb_line import Values
from sandbox.errors import ContainerError, InvalidId, NoSuchContainer, UsageError, describe
from sandbox.quantities import UNKNOWN, seconds_of, span
from sandbox.runtime.record import Record, Status
from sandbox.runtime.state import Place, open_container, state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

COLUMNS = ("ID", "PROFILE", "COMMAND", "STATUS", "SINCE", "PID")
_SPECIAL = frozenset(" \t\n'\"\\$&|;<>()*?[]#~`{}!")


def show(values: Values, operands: list[str]) -> int:
    """Print them, sorted by when they were started."""
    if operands:
        raise UsageError(f"{operands[0]} is not understood", where="ps", hint="see sandbox inspect ID")
    found = sorted(_rows(everyone=bool(values.get("all")), quiet=bool(values.get("quiet"))), key=lambda row: row.order)
    if values.get("json"):
        from json import dumps  # late: 5 ms

        print(dumps([row.document() for row in found], indent=2))
    elif values.get("quiet"):
        sys.stdout.write("".join(f"{row.id}\n" for row in found))
    else:
        now = time.time()
        show_table(COLUMNS, [row.cells(now) for row in found])
    return 0


class Row:
    """What is shown of one."""

    __slots__ = ("_document", "_result", "created", "id", "order", "pid", "status")

    def __init__(self, record: Record, status: str, *, quiet: bool, result: Mapping[str, Any] | None = None) -> None:
        self.id = record.id
        self.status = status
        self.pid = 0 if status == Status.STOPPED else record.pid
        self.created = record.created
        self.order = (record.created, record.id)
        self._document = {} if quiet else record.document()
        self._result = result or {}  # of a detached one that has ended

    def document(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "id": self.id,
            "kind": "sandbox" if self._document.get("held") else "container",
            "profiles": self.profiles(),
            "command": self.command(),
            "status": self.status,
            "created": self.created,
            "pid": self.pid,
            "bundle": self._document.get("bundle", ""),
            "exit": self._result.get("exit"),
            "ended": self._result.get("ended"),
        }

    def cells(self, now: float) -> tuple[str, ...]:
        """Return it for people, in the order of COLUMNS."""
        command = " ".join(_quoted(word) for word in self.command())
        return (
            self.id,
            ",".join(self.profiles()) or UNKNOWN,
            command or UNKNOWN,
            f"{self.status} ({self._result['exit']['status']})" if self._result else self.status,
            span(now - seconds_of(self._result.get("ended", self.created))),
            str(self.pid or UNKNOWN),
        )

    def profiles(self) -> list[str]:
        """Return the names of its profiles; of a container of the OCI runtime there are none."""
        from sandbox.spec.quick import value

        text = (self._document.get("annotations") or {}).get("dev.sandbox.profiles", "[]")
        try:
            found = value(text)
        except ValueError:
            return []  # an engine's annotation may say anything
        return [str(name) for name in found] if isinstance(found, list) else []

    def command(self) -> list[str]:
        """Return the command as it was given."""
        return [str(word) for word in self._document.get("args") or []]


def _rows(*, everyone: bool, quiet: bool) -> Iterator[Row]:
    parent = f"{state_root()}/containers"
    for name in os.listdir(parent):
        try:
            place, record = open_container(parent, name)
        except (NoSuchContainer, InvalidId):
            continue  # being made or removed right now
        except ContainerError as error:
            print(describe(error), file=sys.stderr)
            continue
        with place:
            row = _row(place, record, quiet=quiet)
        if row is not None and (everyone or row.status != Status.STOPPED):
            yield row


def _row(place: Place, record: Record, *, quiet: bool) -> Row | None:
    status = place.status(record)
    result = {}
    if record.held and status == Status.STOPPED:
        result = place.result()
        if not result:
            return None  # it ends right now
    try:
        return Row(record, status, quiet=quiet, result=result)
    except (ValueError, ContainerError):
        print(
            describe(ContainerError(f"{place.path}/state.json: is damaged", hint=f"rm -r {place.path}")),
            file=sys.stderr,
        )
        return None


def _quoted(word: str) -> str:
    """Return a word as a shell takes it; shlex would cost 5 ms."""
    if word and not _SPECIAL.intersection(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"
