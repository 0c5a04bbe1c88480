"""`sandbox profile list` and `sandbox profile show`."""

from __future__ import annotations

import os

import msgspec

from sandbox.cli.command_line import request
from sandbox.cli.tables import show_table
from sandbox.errors import ProfileError, say_notes
from sandbox.kernel.state import state_dir
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import available, parse, shipped_directory
from sandbox.profile.request import layers


def show_list() -> None:
    """Print the profiles that can be named; one that cannot be read is listed with the reason."""
    shipped = shipped_directory()
    rows = []
    for name, path in available(Inputs()):
        place = "shipped" if os.path.dirname(path) == shipped else "yours"
        rows.append((name, place, _description(name, path)))
    show_table(("name", "from", "description"), rows)


def _description(name: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            return str(parse(f"{name}.toml", path, file.read()).values.get("description", ""))
    except (OSError, ProfileError) as error:
        return f"cannot be read: {error}"


def show(name: str | None, *, everything: bool) -> None:
    """Print a profile, or what is in force in this directory, each value with where it was written.

    What the shipped profile `secrets` hides is a long list, and the same for all: it is counted, unless `everything`.
    """
    inputs = Inputs()
    asked = request({"profile": name, "project": False} if name else {})
    shown, notes = layers(asked, inputs, state_dir=state_dir(inputs))
    say_notes(notes)
    rows = [(row.key, row.origin, _text(row.value)) for row in shown]
    folded = [row for row in rows if row[1].startswith(_SECRETS)] if name != "secrets" and not everything else []
    if folded:
        first = rows.index(folded[0])
        rows = [row for row in rows if row not in folded]
        rows.insert(first, ("filesystem.hide", _SECRETS[:-1], f"{len(folded)} paths; --all lists them"))
    show_table(("key", "from", "value"), rows)


_SECRETS = "secrets.toml:"  # as the origin of a shipped profile begins; one of the user's has its directory before it


def _text(value: object) -> str:
    """Return a value as TOML would have it; JSON's scalars are TOML's."""
    return msgspec.json.encode(value).decode()
