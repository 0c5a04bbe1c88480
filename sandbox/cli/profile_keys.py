"""`sandbox profile keys`: what may be written in a profile, from the schema."""

from __future__ import annotations

import msgspec
from rich.padding import Padding
from rich.text import Text

from sandbox.cli.tables import show_lines
from sandbox.errors import UsageError
from sandbox.profile.complaint import nearest
from sandbox.profile.reference import Entry, entries


def show(section: str | None, *, as_json: bool) -> None:
    """Print all keys, or those of a section, or one."""
    found = [entry for entry in entries() if not section or _within(entry, section)]
    if not found:
        known = list(dict.fromkeys(entry.key.partition(".")[0] for entry in entries()))
        names = [*known, *(entry.key for entry in entries())]
        close = nearest(section or "", names)
        hint = close if close.startswith("did") else "known are: " + ", ".join(known)
        raise UsageError(f'there is no section or key "{section}"', where="profile keys", hint=hint)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode([entry._asdict() for entry in found]), indent=2).decode())
        return
    show_lines(line for entry in found for line in _lines(entry))


def _within(entry: Entry, section: str) -> bool:
    return entry.key == section or entry.key.startswith(section + ".")


def _lines(entry: Entry) -> list[Text | Padding]:
    # Backquotes are for the document.
    head = Text.assemble((entry.key, "bold"), "  ", (entry.type.replace("`", ""), "dim"))
    lines: list[Text | Padding] = [head, Padding(Text(entry.description.replace("`", "")), (0, 0, 0, 4))]
    lines += [Padding(Text(example, "cyan"), (0, 0, 0, 4)) for example in entry.examples]
    return [*lines, Text("")]
