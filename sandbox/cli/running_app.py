"""The verbs by which one sees what runs, and stops it for a while, as typer has them: for their help, and what is made of that.

Called they are by `verb_line.py`, but for an odd spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.cli.frame import App, with_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect


def add(app: App, sandboxes: inspect.Parameter, perform: Callable[[str, dict[str, Any], list[str]], None]) -> None:
    """Add them to `app`; `sandboxes` is the argument that names some."""

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
