"""`sandbox spec`: the OCI bundle that a run would use, for this program and for others."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from json import loads

import msgspec

from sandbox.errors import SandboxError, say_notes
from sandbox.profile.caches import make
from sandbox.profile.environment import kept
from sandbox.profile.request import Request
from sandbox.runtime.compilation import compile_request
from sandbox.spec.runtime import IdMapping, Mount, Spec, annotation, encode


def show(request: Request, command: Sequence[str], *, own_ids: bool) -> None:
    """Print config.json."""
    print(encode(portable(request, command, own_ids=own_ids)).decode(), end="")


def write_bundle(request: Request, command: Sequence[str], directory: str, *, own_ids: bool) -> None:
    """Write `directory` with config.json and the root file system that it names."""
    spec = portable(request, command, own_ids=own_ids)
    try:
        os.makedirs(directory, exist_ok=True)
        if annotation(spec, "root") == "fresh":
            root = os.path.join(directory, "rootfs")
            os.makedirs(root, exist_ok=True)
            for link, destination in loads(annotation(spec, "symlinks", "{}")).items():
                path = root + link
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if not os.path.islink(path):
                    os.symlink(destination, path)
        with open(os.path.join(directory, "config.json"), "wb") as file:
            file.write(encode(spec))
    except OSError as error:
        raise SandboxError(
            f"cannot write the bundle: {error.filename}: {error.strerror}", hint="name a directory that you may write"
        ) from error


def portable(request: Request, command: Sequence[str], *, own_ids: bool) -> Spec:
    """Return the spec with what other runtimes have to find in it.

    They know no variables that are kept: the environment of now is written down.  And runc, run by
    an ordinary user, has to be that user as id 0 inside (it gives its pipes and its fifo to id 0),
    so that the caller becomes id 0 unless `own_ids`, which crun can run.
    """
    expansion = compile_request(request).expansion
    say_notes(expansion.notes)
    make(expansion.caches)
    spec = expansion.spec
    assert spec.process is not None
    names = {variable.partition("=")[0] for variable in spec.process.env}
    patterns = loads(annotation(spec, "keep", "[]"))
    environment = [f"{name}={value}" for name, value in kept(patterns, os.environ).items() if name not in names]
    process = msgspec.structs.replace(spec.process, args=list(command), env=[*spec.process.env, *environment])
    spec = msgspec.structs.replace(spec, process=process, mounts=_of_what_is_there(spec))
    return spec if own_ids else _as_root(spec, request)


def _of_what_is_there(spec: Spec) -> list[Mount]:
    """Return the mounts but for those on stubs, which no other runtime makes."""
    stubs = loads(annotation(spec, "absent", "{}"))
    if stubs:
        print(
            "sandbox: note: this spec does not protect what is absent, as no other runtime can: " + ", ".join(stubs),
            file=sys.stderr,
        )
    return [mount for mount in spec.mounts if mount.destination not in stubs]


def _as_root(spec: Spec, request: Request) -> Spec:
    assert spec.process is not None
    assert spec.linux is not None
    user = spec.process.user
    if user.uid == 0 and user.gid == 0:
        return spec
    print(
        f"sandbox: note: in this spec you are id 0, not {user.uid}: runc runs no other for an ordinary user\n"
        "  hint: --own-ids keeps your ids, for crun",
        file=sys.stderr,
    )
    linux = msgspec.structs.replace(
        spec.linux,
        uid_mappings=_from_zero(spec.linux.uid_mappings, request.uid),
        gid_mappings=_from_zero(spec.linux.gid_mappings, request.gid),
    )
    process = msgspec.structs.replace(spec.process, user=msgspec.structs.replace(user, uid=0, gid=0))
    return msgspec.structs.replace(spec, linux=linux, process=process)


def _from_zero(mappings: list[IdMapping], own: int) -> list[IdMapping]:
    """Return the map with the caller's `own` id as 0, and all others from 1 up."""
    rows = [IdMapping(container_id=0, host_id=own, size=1)]
    for entry in mappings:
        if entry.host_id != own or entry.size != 1:
            last = rows[-1]
            rows.append(IdMapping(container_id=last.container_id + last.size, host_id=entry.host_id, size=entry.size))
    return rows
