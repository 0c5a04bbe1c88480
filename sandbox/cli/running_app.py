"""The verbs by which one sees what runs, and stops it for a while, as typer has them: for their help, and what is made of that.

Called they are by `verb_line.py`, but for an odd spelling.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sandbox.cli.frame import App, with_options

_COLUMNS = inspect.Parameter(
    "columns",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[list[str] | None, typer.Argument(metavar="[COLUMN]...", help="What to show, in this order.")],
)


def _optional(argument: inspect.Parameter) -> inspect.Parameter:
    """Return an argument that may be left out."""
    typing = Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Those alone, or beginnings of their names.")
    ]
    return argument.replace(annotation=typing)


def add(
    app: App,
    one: inspect.Parameter,
    sandboxes: inspect.Parameter,
    perform: Callable[[str, dict[str, Any], list[str]], None],
) -> None:
    """Add them to `app`; `one` and `sandboxes` are the arguments that name one, and several."""

    @app.command()
    @with_options("stats", _optional(sandboxes))
    def stats(**values: Any) -> None:
        """Show what those that run use, or those that are named: live on a terminal, else once.

        What nobody counts is a dash: without a cgroup there are no limits, and no figures of disks, pressure and throttling; the
        rest is then the sum over the processes. 100% is one processor. Ctrl-C or q ends it.

        Examples:

          sandbox stats

          sandbox stats --json --interval 5s web >> web.jsonl
        """
        perform("stats", values, values.pop("sandboxes") or [])

    @app.command()
    @with_options("top", one, _COLUMNS)
    def top(**values: Any) -> None:
        """Show the processes in a sandbox: live on a terminal, else once.

        The columns are pid (inside), ppid, hpid (as the host counts), user, state, threads, nice, cpu, memory (resident), time and command.
        Ctrl-C or q ends it.

        Examples:

          sandbox top web

          sandbox top web pid hpid command
        """
        perform("top", values, [values.pop("sandbox"), *(values.pop("columns") or [])])

    @app.command()
    @with_options("events", one)
    def events(**values: Any) -> None:
        """Say what happens to a sandbox until it ends, each time in a line of JSON.

        The types are started, paused, resumed, stats, oom, pressure and ended, with the exit status. What it uses is said every 5
        seconds.

        Examples:

          sandbox events web

          sandbox events --interval 1s web | jq 'select(.type == "stats").memory'
        """
        perform("events", values, [values.pop("sandbox")])

    @app.command()
    @with_options("update", sandboxes)
    def update(**values: Any) -> None:
        """Change the limits of what runs, in the words of `run`; "max" lifts one.

        All of them are in force afterwards, or none, and what runs has to have a cgroup. What is not given stays as it is. Where less
        memory is allowed than is used, the kernel takes back what it can, and then ends the sandbox or a process of it.

        Examples:

          sandbox update web --memory 1G --pids 200

          sandbox update web --cpus max
        """
        perform("update", values, values.pop("sandboxes"))

    @app.command()
    @with_options("pause", sandboxes)
    def pause(**values: Any) -> None:
        """Stop everything inside, until it is resumed or killed.

        With a cgroup nothing inside can notice. Without one it is done by signals, of which a parent inside is told as of a
        child that was stopped. A time limit is not stopped.

        Example:

          sandbox pause web && sandbox resume web
        """
        perform("pause", values, values.pop("sandboxes"))

    @app.command()
    @with_options("resume", sandboxes)
    def resume(**values: Any) -> None:
        """Let go on what was paused, or stopped by Ctrl-Z.

        Example:

          sandbox resume web
        """
        perform("resume", values, values.pop("sandboxes"))
