"""What was asked on the command line, whoever parsed it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from sandbox.cli.options import OPTIONS
from sandbox.errors import UsageError

if TYPE_CHECKING:
    from sandbox.profile.request import Request

DEFAULT_PROFILE = "build"
Values = Mapping[str, object]
"""An option's field (`Option.field`) and its value: str, bool, a sequence of str, or None."""


def request(values: Values) -> Request:
    """Return the request that the option values make."""
    from sandbox.profile.request import Detached, Request  # late: help needs none

    options: list[tuple[str, str]] = []
    for option in OPTIONS:
        if option.key and (option.negatable or values.get(option.field) is not False):
            options += [(_key(option.key, text), text) for text in texts(values.get(option.field))]
    reports = [key for key, _ in options if key.startswith("report.")]
    if len(set(reports)) < len(reports):
        raise UsageError("one file and one page are written, and no more", where="--report", hint="copy it afterwards")
    try:
        directory = os.getcwd()
    except OSError as error:
        raise UsageError(f"the working directory is gone: {error.strerror}", hint="go to another one: cd ~") from error
    profiles = tuple(texts(values.get("profile")))
    return Request(
        profiles=profiles or (DEFAULT_PROFILE,),
        options=tuple(options),
        cwd=directory,
        uid=os.geteuid(),
        gid=os.getegid(),
        project="" if values.get("project") is False else "over" if profiles else "base",
        detached=Detached(interactive=bool(values.get("interactive")), remove=bool(values.get("rm")))
        if values.get("detach")
        else None,
        replace=bool(values.get("replace")),
    )


def _key(key: str, text: str) -> str:
    """Return the profile key that `text` is a value of: a report is a page by its name."""
    from sandbox.profile.load import is_page  # late: as above

    return "report.page" if key == "report.file" and is_page(text) else key


def texts(value: object) -> list[str]:
    """Return the value of an option as its texts."""
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [value] if isinstance(value, str) else [str(item) for item in value]  # type: ignore[attr-defined]


class Call(msgspec.Struct, frozen=True):
    """How the launcher called: our own program, the signals that it puts back, the key under which the plan may
    be kept, and its file's name."""

    program: str
    signals: str
    key: bytes
    plan_name: str
