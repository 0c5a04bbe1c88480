"""The verbs for detached sandboxes, as typer has them: for their help, and what is made of that.

Called they are by `verb_line.py`, but for an odd spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.cli.frame import App, with_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect


def add(
    app: App,
    arguments: tuple[inspect.Parameter, inspect.Parameter, inspect.Parameter],
    perform: Callable[[str, dict[str, Any], list[str]], None],
) -> None:
    """Add them to `app`; the arguments name one sandbox, some, and some or none."""
    one, several, removed = arguments

    @app.command()
    @with_options("logs", one)
    def logs(**values: Any) -> None:
        """Print what the command of a detached sandbox has said, as far as it is kept.

        Its standard output goes to ours, its standard error to ours, byte for byte.

        Examples:

          sandbox logs -f web

          sandbox logs --since 10m --timestamps web

          sandbox logs --tail 20 --stderr web
        """
        perform("logs", values, [values.pop("sandbox")])

    @app.command()
    @with_options("attach", one)
    def attach(**values: Any) -> None:
        """See what a detached sandbox's command says from now on, and type into it if it was started with --interactive.

        The exit status is the command's. Ctrl-P Ctrl-Q leaves a terminal of the sandbox's, Ctrl-C all else, and it runs on.

        Examples:

          sandbox attach web

          sandbox attach --no-stdin web
        """
        perform("attach", values, [values.pop("sandbox")])

    @app.command()
    @with_options("wait", several)
    def wait(**values: Any) -> None:
        """Wait until sandboxes have ended, and print the exit status of each.

        Example:

          sandbox wait "$(sandbox run -d -- make check)"
        """
        perform("wait", values, values.pop("sandboxes"))

    @app.command()
    @with_options("rm", removed)
    def rm(**values: Any) -> None:
        """Remove what is kept of detached sandboxes that have ended.

        Examples:

          sandbox rm web

          sandbox rm --all --force
        """
        perform("rm", values, values.pop("sandboxes") or [])
