"""How tables look: on a terminal as wide as it is, in a pipe unfolded and without colour."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table

from sandbox.errors import printable

PIPE_WIDTH = 2000  # of a pipe nobody knows the width, and whoever reads it folds it


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; its last column is the one that may be long."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", style="dim" if name == "from" else "")
    for row in rows:
        table.add_row(*map(printable, row))
    if sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(table)
        return
    console = Console(width=PIPE_WIDTH, highlight=False, markup=False, emoji=False, no_color=True)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())  # a column is as wide as its longest cell, and the last need not be


def show_lines(lines: Iterable[RenderableType]) -> None:
    """Print paragraphs: on a terminal folded and in colour."""
    if sys.stdout.isatty():
        console = Console(highlight=False, markup=False, emoji=False)
        for line in lines:
            console.print(line)
        return
    console = Console(width=PIPE_WIDTH, highlight=False, markup=False, emoji=False, no_color=True)
    with console.capture() as capture:
        for line in lines:
            console.print(line)
    for text in capture.get().splitlines():
        print(text.rstrip())
