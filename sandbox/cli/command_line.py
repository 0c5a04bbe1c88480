"""What was asked on the command line, whoever parsed it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from sandbox.cli.options import OPTIONS
from sandbox.errors import UsageError
from sandbox.profile.expand import Request

DEFAULT_PROFILE = "build"
Values = Mapping[str, object]
"""An option's field (`Option.field`) and its value: str, bool, a sequence of str, or None."""


def parse_options(arguments: Sequence[str]) -> Values:
    """Parse the options of `run`, without a command.  Raises UsageError.

    On the start path: typer would take longer than everything else together.
    """
    import argparse  # late: only `run` comes this way

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> None:  # type: ignore[override]
            raise UsageError(message, hint="see sandbox run --help")

    parser = Parser(prog="sandbox run", add_help=False, allow_abbrev=False)
    for option in OPTIONS:
        if "run" not in option.verbs:
            continue
        names = [option.name, *([option.short] if option.short else [])]
        if option.negatable:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, default=None)
        elif not option.metavar:
            parser.add_argument(*names, action="store_true")
        else:
            parser.add_argument(*names, action="append" if option.repeat else "store")
    return vars(parser.parse_args(list(arguments)))


def request(values: Values) -> Request:
    """Return the request that the option values make."""
    options: list[tuple[str, str]] = []
    for option in OPTIONS:
        if option.key:
            options += [(option.key, text) for text in _texts(values.get(option.field))]
    try:
        directory = os.getcwd()
    except OSError as error:
        raise UsageError(f"the working directory is gone: {error.strerror}", hint="go to another one: cd ~") from error
    return Request(
        profiles=tuple(_texts(values.get("profile"))) or (DEFAULT_PROFILE,),
        options=tuple(options),
        cwd=directory,
        uid=os.geteuid(),
        gid=os.getegid(),
    )


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [value] if isinstance(value, str) else [str(item) for item in value]  # type: ignore[attr-defined]


class Call(msgspec.Struct, frozen=True):
    """How the launcher called: our own program, the key under which the plan may be kept, its file's name."""

    program: str
    key: bytes
    plan_name: str
