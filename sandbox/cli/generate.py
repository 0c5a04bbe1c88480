"""`sandbox generate systemd`: a unit of the user's service manager, from what runs or ran, or from a profile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sandbox.cli.command_line import Values, request
from sandbox.cli.options import OPTIONS
from sandbox.errors import ContainerError, HostError, NoSuchContainer, UsageError, printable
from sandbox.plan.inputs import InputKind
from sandbox.profile.request import Request
from sandbox.runtime.compilation import Compilation, compile_request
from sandbox.runtime.finding import find
from sandbox.runtime.record import Status
from sandbox.runtime.state import state_root
from sandbox.runtime.unit import MARK, Unit
from sandbox.spec.annotations import ANNOTATION, annotation

# What the service manager has of itself, and what has another value there.
_ITS_OWN = {"HOME", "USER", "LOGNAME", "PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"}
_SECRET = re.compile(
    r"(?i)token|secret|passw|passphrase|credential|(^|_)(api_?|private_?)?key($|_)|(^|_)auth($|_)|cookie|session"
)
_TRANSIENT = ("/tmp/", "/var/tmp/", "/run/", "/dev/shm/", "/proc/")
_RECORDED_MOST = 4096  # of a command, nsinit/record.c
_SUBGROUP_SINCE = 254


class Source(NamedTuple):
    """What the unit is to run."""

    request: Request
    command: tuple[str, ...]
    name: str  # what the unit is called after
    runs: str = ""  # the sandbox of that name, if it runs


def generate(values: Values, operands: Sequence[str], program: str, *, name: str, install: bool) -> None:
    """Print a unit, or put it where the service manager finds it.  Raises a SandboxError for what would not run."""
    source = _source(values, operands)
    compilation = compile_request(source.request)
    spec = compilation.expansion.spec
    if spec.process is not None and spec.process.terminal:
        where = compilation.expansion.origins.get("process.terminal", "")
        raise UsageError("a service has no terminal", where=where, hint="leave out tty, or say --no-tty")
    stem = _stem(name or source.name)
    wanted = _environment(source.request, compilation)
    secret = sorted(variable for variable in wanted if _SECRET.search(variable))
    file = f"{_configuration()}/sandbox/{stem}.env" if secret else ""
    unit = Unit(
        description=f"{' '.join(source.command)[:60]} in a sandbox",
        arguments=(program, "run", *_words(source.request), "--", *source.command),
        directory=source.request.cwd,
        environment={name: value for name, value in wanted.items() if name not in secret},
        environment_file=file,
        tells=annotation(spec, "notify") != "none",
        subgroup=_systemd_version() >= _SUBGROUP_SINCE,
    )
    text = unit.text()
    for note in _notes(source, compilation, secret, file):
        print(f"sandbox: note: {printable(note)}", file=sys.stderr)
    if not install:
        print(text, end="")
        return
    place = Path(_configuration()) / f"systemd/user/sandbox-{stem}.service"
    _write(place, text)
    print(
        f"{place} is written.  Now:\n\n  systemctl --user daemon-reload\n  systemctl --user enable --now {place.name}"
    )
    if not _lingers():
        print(
            "\nIt ends with your last session, unless your services may go on without one:\n\n  loginctl enable-linger"
        )


# --- what is to be run ---


def _source(values: Values, operands: Sequence[str]) -> Source:
    if values.get("profile"):
        if not operands:
            raise UsageError("no command was given", hint="sandbox generate systemd -p PROFILE -- COMMAND [ARG…]")
        return _from_line(values, operands)
    if not operands:
        raise UsageError(
            "neither a sandbox nor a profile was given",
            hint="sandbox generate systemd ID, or PROFILE -- COMMAND [ARG…]",
        )
    if len(operands) > 1:
        return _from_line({**values, "profile": [operands[0]]}, operands[1:])
    if any(value not in (None, False, []) for value in values.values()):
        raise UsageError(
            "the options of a sandbox are those that it was started with", hint="give a profile and a command"
        )
    return _from_sandbox(operands[0])


def _from_line(values: Values, command: Sequence[str]) -> Source:
    asked = request(values)
    asked = asked._replace(profiles=_absolute(asked.profiles, asked.cwd))
    return Source(asked, tuple(command), os.path.basename(command[0]))


def _absolute(profiles: Sequence[str], directory: str) -> tuple[str, ...]:
    return tuple(
        os.path.normpath(os.path.join(directory, name)) if "/" in name or name.endswith(".toml") else name
        for name in profiles
    )


def _from_sandbox(text: str) -> Source:
    try:
        place, record = find(f"{state_root()}/containers", text)
    except NoSuchContainer as error:
        raise NoSuchContainer(
            str(error),
            hint=f"{error.hint}; for a profile, say the command too: sandbox generate systemd {text} -- COMMAND",
        ) from error
    with place:
        document = record.document()
        lives = place.status(record) is not Status.STOPPED
        notes: dict[str, str] = document.get("annotations") or {}
        if not record.held:
            raise ContainerError(f"{record.id} is a container of an engine's", hint="ask that: podman generate systemd")
        if f"{ANNOTATION}asked" not in notes:
            raise ContainerError(
                f"how {record.id} was started is not known: a name there is not in UTF-8",
                hint="give a profile and the command",
            )
        directory, project, *options = json.loads(notes[f"{ANNOTATION}asked"])
        command = tuple(document.get("args") or ())
    if not command or sum(len(os.fsencode(word)) + 1 for word in command) >= _RECORDED_MOST:
        raise ContainerError(
            f"the command of {record.id} is too long to have been written down whole",
            hint="give a profile and the command",
        )
    asked = Request(
        profiles=_absolute(json.loads(notes[f"{ANNOTATION}profiles"]), directory),
        options=tuple(zip(options[::2], options[1::2], strict=True)),
        cwd=directory,
        uid=os.geteuid(),
        gid=os.getegid(),
        project=project,
    )
    named = notes.get(f"{ANNOTATION}name", "")
    return Source(asked, command, named or os.path.basename(command[0]), named if lives else "")


def _words(asked: Request) -> Iterator[str]:
    """Yield the options of `sandbox run` that make this request."""
    if asked.project != "base":
        yield from (f"--profile={name}" for name in asked.profiles)
    if not asked.project:
        yield "--no-project"
    for key, value in asked.options:
        if key == "process.log_size":
            continue  # the journal has what a service says
        named = "report.file" if key == "report.page" else key  # by what is at its end
        option = next(option for option in OPTIONS if option.key == named and "run" in option.verbs)
        if key == "environment" and _SECRET.search(value.partition("=")[0]):
            value = value.partition("=")[0]  # its value is in a file of its own
        if option.metavar:
            yield f"{option.name}={value}"
            if option.name == "--name":
                yield "--replace"  # of that name one may have ended, and be kept
        else:
            yield option.name if value == "true" else option.names[1]


# --- where it is to run ---


def _environment(asked: Request, compilation: Compilation) -> dict[str, str]:
    """Return the variables by whose values the sandbox is what it is, or that it was told to keep by name."""
    found = {
        entry.name: entry.value
        for entry in compilation.plan.inputs
        if entry.kind == InputKind.ENVIRONMENT and entry.name not in _ITS_OWN
    }
    for key, value in asked.options:
        name, equals, text = value.partition("=")
        if key == "environment" and not equals and name in os.environ:
            found[name] = os.environ[name]
        elif key == "environment" and _SECRET.search(name):
            found[name] = text
    return found


def _notes(source: Source, compilation: Compilation, secret: list[str], file: str) -> Iterator[str]:
    for entry in compilation.plan.inputs:
        if entry.kind == InputKind.FILE and entry.name.endswith("/.sandbox.toml"):
            yield (
                f"{entry.name} counts at each start; where it comes to allow more, the service ends with 125 until you have "
                "looked at it: sandbox profile trust"
            )
    if source.runs:
        yield f"{source.runs} still runs, and the service cannot have its name until it has ended: sandbox rm --force {source.runs}"
    for path in (*(name for name in source.request.profiles if "/" in name), source.request.cwd + "/"):
        if path.startswith(_TRANSIENT):
            yield f"{path.rstrip('/')} may be gone when the service starts the next time"
    if secret:
        yield f"{', '.join(secret)}: values of such names are not written; put lines NAME=VALUE into {file} (mode 600)"


def _configuration() -> str:
    place = os.environ.get("XDG_CONFIG_HOME", "")
    if place.startswith("/"):
        return place.rstrip("/")
    return f"{os.path.expanduser('~')}/.config"


def _systemd_version() -> int:
    """Return the number of the systemd here; where there is none, the unit is for a newer one elsewhere."""
    try:
        result = subprocess.run(["/usr/bin/systemctl", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return _SUBGROUP_SINCE
    match = re.match(r"systemd (\d+)", result.stdout)
    return int(match[1]) if match else _SUBGROUP_SINCE


def _lingers() -> bool:
    import pwd  # late: here alone

    try:
        return os.path.exists(f"/var/lib/systemd/linger/{pwd.getpwuid(os.geteuid()).pw_name}")
    except KeyError:
        return False


def _stem(name: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", name.removesuffix(".service").removeprefix("sandbox-")).strip("-.")
    if not stem or len(stem) > 200:
        raise UsageError(f'no unit can be called after "{name}"', hint="give it a name: --name NAME")
    return stem


def _write(place: Path, text: str) -> None:
    """Put it there whole, or not at all; never over what we have not written."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(place) and (place.is_symlink() or not place.read_text(errors="replace").startswith(MARK)):
            raise UsageError(f"{place} is there, and not ours", hint="remove it, or choose another name: --name NAME")
        new = place.with_name(f".{place.name}.new")
        new.unlink(missing_ok=True)
        new.write_text(text)
        new.replace(place)
    except OSError as error:
        raise HostError(
            f"{place} cannot be written: {error.strerror}", hint="print it instead: leave out --install"
        ) from error
