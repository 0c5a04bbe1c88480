"""The runtime directory, in which the state of the user's sandboxes lies."""

from __future__ import annotations

import errno
import os
import stat

from sandbox.kernel.probe.distribution import as_root
from sandbox.kernel.probe.finding import Cause, Finding, refused
from sandbox.kernel.probe.lacks import no_room
from sandbox.kernel.probe.surroundings import mount_of
from sandbox.kernel.state import bases, fallback

_LITTLE = 1 << 20  # a kept plan takes some 20 kB
_TRIAL = ".probe-"
_NAME = "runtime directory"
_HOW = "a directory and a file made there, as a run makes them, and removed"


def _chosen() -> tuple[str, list[tuple[str, str]]]:
    """Return the base that is taken, and those before it, each with why not."""
    passed: list[tuple[str, str]] = []
    for path in bases(os.environ.get("XDG_RUNTIME_DIR")):
        fault = _fault(path)
        if not fault:
            return path, passed
        passed.append((path, fault))
    return fallback(), passed


def _fault(path: str) -> str:
    try:
        about = os.stat(path)
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    if not stat.S_ISDIR(about.st_mode):
        return "it is not a directory"
    if about.st_uid != os.geteuid():
        return f"it belongs to uid {about.st_uid}"
    if about.st_mode & 0o022:
        return f"others may write to it (mode {stat.S_IMODE(about.st_mode):04o})"
    return ""


def probe_place() -> list[Finding]:
    """Make a directory and a file where the state is to lie."""
    base, passed = _chosen()
    path = f"{base}/sandbox"
    findings = []
    first = os.environ.get("XDG_RUNTIME_DIR")
    for other, fault in passed:
        if other == first:
            findings.append(
                refused("XDG_RUNTIME_DIR", f"{other} is passed over", _mend(other, fault), how="stat(2)", needed=False)
            )
    trouble = _try(base, path)
    if trouble:
        findings.append(refused(_NAME, f"{path}: {trouble}", why_not(path), how=_HOW, needed=True))
        return findings
    space = os.statvfs(
        base if os.path.exists(base) else os.path.dirname(base)
    )  # the fallback is made when it is needed
    free = space.f_bavail * space.f_frsize
    words = f"{path}; {_size(free)} free"
    if space.f_blocks and (free < _LITTLE or (space.f_files and space.f_favail < 64)):
        findings.append(
            refused(
                _NAME,
                words,
                Cause(why="plans can hardly be kept, and each start will be slower", cure=f"make room: df -h {base}"),
                how=_HOW,
                needed=False,
            )
        )
        return findings
    if path == f"{fallback()}/sandbox":
        why = "there is no runtime directory of yours, and this one stays until the next boot or clean-up"
        cure = "log in by systemd-logind or elogind, or set XDG_RUNTIME_DIR to a directory of your own with mode 0700"
        findings.append(refused(_NAME, words, Cause(why=why, cure=cure), how=_HOW, needed=False))
    else:
        findings.append(Finding(name=_NAME, state="ok", found=words, how=_HOW))
    return findings


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count // 1000} kB"


def _try(base: str, path: str) -> str:
    """Return what goes wrong when a run makes its things there; leave nothing behind."""
    made: list[str] = []
    try:
        for directory in (base, path, f"{path}/containers"):
            if _make(directory):
                made.append(directory)
            elif fault := _private(directory) if directory != base else "":
                return fault
        _sweep(f"{path}/containers")
        # A name that is no sandbox's: whoever starts one now passes it over.
        trial = f"{path}/containers/{_TRIAL}{os.getpid()}"
        os.mkdir(trial, 0o700)
        made.append(trial)
        with open(f"{trial}/pid", "x") as file:
            made.append(f"{trial}/pid")
            file.write("0")
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    finally:
        for name in reversed(made):
            _remove(name)
    return ""


def _make(directory: str) -> bool:
    """Make a directory; False if it is there."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        return False
    return True


def _sweep(directory: str) -> None:
    """Remove what a doctor who was killed has left."""
    for name in os.listdir(directory):
        if name.startswith(_TRIAL) and not os.path.exists(f"/proc/{name.removeprefix(_TRIAL)}"):
            _remove(f"{directory}/{name}/pid")
            _remove(f"{directory}/{name}")


def _remove(path: str) -> None:
    try:
        (os.rmdir if os.path.isdir(path) else os.unlink)(path)
    except OSError as error:
        # What we made may be in use by now, by a sandbox that started meanwhile.
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise


def _private(path: str) -> str:
    about = os.lstat(path)
    if not stat.S_ISDIR(about.st_mode):
        return f"{path} is not a directory"
    if about.st_uid != os.geteuid():
        return f"{path} belongs to uid {about.st_uid}"
    if about.st_mode & 0o077:
        return f"{path} is open to others (mode {stat.S_IMODE(about.st_mode):04o})"
    return ""


def _mend(path: str, fault: str) -> Cause:
    cure = ""
    if fault.startswith("it belongs"):
        cure = as_root(f"chown {os.geteuid()} {path}")
    elif fault.startswith("others"):
        cure = f"chmod 700 {path}"
    elif fault == os.strerror(errno.ENOENT):
        cure = "log in anew (su and sudo leave the variable of another session), or unset XDG_RUNTIME_DIR"
    return Cause(why=f"{path}: {fault}", cure=cure)


def why_not(path: str, number: int = 0) -> Cause:
    """Return why nothing can be made at `path`, the directory of the state or one in it."""
    place = path
    while place not in ("", "/") and not os.path.lexists(place):
        place = os.path.dirname(place)
    about = os.lstat(place)
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return Cause(
            why=f"{place} lies on a file system mounted read-only ({mount_of(place)})",
            cure="set XDG_RUNTIME_DIR to a directory of your own that is writable, with mode 0700",
        )
    if about.st_uid != os.geteuid():
        return Cause(
            why=f"{place} belongs to uid {about.st_uid}", cure=f"see who made it: ls -ld {place}; then remove it"
        )
    if about.st_mode & 0o022 or (os.path.basename(place) == "sandbox" and about.st_mode & 0o077):
        return Cause(
            why=f"{place} is open to others (mode {stat.S_IMODE(about.st_mode):04o})", cure=f"chmod 700 {place}"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        return Cause(
            why=f"{place} is closed to you yourself (mode {stat.S_IMODE(about.st_mode):04o})", cure=f"chmod 700 {place}"
        )
    return no_room(place, number)
