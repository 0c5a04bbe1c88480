"""`sandbox wait` and `sandbox rm`: until a sandbox has ended, and what is kept of it."""

from __future__ import annotations

import os
import sys

from sandbox.cli.verb_line import Values
from sandbox.errors import (
    EXIT_OWN_FAILURE,
    ContainerError,
    InvalidId,
    NoSuchContainer,
    SandboxError,
    UsageError,
    describe,
)
from sandbox.runtime import held
from sandbox.runtime.container import Container
from sandbox.runtime.finding import find
from sandbox.runtime.record import Record, Status
from sandbox.runtime.state import Place, open_container, state_root


def wait(operands: list[str]) -> int:
    """Print the exit status of each, in the order in which they are named."""
    if not operands:
        raise UsageError("no sandbox was given", hint="sandbox wait ID…")
    root = state_root()
    status = 0
    waited: list[tuple[str, Container | SandboxError]] = []
    for name in operands:  # of all of them first: what is not kept could be gone when its turn comes
        try:
            place, record = find(f"{root}/containers", name)
            with place:
                waited.append((name, Container(place, record, root)))
        except SandboxError as error:
            waited.append((name, error))
    for name, found in waited:
        try:
            if isinstance(found, SandboxError):
                raise found
            print(_wait(name, found), flush=True)
        except SandboxError as error:
            print(describe(error), file=sys.stderr)
            status = EXIT_OWN_FAILURE
    return status


def _wait(name: str, container: Container) -> int:
    ended = container.wait()
    if ended is None:
        raise ContainerError("nobody tells its exit status", where=name)
    return ended


def remove(values: Values, operands: list[str]) -> int:
    """Remove what is kept of those that are named, or of all, and print their names; with --force what runs, too."""
    everyone, force = bool(values.get("all")), bool(values.get("force"))
    if everyone == bool(operands):
        raise UsageError("name sandboxes, or say --all", where="rm", hint="sandbox rm [--force] ID…")
    parent = f"{state_root()}/containers"
    status = 0
    chosen: list[tuple[Place, Record]] = []
    for name in sorted(os.listdir(parent)) if everyone else operands:
        try:
            place, record = open_container(parent, name) if everyone else find(parent, name)
        except SandboxError as error:
            if not everyone or not isinstance(error, (NoSuchContainer, InvalidId)):
                print(describe(error), file=sys.stderr)
                status = EXIT_OWN_FAILURE
            continue
        if not everyone or (record.detached and (force or place.has_ended())):
            chosen.append((place, record))
        else:
            place.close()
    for place, record in chosen:  # all at once, and then they are waited for
        if force and record.detached and not place.has_ended():
            held.kill(record)
    for place, record in chosen:
        with place:
            try:
                _remove(place, record, force=force)
                print(record.id, flush=True)
            except NoSuchContainer:
                continue  # with --rm it goes by itself, or somebody else did it
            except SandboxError as error:
                print(describe(error), file=sys.stderr)
                status = EXIT_OWN_FAILURE
    return status


def _remove(place: Place, record: Record, *, force: bool) -> None:
    if not record.held:
        raise ContainerError(f"{record.id} is an engine's container", hint=f"sandbox-oci delete {record.id}")
    if place.has_ended():
        held.remove(place)
        return
    if not force:
        why = "is paused" if place.status(record) == Status.PAUSED else "is running"
        raise ContainerError(f"{record.id} {why}", hint=f"end it, too: sandbox rm --force {record.id}")
    held.end(place, record)
