"""`sandbox profile new`: a profile to begin with, in which each line says what it is for."""

from __future__ import annotations

import os
import textwrap

import tomli_w

from sandbox.errors import SandboxError, UsageError, say_notes
from sandbox.plan.inputs import Inputs
from sandbox.profile.load import NAME, Stack, shipped_directory, user_directory
from sandbox.profile.reference import Entry, entries

WIDTH = 100

# What most profiles say sooner or later; `sandbox profile keys` has the rest.
_OFFERED = (
    *("filesystem.read", "filesystem.write", "filesystem.hide", "filesystem.protect", "filesystem.cache"),
    *("environment.keep", "environment.set", "network.mode", "limits.timeout", "limits.rlimits", "process.hostname"),
)


def new(name: str, *, base: str, output: str | None) -> None:
    """Write the profile, and print where.  Raises SandboxError; what is there already is left as it is."""
    inputs = Inputs()
    if NAME.fullmatch(name) is None:
        raise UsageError(
            f'"{name}" cannot be the name of a profile',
            where="profile new",
            hint="use letters, digits and ._- ; --output FILE takes any path",
        )
    Stack(os.getcwd(), inputs).add(base, os.getcwd(), asked_by="--from", chain=())  # there has to be one to extend
    path, text, made = output or _path(name, inputs), document(name, base), False
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            made = True
            file.write(text)
    except FileExistsError as error:
        raise SandboxError(
            f"{path} is there already", where="profile new", hint=f"change it: sandbox profile edit {name}"
        ) from error
    except OSError as error:
        from sandbox.kernel.probe.lacks import no_room  # late: only where something is wrong

        if made:
            os.unlink(path)  # half a profile, which another call would find to be there already
        lack = no_room(path, error.errno or 0)
        raise SandboxError(
            f"cannot write {path}: {error.strerror}", where="profile new", cause=lack.why, hint=lack.cure
        ) from error
    if not output and os.path.exists(f"{shipped_directory()}/{name}.toml"):
        say_notes((f'from now on "{name}" is yours, and no more the shipped one',))
    print(path)


def _path(name: str, inputs: Inputs) -> str:
    directory = user_directory(inputs)
    if not directory:
        raise UsageError("there is no home directory", where="profile new", hint="say where: --output FILE")
    return f"{directory}/profiles/{name}.toml"


def document(name: str, base: str) -> str:
    """Return the text of a new profile."""
    known = {entry.key: entry for entry in entries()}
    lines = _comment(
        f"sandbox run -p {name} -- COMMAND\n"
        "Lists are added to those of the profile that is extended, tables are merged, other values replace. What "
        "stands behind a # is an example. sandbox profile keys has every key, sandbox profile check says what is wrong."
    )
    values = {"description": f'like "{base}", for …', "extends": base}
    for key, value in values.items():
        lines += ["", *_comment(_first(known[key])), tomli_w.dumps({key: value}).rstrip("\n")]
    table = ""
    for key in _OFFERED:
        section, _, _ = key.partition(".")
        if section != table:
            lines += ["", f"[{section}]"]
            table = section
        lines += [*([] if lines[-1].startswith("[") else [""]), *_comment(_first(known[key]))]
        lines += [f"# {line}" for example in known[key].examples for line in example.splitlines()]
    return "\n".join(lines) + "\n"


def _first(entry: Entry) -> str:
    """Return the first sentence or two of a description."""
    text = entry.description.replace("`", "")
    end = text.find(". ", 60)
    return text if end < 0 else text[: end + 1]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for part in text.splitlines() for line in textwrap.wrap(part, WIDTH)]
