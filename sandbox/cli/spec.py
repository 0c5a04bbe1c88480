"""`sandbox spec`: the OCI bundle that a run would use, for this program and for others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from json import loads

import msgspec

from sandbox.errors import SandboxError
from sandbox.kernel.ids import subordinate
from sandbox.plan.inputs import Inputs
from sandbox.profile.expand import Request, kept
from sandbox.runtime.compilation import Compilation, compile_request
from sandbox.spec.runtime import IdMapping, Spec, annotation, encode


def show(request: Request, command: Sequence[str]) -> None:
    """Print config.json."""
    print(encode(portable(compile_request(request), request, command)).decode(), end="")


def write_bundle(request: Request, command: Sequence[str], directory: str) -> None:
    """Write `directory` with config.json and the root file system that it names."""
    spec = portable(compile_request(request), request, command)
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


def portable(compilation: Compilation, request: Request, command: Sequence[str]) -> Spec:
    """Return the spec with what other runtimes have to find in it.

    They know no variables that are kept and no time of the call: the environment of now is written
    down.  And runc refuses a map without id 0 ("no user mapping found"), so that a map of one's own
    id alone is filled up with the first subordinate id, where there is one.
    """
    spec = compilation.expansion.spec
    assert spec.process is not None and spec.linux is not None
    names = {variable.partition("=")[0] for variable in spec.process.env}
    patterns = loads(annotation(spec, "keep", "[]"))
    environment = [f"{name}={value}" for name, value in kept(patterns, os.environ).items() if name not in names]
    process = msgspec.structs.replace(spec.process, args=list(command), env=[*spec.process.env, *environment])
    linux = msgspec.structs.replace(
        spec.linux,
        uid_mappings=_with_root("uid", spec.linux.uid_mappings, request),
        gid_mappings=_with_root("gid", spec.linux.gid_mappings, request),
    )
    return msgspec.structs.replace(spec, process=process, linux=linux)


def _with_root(kind: str, mappings: list[IdMapping], request: Request) -> list[IdMapping]:
    if len(mappings) != 1 or mappings[0].container_id == 0:
        return mappings
    from pwd import getpwuid

    try:
        ranges = subordinate(kind, request.uid, getpwuid(request.uid).pw_name, Inputs())
    except (SandboxError, KeyError):
        return mappings
    return [IdMapping(container_id=0, host_id=ranges[0].start, size=1), *mappings]
