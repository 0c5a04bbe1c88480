"""The command line of `sandbox generate`; the work is imported when it is used."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sandbox.cli.frame import App, Group, with_options

_UNIT_NAME = inspect.Parameter(
    "unit_name",
    inspect.Parameter.KEYWORD_ONLY,
    default="",
    annotation=Annotated[
        str,
        typer.Option(
            "--unit", metavar="NAME", help="What the unit is called: sandbox-NAME.service.", show_default=False
        ),
    ],
)
_INSTALL = inspect.Parameter(
    "install",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--install", help="Write it where systemd finds it, and say what next.", show_default=False)
    ],
)
_WHAT = inspect.Parameter(
    "what",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID|PROFILE [-- COMMAND [ARG]...]",
            help="A sandbox that runs or has ended, or a profile and what to run.",
            show_default=False,
        ),
    ],
)


def add(app: App, program: Callable[[], str]) -> None:
    """Add the verbs; `program` says where the launcher lies, once that is known."""
    group = App(cls=Group, help="Write what others start sandboxes by.")
    app.add_typer(group, name="generate")

    @group.command("systemd")
    @with_options("spec", _UNIT_NAME, _INSTALL, _WHAT)
    def generate_systemd(**values: Any) -> None:
        """Print a unit of your service manager, or install it, by which systemd starts and watches a sandbox.

        From a sandbox, with all that it was started with; or from a profile and options as of `run`, and a command behind `--`.

        Examples:

          sandbox generate systemd web

          sandbox generate systemd --install --network host build -- ./server
        """
        from sandbox.cli.generate import generate

        name, install, operands = values.pop("unit_name"), values.pop("install"), values.pop("what") or []
        generate(values, operands, program(), name=name, install=install)
