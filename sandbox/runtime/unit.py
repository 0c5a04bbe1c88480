"""A unit of the user's service manager that runs a sandbox: its text, systemd.service(5).

Decides which lines it has, and how a word is written so that systemd reads that very word.  What the sandbox is asked
for, and where the unit goes, is decided in `sandbox.cli.generate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sandbox.errors import UsageError

MARK = "# Written by sandbox generate systemd"
"""A unit that begins so may be overwritten."""

# Ended by one of the signals by which systemd takes a service of itself for ended well, systemd.service(5).
_CLEAN = "129 130 141 143"
# Nothing was run, and nothing would be the next time.
_USELESS = "125 126 127"

_PLAIN = re.compile(r"[A-Za-z0-9_+=:,./@-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Unit(NamedTuple):
    """A service."""

    description: str
    arguments: Sequence[str]  # the program's whole path, and what follows
    directory: str  # where it starts
    environment: Mapping[str, str]
    environment_file: str  # of what is not to be in the unit; empty: none
    tells: bool  # does it say that it is ready?
    subgroup: bool  # does systemd know DelegateSubgroup=?

    def text(self) -> str:
        """Return the unit file.  Raises UsageError for what no unit file can hold."""
        lines = [
            f"{MARK}.",
            "",
            "[Unit]",
            f"Description={_line(self.description)}",
            "Documentation=man:sandbox-run(1)",
            "",
            "[Service]",
            f"Type={'notify' if self.tells else 'exec'}",
            *(["NotifyAccess=main"] if self.tells else []),
            f"WorkingDirectory={_path(self.directory, 'the working directory')}",
            *(f"Environment={quoted(f'{name}={value}')}" for name, value in self.environment.items()),
            *([f"EnvironmentFile=-{_path(self.environment_file, 'the file')}"] if self.environment_file else []),
            f"ExecStart={command_line(self.arguments)}",
            "# The sandbox's cgroup is a part of the service's own.",
            "Delegate=yes",
            *(["DelegateSubgroup=monitor"] if self.subgroup else []),
            "# A stop is the command's to see; what is left at its end is killed.",
            "KillMode=mixed",
            "Restart=on-failure",
            f"RestartPreventExitStatus={_USELESS}",
            f"SuccessExitStatus={_CLEAN}",
            "",
            "[Install]",
            "WantedBy=default.target",
        ]
        return "\n".join(lines) + "\n"


def command_line(arguments: Sequence[str]) -> str:
    """Return the value of ExecStart= by which systemd executes exactly these arguments."""
    if not arguments[0].startswith("/") or "$" in arguments[0]:
        raise UsageError(f"{arguments[0]} cannot be the program of a unit", hint="install sandbox elsewhere")
    return " ".join(quoted(word, dollars="$$") for word in arguments)


def quoted(word: str, *, dollars: str = "$") -> str:
    """Return one word of a unit file; `dollars`: how a dollar sign is written there."""
    _check(word, "a word")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + "".join(_escaped(character, dollars) for character in word) + '"'


def _escaped(character: str, dollars: str) -> str:
    if character == "$":
        return dollars
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\x{ord(character):02x}" if ord(character) < 0x20 or ord(character) == 0x7F else character


def _check(text: str, what: str) -> None:
    """Refuse what systemd takes for no text (unichar_is_valid() in its src/basic/utf8.c)."""
    for character in text:
        code = ord(character)
        if code == 0 or 0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            raise UsageError(f"{what} of a unit cannot be {text!r}: systemd reads texts in UTF-8", hint="rename it")


def _path(path: str, what: str) -> str:
    """Return a path as the lines have it that hold nothing else; they know no quotes and no escapes."""
    _check(path, what)
    if path != path.strip() or path.endswith("\\") or any(ord(character) < 0x20 for character in path):
        raise UsageError(f"{what} of a unit cannot be {path!r}", hint="rename it, or start elsewhere")
    return path.replace("%", "%%")


def _line(text: str) -> str:
    """Return a text for people."""
    kept = "".join(character for character in text if character.isprintable() and character != "\\")
    return " ".join(kept.split()).replace("%", "%%")
