"""What the command line is, as its definition says it: pages, of which help, man pages and completion are made.

typer knows the verbs; here they become plain rows, so that none of the writers knows typer.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from typing import Any, NamedTuple

WIDTH = 80
_COLUMN = 26  # where the words for an option begin

_EXIT_STATUS = (
    ("0 and others", "The command's own."),
    ("128+N", "The command was ended by signal N."),
    ("125", "A failure of sandbox itself: nothing was run."),
    ("126", "The command cannot be executed inside."),
    ("127", "The command was not found inside."),
)
_TIMED_OUT = ("124", "The time limit ended it (--timeout).")
_ENDED = ("137", "Also: the sandbox ended.")


# Under which heading a verb is listed.
_GROUPS = {
    "Run": ("run", "exec"),
    "What runs": ("ps", "stats", "top", "events", "logs", "inspect"),
    "Do to it": ("attach", "kill", "pause", "resume", "update", "wait", "rm"),
    "Understand": ("explain", "spec", "doctor"),
    "Set up": ("profile", "generate", "completion"),
}


# Which say themselves, in better words than typer's, that an argument is missing, which so seems optional.
_STRICT = ("run", "exec", *_GROUPS["What runs"], *_GROUPS["Do to it"])


class Row(NamedTuple):
    """An option, an argument, or a verb."""

    names: tuple[str, ...]  # "--profile", "-p"
    metavar: str  # empty for a flag
    words: str
    group: str
    required: bool = False

    @property
    def label(self) -> str:
        """The names as they are listed: `-p, --profile NAME|PATH`."""
        return ", ".join(sorted(self.names, key=len)) + (f" {self.metavar}" if self.metavar else "")


class Page(NamedTuple):
    """A verb, or a group of them."""

    path: tuple[str, ...]  # ("sandbox", "profile", "trust")
    summary: str  # the first paragraph, a sentence or two
    body: tuple[str, ...]  # further paragraphs; one whose lines are indented stays as it is
    examples: tuple[str, ...]
    arguments: tuple[Row, ...]
    options: tuple[Row, ...]
    verbs: tuple[Page, ...]
    group: str  # under which it is listed

    @property
    def usage(self) -> str:
        """How it is called."""
        if self.verbs:
            return " ".join((*self.path, "VERB …"))
        options = ["[OPTIONS]"] if self.options else []
        strict = self.path[-1] in _STRICT
        arguments = []
        for row in self.arguments:
            dashes = "[--] " if row.metavar.startswith("COMMAND") else ""
            bare = strict or row.required or row.metavar[0] == "["
            arguments.append(dashes + (row.metavar if bare else f"[{row.metavar}]"))
        return " ".join((*self.path, *options, *arguments))


def page(command: Any, path: tuple[str, ...] = ("sandbox",)) -> Page:
    """Return the page of a command of typer's, with those of its verbs."""
    paragraphs = re.split(r"\n{2,}", re.sub(r"\\\n", " ", (command.help or "").strip()))
    body, examples = [], []
    for paragraph in paragraphs[1:]:
        if paragraph.startswith("  "):
            examples += textwrap.dedent(paragraph).splitlines()
        elif not re.fullmatch(r"Examples?:", paragraph.strip()):
            body.append(paragraph)
    return Page(
        path,
        _one_line(paragraphs[0]),
        tuple(map(_one_line, body)),
        tuple(examples),
        tuple(_row(entry) for entry in command.params if entry.param_type_name == "argument"),
        tuple(_row(entry) for entry in command.params if entry.param_type_name == "option" and not entry.hidden),
        tuple(
            page(entry, (*path, name)) for name, entry in getattr(command, "commands", {}).items() if not entry.hidden
        ),
        next((group for group, verbs in _GROUPS.items() if path[1:] in {(verb,) for verb in verbs}), ""),
    )


def _row(parameter: Any) -> Row:
    names = () if parameter.param_type_name == "argument" else (*parameter.opts, *parameter.secondary_opts)
    # What takes a value and names it by nothing is said by its own name.
    metavar = parameter.metavar or ("" if getattr(parameter, "is_flag", False) else parameter.name.upper())
    return Row(names, metavar, _one_line(parameter.help or ""), _panel(parameter), bool(parameter.required))


def _panel(entry: Any) -> str:
    panel = getattr(entry, "rich_help_panel", None)
    return panel if isinstance(panel, str) else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- help ---


def help_text(shown: Page) -> str:
    """Return what `--help` prints."""
    width = max(60, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
    parts = [f"{_heading('usage:')} {shown.usage}", _filled(shown.summary, width)]
    parts += [_filled(text, width) for text in shown.body]
    if shown.arguments:
        parts.append(_table("Arguments", [(row.metavar, row.words) for row in shown.arguments], width))
    for group in sorted({verb.group for verb in shown.verbs}, key=[*_GROUPS, ""].index):
        verbs = [(verb.path[-1], _first_sentence(verb.summary)) for verb in shown.verbs if verb.group == group]
        parts.append(_table(group or "Verbs", verbs, width))
    for group in dict.fromkeys(row.group for row in shown.options):
        rows = [(row.label, row.words) for row in shown.options if row.group == group]
        parts.append(_table(group or "Options", rows, width))
    if shown.examples:
        parts.append("\n".join([_heading("Examples:"), *(f"  {line}".rstrip() for line in shown.examples)]))
    if runs_a_command(shown):
        parts.append(_table("Exit status", exit_statuses(shown), width))
    parts.append(_see_also(shown))
    return "\n\n".join(parts) + "\n"


def short_help(shown: Page) -> str:
    """Return what the bare `sandbox` prints."""
    verbs = ", ".join(verb.path[-1] for verb in shown.verbs)
    lines = [f"{_heading('usage:')} {shown.usage}", "", shown.summary, "", *(f"  {line}" for line in shown.examples)]
    return "\n".join([*lines, "", _filled(f"Verbs: {verbs}", WIDTH), _see_also(shown)]) + "\n"


def runs_a_command(shown: Page) -> bool:
    """Is its exit status that of a command?"""
    return shown.path[-1] in ("run", "exec")


def exit_statuses(shown: Page) -> list[tuple[str, str]]:
    """Return those of a verb that runs a command; of the program as a whole, those of `run`."""
    own, signal, *failures = _EXIT_STATUS
    return [own, signal, _ENDED if shown.path[-1] == "exec" else _TIMED_OUT, *failures]


def _see_also(shown: Page) -> str:
    if shown.verbs:
        return f"{' '.join(shown.path)} VERB --help says more of one; so does man {'-'.join(shown.path[:2])}"
    return f"More: man {'-'.join(shown.path[:2])}"


def _table(title: str, rows: list[tuple[str, str]], width: int) -> str:
    lines = [_heading(f"{title}:")]
    indent = " " * _COLUMN
    for label, words in rows:
        first = f"  {label}"
        filled = textwrap.wrap(words, width - _COLUMN, break_on_hyphens=False) or [""]
        if len(first) > _COLUMN - 2:
            lines.append(first)
        else:
            lines.append(f"{first:<{_COLUMN}}{filled.pop(0)}".rstrip())
        lines += [indent + line for line in filled]
    return "\n".join(lines)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.:])\s", text, maxsplit=1)[0].rstrip(".:")


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)


def _heading(text: str) -> str:
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\x1b[1m{text}\x1b[m"
