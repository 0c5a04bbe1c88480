"""How tables look: on a terminal as wide as it is, in a pipe unfolded and without colour."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sandbox.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_FEW = 24
_GAP = 2
PIPE_WIDTH = 2000  # of a pipe nobody knows the width, and whoever reads it folds it


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; its last column is the one that may be long."""
    if not sys.stdout.isatty():
        _show_plain([tuple(columns), *(tuple(map(printable, row)) for row in rows)])
        return
    from rich.console import Console  # late: for a terminal alone, 60 ms
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", style="dim" if name == "from" else "")
    for row in rows:
        table.add_row(*map(printable, row))
    Console(highlight=False, markup=False, emoji=False).print(table)


class Column(NamedTuple):
    """A column of a table that is to fit: the one with the highest `rank` goes first, with 0 it stays."""

    title: str
    rank: int = 0
    right: bool = True


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], console: Console) -> Table:
    """Return a table that is not wider than the terminal, without the columns for which there is no room."""
    from rich.table import Table  # late: for a terminal alone, 60 ms

    texts = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(_cells(text) for text in (column.title, *(row[i] for row in texts))) for i, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    last = shown[-1]
    least = list(widths)
    if not columns[last].right:  # of words a few are enough
        least[last] = min(widths[last], _FEW)
    while sum(least[index] + _GAP for index in shown) - _GAP > console.width:
        spare = [index for index in shown if columns[index].rank]
        if not spare:
            break
        shown.remove(max(spare, key=lambda index: columns[index].rank))
    left = console.width - sum(widths[index] + _GAP for index in shown if index != last)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index in shown:
        table.add_column(
            columns[index].title,
            justify="right" if columns[index].right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=max(1, min(widths[index], left)) if index == last else widths[index],
        )
    for row in texts:
        table.add_row(*(row[index] for index in shown))
    return table


def _show_plain(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell + " " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())  # a column is as wide as its longest cell, and the last need not be


def _cells(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # late: most names are plain

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def show_lines(lines: Iterable[RenderableType]) -> None:
    """Print paragraphs: on a terminal folded and in colour."""
    from rich.console import Console  # late: as above

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
