"""Completion for bash, zsh and fish: scripts made from the definition of the command line, once.

They complete verbs, options, profiles and the names of what runs without starting this program: an interpreter at
each TAB is felt.  What a name in a directory could do to a shell is kept out: only plain names are offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from shlex import quote

from sandbox.cli.completion_text import BASH, FISH, NAMES, ZSH
from sandbox.cli.manual import Page, Row
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import available, shipped_directory
from sandbox.profile.schema import Profile

SHELLS = ("bash", "zsh", "fish")

_SIGNALS = "TERM KILL INT HUP QUIT STOP CONT USR1 USR2"


def script(shell: str, top: Page) -> str:
    """Return the script for `shell`, one of SHELLS."""
    pages = list(_pages(top))
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](pages)


def _pages(page: Page) -> Iterator[Page]:
    yield page
    for verb in page.verbs:
        yield from _pages(verb)


def kinds(page: Page) -> list[str]:
    """Return what each argument of a verb is: command, profile, id, file …; the last may come again."""
    return [_kind(page, row) for row in page.arguments]


def _kind(page: Page, row: Row) -> str:
    """Return what a value is, by the words that stand for it in the help; "none" for what cannot be guessed."""
    name = row.metavar.strip("[]").removesuffix("...").strip()
    if row.names and "--name" in row.names:
        return "none"  # a new one
    if name.startswith("COMMAND"):
        return "command"
    if name in ("ID", "ID... [SIGNAL", "ID]"):
        return "id"
    if name in ("NAME|PATH", "NAME|FILE", "PROFILE") or (
        name == "NAME" and "profile" in page.path and "new" not in page.path
    ):
        return "profile"
    if name == "SECTION|KEY":
        return " ".join(Profile.__struct_fields__)
    if name in ("PATH", "FILE", "FILE|-"):
        return "file"
    if name in ("DIR", "DIRECTORY"):
        return "directory"
    if name == "NAME[=VALUE" or name == "NAME[=VALUE]":
        return "variable"
    if name == "SIGNAL":
        return _SIGNALS
    return name.replace("|", " ") if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", name) else "none"


def _node(page: Page) -> str:
    return " ".join(page.path)


def _options(page: Page) -> list[tuple[str, str]]:
    return [(name, row.words) for row in page.options for name in row.names] + [("--help", "Print help.")]


def _values(pages: list[Page]) -> dict[str, list[str]]:
    """Return for each kind the options that take it, each with its verb before it."""
    found: dict[str, list[str]] = {}
    for page in pages:
        for row in page.options:
            if row.metavar:
                found.setdefault(_kind(page, row), []).extend(f"{_node(page)} {name}" for name in row.names)
    return found


def _shipped() -> str:
    folder = shipped_directory()
    return " ".join(name for name, path in available(Inputs({})) if os.path.dirname(path) == folder)


def _fill(template: str, **parts: str) -> str:
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    return template


def _shell_names(pages: list[Page]) -> str:
    rows = [
        f"    {' | '.join(map(quote, options))}) echo {quote(kind)} ;;"
        for kind, options in sorted(_values(pages).items())
    ]
    return _fill(NAMES, SHIPPED=_shipped(), VALUES="\n".join(rows))


def _bash(pages: list[Page]) -> str:
    rows = []
    for page in pages:
        verbs = quote(" ".join(verb.path[-1] for verb in page.verbs))
        options = quote(" ".join(name for name, _ in _options(page)))
        arguments = " ".join(map(quote, kinds(page)))
        rows.append(f"    {quote(_node(page))}) verbs={verbs} options={options} arguments=({arguments}) ;;")
    return _fill(BASH, NAMES=_shell_names(pages), TABLE="\n".join(rows))


def _zsh(pages: list[Page]) -> str:
    def described(pairs: list[tuple[str, str]]) -> str:
        return " ".join(quote(f"{name}:{words}") for name, words in pairs)

    rows = []
    for page in pages:
        verbs = described([(verb.path[-1], verb.summary) for verb in page.verbs])
        arguments = " ".join(map(quote, kinds(page)))
        rows += [f"    {quote(_node(page))})", f"        verbs=({verbs})"]
        rows += [f"        options=({described(_options(page))})", f"        arguments=({arguments}) ;;"]
    return _fill(ZSH, NAMES=_shell_names(pages), TABLE="\n".join(rows))


_FISH_VALUES = {
    "profile": "-ka '(__sandbox_profiles; __fish_complete_suffix .toml)'",
    "id": "-ka '(__sandbox_ids)'",
    "file": "-F",
    "directory": "-a '(__fish_complete_directories)'",
    "variable": "-a '(set -xn)='",
    "command": "-a '(__sandbox_command)'",
    "none": "",
}


def _fish(pages: list[Page]) -> str:
    rows, commands = [], []
    for page in pages:
        here = f'complete -c sandbox -n "__sandbox_at {_fish_quote(_node(page))}'
        rows += [f'{here} 0" -a {verb.path[-1]} -d {_fish_quote(verb.summary)}' for verb in page.verbs]
        for row in page.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1]}" for name in row.names)
            # A value that is a file's name is the one case in which files are offered.
            how = "r" if _kind(page, row) == "file" else "x"
            value = f" -{how} {_fish_value(_kind(page, row))}".rstrip() if row.metavar else ""
            rows.append(f'{here}" {names} -d {_fish_quote(row.words)}{value}')
        rows.append(f"{here}\" -l help -s h -d 'Print help.'")
        for index, kind in enumerate(kinds(page)):
            if kind == "command":
                commands.append(_fish_quote(f"{_node(page)} {index}"))
                rows.append(f'{here} command" {_fish_value(kind)}')
            if kind != "none":
                rows.append(f'{here} {index}" {_fish_value(kind)}')
    takes = [option for options in _values(pages).values() for option in options]
    return _fill(
        FISH,
        SHIPPED=_shipped(),
        TAKES=" ".join(map(_fish_quote, sorted(takes))),
        NODES=" ".join(_fish_quote(_node(page)) for page in pages),
        COMMANDS=" ".join(commands),
        COMPLETE="\n".join(rows),
    )


def _fish_value(kind: str) -> str:
    return _FISH_VALUES.get(kind, f"-a {_fish_quote(kind)}")


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
