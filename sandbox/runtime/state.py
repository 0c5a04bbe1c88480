"""The directory of a container: where it lies, what is in it, who may change it.  `record.py` has what state.json says.

    ROOT/containers/ID/     0700
        state.json          written by nsinit, read by both
        plan                what was carried out; a process that joins follows it
        start-gate          a socket, there while the container waits to be started
        log, log.1          what a detached sandbox's command has said (nsinit/log.c)
        attach              a socket, there while a detached sandbox runs (nsinit/attach.c)
        result.json         how a detached sandbox has ended: the document of docs/report.md

There are two kinds.  Of an OCI container the lock of the directory is held while it is made, started
or removed, not while it runs.  A sandbox (`sandbox run`) is *held*: its monitor has the lock as long
as it runs, and removes the directory at its end.  What is not locked, and has no process written down
or is a sandbox's, was left by somebody who was killed: whoever comes by removes it.  Unless there is a
result: then it ran detached, has ended, and is kept until somebody removes it.
"""

from __future__ import annotations

import os
import stat
import time

from sandbox.errors import ContainerBusy, ContainerError, HostError, InvalidId, NoSuchContainer
from sandbox.kernel import cgroup
from sandbox.kernel.process import lives
from sandbox.runtime.record import Record, Status, is_paused, is_suspended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

END_SECONDS = 10.0
"""So long is waited for a detached sandbox that is about to write its result."""
LOCK_SECONDS = 5.0
"""So long is waited for another call: a hook may be at work under the lock."""

_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_ID_LENGTH = 255

# What the directory of a container can hold.
_FIRST = ("plan", "plan.new", "state.json.new", "attach", "log", "log.1", "result.json.new")  # before there is a record
# The record goes last: without one, a directory with more in it than one that was being written is not ours.
_MEMBERS = ("start-gate", *_FIRST, "result.json", "state.json")
_DEPTH = 64  # of what a container may have left


def check_id(name: str) -> str:
    """Return `name` if a container can be called so, by the rule of runc.  Raises InvalidId."""
    if not name:
        raise InvalidId("container id cannot be empty")
    if not _ID_CHARACTERS.issuperset(name) or name in (".", "..") or len(name) > _ID_LENGTH:
        raise InvalidId("invalid container ID format")
    return name


def state_root(root: str | os.PathLike[str] | None = None) -> str:
    """Return the state root `root`, by default $XDG_RUNTIME_DIR/sandbox or where that lies without the variable.

    It is made where it is absent.  Raises HostError if others could write to it.
    """
    from sandbox.kernel.state import make_root, state_dir
    from sandbox.plan.inputs import Inputs

    return state_dir(Inputs()) if root is None else make_root(os.fspath(root))


class Place:
    """The directory of a container, open; a context manager that closes it, and with that gives up its lock."""

    __slots__ = ("fd", "id", "parent")

    def __init__(self, parent: str, name: str) -> None:
        """Open it.  Raises NoSuchContainer, InvalidId."""
        self.parent = parent
        self.id = check_id(name)
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NoSuchContainer("container does not exist") from error
        except OSError as error:
            raise ContainerError(f"open {self.path}: {os.strerror(error.errno or 0).lower()}") from error

    @property
    def path(self) -> str:
        return f"{self.parent}/{self.id}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def lock(self, seconds: float = LOCK_SECONDS) -> None:
        """Have the container to ourselves.

        Raises ContainerBusy when another call does not let go in time, NoSuchContainer when it has removed the
        container.
        """
        from fcntl import LOCK_EX, LOCK_NB, flock  # late: only who changes something locks

        end = time.monotonic() + seconds
        while True:
            try:
                flock(self.fd, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise ContainerBusy(
                        f"container {self.id} is being changed by another call",
                        hint="wait for the create, start or delete that is at work, or end it",
                    ) from error
                time.sleep(0.01)
        if not self.is_there():
            raise NoSuchContainer("container does not exist")

    def unlock(self) -> None:
        """Let others change it again."""
        from fcntl import LOCK_UN, flock

        flock(self.fd, LOCK_UN)

    def is_there(self) -> bool:
        """Does the name still lead to this directory?"""
        try:
            named = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self.fd))

    def record(self) -> Record:
        """Read state.json.  Raises NoSuchContainer where there is none: a container that is being made, or none."""
        try:
            content = self.read("state.json")
        except FileNotFoundError as error:
            raise NoSuchContainer("container does not exist") from error
        try:
            return Record(content.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise ContainerError(f"{self.path}/state.json: is damaged", hint=f"rm -r {self.path}") from error

    def read(self, name: str) -> bytes:
        """Return the content of a member.  Raises OSError."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            parts = [os.read(descriptor, 1 << 20)]
            while parts[-1]:
                parts.append(os.read(descriptor, 1 << 20))
        finally:
            os.close(descriptor)
        return b"".join(parts)

    def has_gate(self) -> bool:
        """Does the container still wait to be started?"""
        try:
            return stat.S_ISSOCK(os.stat("start-gate", dir_fd=self.fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def status(self, record: Record) -> str:
        """Return what the container does (Status)."""
        if record.pid == 0:
            return Status.CREATING
        if not lives(record.pid, record.started):
            return Status.STOPPED
        if is_paused(record) or is_suspended(record):
            return Status.PAUSED
        return Status.CREATED if not record.held and self.has_gate() else Status.RUNNING

    def has_ended(self) -> bool:
        """Is this what is kept of a detached sandbox?"""
        try:
            os.stat("result.json", dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def result(self) -> dict[str, Any]:
        """Return how a detached sandbox has ended, {} while it has not: the document of docs/report.md."""
        from json import loads  # late: hardly anything has one

        try:
            found = loads(self.read("result.json"))
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ContainerError(f"{self.path}/result.json: is damaged", hint=f"sandbox rm {self.id}")
        return found

    def is_left_over(self) -> bool:
        """Was this left by somebody who was killed?  If so, we hold its lock."""
        try:
            self.lock(0)
        except (ContainerBusy, NoSuchContainer):
            return False
        try:
            record = self.record()
        except NoSuchContainer:
            return set(os.listdir(self.fd)).issubset(_FIRST)
        if (record.pid == 0 or record.held) and not self.has_ended():
            return True
        self.unlock()
        return False

    def remove(self) -> None:
        """Remove the directory, whose lock we hold, and what it holds.  Raises ContainerError."""
        _remove_tree("notify", self.fd)
        for name in _MEMBERS:
            try:
                os.unlink(name, dir_fd=self.fd)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise ContainerError(f"unlink {self.path}/{name}: {os.strerror(error.errno or 0).lower()}") from error
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ContainerError(f"rmdir {self.path}: {os.strerror(error.errno or 0).lower()}") from error


def _remove_tree(name: str, directory: int, depth: int = 0) -> None:
    """Remove a directory, if it is there, and what a container may have left in it; of links only themselves."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return
    try:
        for entry in os.listdir(descriptor):
            try:
                os.unlink(entry, dir_fd=descriptor)
            except OSError:
                if depth < _DEPTH:
                    _remove_tree(entry, descriptor, depth + 1)
    finally:
        os.close(descriptor)
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError:
        return  # whoever removes the directory above says so


def open_container(parent: str, name: str) -> tuple[Place, Record]:
    """Open a container that is there.  Raises NoSuchContainer; what was left by somebody who was killed is removed."""
    place = Place(parent, name)
    try:
        record = place.record()
        # Whose process lives is not locked for that: its owner may come for the lock in this moment.
        if record.pid == 0 or (record.held and not lives(record.pid, record.started) and not place.has_ended()):
            if place.is_left_over():
                remove_left_over(place)
                raise NoSuchContainer("container does not exist")
            if record.held and not _ends(place, record):
                raise NoSuchContainer("container does not exist")
    except NoSuchContainer:
        if place.is_left_over():
            remove_left_over(place)
        place.close()
        raise
    except ContainerError:
        place.close()
        raise
    return place, record


def _ends(place: Place, record: Record) -> bool:
    """Wait for what is left of a sandbox whose first process has ended just now; return whether anything is."""
    limit = time.monotonic() + END_SECONDS
    while record.pid and record.detached and time.monotonic() < limit and place.is_there():
        if place.has_ended():
            return True
        if place.is_left_over():  # its keeper was killed, too
            remove_left_over(place)
            return False
        time.sleep(0.002)
    return False


def remove_left_over(place: Place) -> None:
    """Remove what somebody who was killed has left: a cgroup, with whatever is in there, and the directory.

    With a cgroup that does not go the record stays, for the next who comes by.
    """
    try:
        record = place.record()
    except NoSuchContainer:
        record = None
    if record is not None and record.cgroup:
        try:
            cgroup.remove(record.cgroup)
        except HostError:
            return
    elif record is not None and record.unmade_cgroup:
        cgroup.remove_empty(record.unmade_cgroup)
    place.remove()


def names(parent: str) -> list[str]:
    """Return the ids of the containers, sorted; left-overs are removed."""
    found = []
    for name in sorted(os.listdir(parent)):
        try:
            place, _ = open_container(parent, name)
        except (ContainerError, InvalidId):
            continue  # being made or removed right now
        place.close()
        found.append(name)
    return found
