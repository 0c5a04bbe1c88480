"""Where the state of a user's sandboxes lies, made safely (XDG Base Directory Specification).

    $XDG_RUNTIME_DIR/sandbox, else /run/user/UID/sandbox, else (root) /run/sandbox, else /tmp/sandbox-UID/sandbox
        plans/       kept plans
        containers/  a directory for each running sandbox

Whatever is not ours alone is passed over or refused: who could write here could have their plans
executed.  The launcher (`nsinit/launch.c`) looks in the same places by the same rules.
"""

from __future__ import annotations

import os
import stat

from sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.kernel.probe.finding import Cause
    from sandbox.plan.inputs import Inputs

PLANS_KEPT = 256
"""More kept plans than this, and the oldest go."""

FILTERS_KEPT = 64
"""The same for compiled filters."""


def state_dir(inputs: Inputs) -> str:
    """Return the directory of the state, made where it is absent.  Raises HostError if there is no safe place."""
    base = next((path for path in bases(inputs.variable("XDG_RUNTIME_DIR")) if _ours_alone(path)), "")
    if not base:
        base = fallback()
        _make(base)
    path = os.path.join(os.path.realpath(base), "sandbox")
    _make(path)
    _make_members(path)
    return path


def bases(runtime: str | None) -> list[str]:
    """Return where the state may lie, the first that is ours alone; `runtime` is $XDG_RUNTIME_DIR."""
    uid = os.geteuid()
    found = [runtime] if runtime and runtime.startswith("/") else []
    found.append(f"/run/user/{uid}")
    if uid == 0:
        found.append("/run")
    return found


def fallback() -> str:
    """Return where it lies if none of them is."""
    return f"/tmp/sandbox-{os.geteuid()}"


def make_root(path: str) -> str:
    """Make the directory that an engine chose for the state (--root), and return it without symlinks.

    Raises HostError where others could write to it.
    """
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot make {path}: {error.strerror}", hint="name a directory of your own by --root"
        ) from error
    path = os.path.realpath(path)
    if not _ours_alone(path):
        raise HostError(f"{path} can be written by others", hint="name a directory of your own by --root")
    _make_members(path)
    return path


def _make_members(path: str) -> None:
    for name in ("plans", "containers"):
        _make(f"{path}/{name}")


def _ours_alone(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _make(path: str) -> None:
    """Make the directory `path`, or see that it is one that we made."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        cause = _why_not(path, error.errno or 0)
        raise HostError(
            f"cannot make {path}: {error.strerror}",
            cause=cause.why,
            hint=cause.cure or "set XDG_RUNTIME_DIR to a directory of your own that is writable",
        ) from error
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        cause = _why_not(path)
        raise HostError(
            f"{path} is not a directory that belongs to you alone",
            cause=cause.why,
            hint=cause.cure or f"see who made it: ls -ld {path}; then remove it",
        )


def _why_not(path: str, number: int = 0) -> Cause:
    from sandbox.kernel.probe.place import why_not  # late: for a refusal alone

    return why_not(path, number)


def held_stubs(state: str) -> list[str]:
    """Return the paths at which a sandbox that runs, or was killed, lets something empty lie (`nsinit/stubs.c`).

    What somebody has put there since is no stub, and is to be hidden or protected as anything else.
    """
    directory = f"{state}/stubs"
    found: list[str] = []
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return found
    for name in names:
        if name.startswith("."):
            continue
        try:
            with open(f"{directory}/{name}", "rb") as file:
                entries = file.read().split(b"\0")
        except FileNotFoundError:  # that sandbox has just ended
            continue
        found += [
            os.fsdecode(entry[1:])
            for entry, content in zip(entries[:-1:2], entries[1::2], strict=False)
            if _is_stub(entry[1:], None if entry[:1] == b"d" else content)
        ]
    return found


def _is_stub(path: bytes, content: bytes | None) -> bool:
    """Does an empty directory lie there still, or a file with this very content?"""
    try:
        if content is None:
            return not os.path.islink(path) and not os.listdir(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.read(descriptor, len(content) + 1) == content
    finally:
        os.close(descriptor)


def keep_plan(state: str, name: str, data: bytes) -> int:
    """Write a plan under its name, and return a descriptor open on it for reading.

    The plan appears whole or not at all.  Where it cannot be kept (no space, read-only) it lives in
    memory for this run.
    """
    descriptor = keep(f"{state}/plans", name, data)
    if descriptor < 0:
        return plan_in_memory(data)
    # Not the one that was written through: nobody should find a way to write by it.
    reader = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(descriptor)
    return reader


def keep(directory: str, name: str, data: bytes) -> int:
    """Write a file into the directory of what is kept, and return a descriptor open on it; -1 where that fails."""
    temporary = f"{directory}/{name}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1
    try:
        _write(descriptor, data)
        os.rename(temporary, f"{directory}/{name}")
    except OSError:
        os.close(descriptor)
        os.unlink(temporary)
        return -1
    _prune(directory)
    return descriptor


def plan_in_memory(data: bytes) -> int:
    """Return a descriptor open on a plan that no file keeps.  Raises HostError."""
    try:
        descriptor = os.memfd_create("plan", os.MFD_CLOEXEC)
        _write(descriptor, data)
    except OSError as error:
        from errno import EFBIG  # late: only here

        hint = "let files be larger: ulimit -f" if error.errno == EFBIG else ""
        raise HostError(f"what is to be done cannot be written down: {error.strerror}", hint=hint) from error
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _prune(directory: str) -> None:
    """Remove what a killed writer left, and the oldest of what is kept beyond its number."""
    names = os.listdir(directory)
    for name in names:
        if name.endswith(".tmp") and not os.path.exists(f"/proc/{name.split('.')[-2]}"):
            _remove(f"{directory}/{name}")
    for suffix, most in ((".plan", PLANS_KEPT), (".bpf", FILTERS_KEPT)):
        paths = [f"{directory}/{name}" for name in names if name.endswith(suffix)]
        if len(paths) > most:
            for path in sorted(paths, key=_age)[: len(paths) - most]:
                _remove(path)


def _age(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except FileNotFoundError:  # another sandbox was quicker
        return 0


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # as above
