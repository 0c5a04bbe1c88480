"""`list`: the containers of the state root."""

from __future__ import annotations

from sandbox.engine.call import put
from sandbox.errors import NoSuchContainer, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.engine.call import Call

# A column is as wide as its widest entry and three blanks, and twelve at least; the last is not filled up.
_COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
_FIELDS = ("id", "pid", "status", "bundle", "created", "owner")
_GAP = 3
_LEAST = 12


def run(call: Call) -> int:
    """Print them, as a table, as JSON, or their ids alone."""
    form = call.line.text("format") or "table"
    quiet = call.line.flag("quiet")
    if not quiet and form not in ("table", "json"):
        raise UsageError("invalid format option")
    containers = call.containers().list()
    if quiet:
        put("".join(f"{container.id}\n" for container in containers))
        return 0
    documents: list[dict[str, Any]] = []
    for container in containers:
        try:
            state = container.state()
            state.owner = container.owner()
        except NoSuchContainer:
            continue  # destroyed meanwhile
        documents.append(state.document())
    if form == "json":
        import json

        text = json.dumps(documents, separators=(",", ":"), ensure_ascii=False) if documents else "null"
        put(f"{text}\n")
    else:
        put(table([_COLUMNS, *(tuple(printable(str(document[field])) for field in _FIELDS) for document in documents)]))
    return 0


def table(rows: list[tuple[str, ...]]) -> str:
    """Return lines with the columns one below the other."""
    widths = [max(_LEAST, *(len(row[index]) + _GAP for row in rows)) for index in range(len(rows[0]) - 1)]
    return "".join(
        "".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)) + "\n" for row in rows
    )
