"""The door to the files of a cgroup (cgroup v2), Documentation/admin-guide/cgroup-v2.rst.

A cgroup is named by its directory.  Which limits mean which files is decided by `sandbox.lower.cgroup`.
"""

from __future__ import annotations

import errno
import os
import select
import time

from sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FREEZE_SECONDS = 10.0  # a process that waits for a disk is frozen when it comes back
KILL_SECONDS = 10.0
REMOVE_SECONDS = 5.0


def read(directory: str, name: str) -> str:
    """Return the content of a file of the cgroup.  Raises OSError."""
    descriptor = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor) as file:
        return file.read()


def write(directory: str, name: str, value: str) -> None:
    """Write to a file of the cgroup, in one write(2) as the kernel wants it.  Raises OSError."""
    descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def table(directory: str, name: str) -> dict[str, int]:
    """Return a file of lines `key number` (cgroup.events, memory.stat), {} where it is absent."""
    try:
        content = read(directory, name)
    except OSError:  # the controller is not there, or the cgroup is gone
        return {}
    found = {}
    for line in content.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def is_inode(directory: str, inode: int) -> bool:
    """Is this the cgroup with that inode number, which the kernel gives to no other?"""
    try:
        return os.stat(directory, follow_symlinks=False).st_ino == inode
    except OSError:
        return False


def number(directory: str, name: str) -> int | None:
    """Return the number in a file; None where it is absent, or holds none."""
    try:
        text = read(directory, name).strip()
    except OSError:  # as above
        return None
    return int(text) if text.isdigit() else None


def limit(directory: str, name: str) -> int | None:
    """Return the number at the beginning of a file; None where it is "max", or absent."""
    try:
        word = read(directory, name).split()[0]
    except (OSError, IndexError):
        return None
    return int(word) if word.isdigit() else None


def is_frozen(directory: str) -> bool:
    """Has everything in the cgroup come to a stand?"""
    return bool(directory) and table(directory, "cgroup.events").get("frozen") == 1


def is_to_stand(directory: str) -> bool:
    """Was it told to freeze?  Whether everything stands differs from that while one that was killed is on its way out."""
    try:
        return bool(directory) and read(directory, "cgroup.freeze").startswith("1")
    except OSError:
        return False


def _open(name: str, above: int | None = None) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


def _below(directory: str) -> Iterator[tuple[int, str]]:
    """Yield each cgroup below this one, the lowest first: its name, and a descriptor of the one above it.

    A contained program may have made them deeper than a path or the interpreter's stack goes.  None can be moved: the
    way up is the way down.  Raises OSError where the cgroup is gone.
    """
    at = _open(directory)
    names: list[str] = []
    waiting = [_children(at)]
    try:
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                try:
                    lower = _open(name, at)
                except OSError:  # removed meanwhile
                    continue
                os.close(at)
                at = lower
                names.append(name)
                waiting.append(_children(at))
            elif names:
                higher = _open("..", at)
                os.close(at)
                at = higher
                waiting.pop()
                yield at, names.pop()
            else:
                return
    finally:
        os.close(at)


def _children(directory: int) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted((entry.name for entry in entries if entry.is_dir(follow_symlinks=False)), reverse=True)
    except OSError:  # removed meanwhile
        return []


def processes(directory: str) -> list[int]:
    """Return the processes in the cgroup and below it."""
    try:
        found = [_processes(name, above) for above, name in _below(directory)]
    except FileNotFoundError:
        return []
    return [pid for members in (_processes(directory), *reversed(found)) for pid in members]


def _processes(name: str, above: int | None = None) -> list[int]:
    try:
        descriptor = os.open(f"{name}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=above)
        with open(descriptor) as file:
            return [int(word) for word in file.read().split()]
    except OSError as error:
        # Removed meanwhile; or threaded, whose processes are listed further up.
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return []
        raise


def freeze(directory: str, *, frozen: bool, seconds: float = FREEZE_SECONDS) -> None:
    """Stop, or let go on, everything in the cgroup; return when that is so.

    Raises HostError where it cannot be; what could not be frozen in time is let go on.
    """
    try:
        write(directory, "cgroup.freeze", str(int(frozen)))
    except OSError as error:
        raise HostError(f"cannot write {directory}/cgroup.freeze: {error.strerror}") from error
    if _wait_for(directory, "frozen", int(frozen), seconds):
        return
    if frozen:
        write(directory, "cgroup.freeze", "0")
    raise HostError(f"{directory} was not {'frozen' if frozen else 'thawed'} within {seconds:g} s")


def kill(directory: str, seconds: float = KILL_SECONDS) -> bool:
    """Kill everything in the cgroup and below it; return whether nothing is left."""
    try:
        write(directory, "cgroup.kill", "1")
    except FileNotFoundError:
        if not os.path.isdir(directory):
            return True
        return _kill_one_by_one(directory, seconds)  # Linux 5.13 and older
    except OSError as error:
        if error.errno == errno.ENODEV:
            return True
        return _kill_one_by_one(directory, seconds)
    return _wait_for(directory, "populated", 0, seconds)


def _kill_one_by_one(directory: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    # Standing still, none can start another that we would miss; it can be killed all the same.
    _try_write(directory, "cgroup.freeze", "1")
    try:
        while left := processes(directory):
            kill_each(directory, left)
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True
    finally:
        _try_write(directory, "cgroup.freeze", "0")


def _try_write(directory: str, name: str, value: str) -> None:
    try:
        write(directory, name, value)
    except OSError:
        return  # gone meanwhile, or what it would do is not had


def kill_each(directory: str, pids: Iterable[int]) -> None:
    """Kill these processes, those alone that are in the cgroup: a number may be another's by now."""
    from signal import pidfd_send_signal  # late: 3 ms

    opened = {}
    try:
        for pid in pids:
            try:
                opened[pid] = os.pidfd_open(pid)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    break  # the next round has the others
        inside = set(processes(directory))
        for pid, descriptor in opened.items():
            if pid in inside:
                try:
                    pidfd_send_signal(descriptor, 9)
                except OSError:
                    continue  # gone
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def remove_empty(directory: str) -> None:
    """Remove the cgroup if nothing is in it, neither a process nor a cgroup."""
    _remove(directory)


def remove(directory: str, seconds: float = REMOVE_SECONDS) -> None:
    """Kill what is left in the cgroup, and remove it and all below it.  Raises HostError.

    A process that has just ended may hold its cgroup for a moment, and somebody may make others in it meanwhile.
    """
    end = time.monotonic() + seconds
    pause = 0.001
    while True:
        # All is dead at nearly each end, and nothing below.
        busy = _remove(directory)
        if busy is None:
            return
        kill(directory, max(0.0, end - time.monotonic()))
        try:
            for above, name in _below(directory):
                busy = _remove(name, above) or busy
                if time.monotonic() > end:
                    break
        except FileNotFoundError:
            return
        last = _remove(directory)
        if last is None:
            return
        if last.errno != errno.EBUSY or time.monotonic() > end:
            busy = last if busy.filename == directory else busy
            where = directory if busy.filename == directory else f"{directory}/…/{busy.filename}"
            raise HostError(f"cannot remove {where}: {busy.strerror}") from busy
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _remove(name: str, above: int | None = None) -> OSError | None:
    try:
        os.rmdir(name, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def apply(directory: str, settings: Iterable[str]) -> None:
    """Write `file=value` settings.  Raises HostError; then what was written before is as it was.

    A file that takes one line after another (io.max) is read back by lines.
    """
    before: list[tuple[str, str]] = []
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            before.append((name, read(directory, name)))
            write(directory, name, value)
        except OSError as error:
            for written, old in reversed(before):
                _put_back(directory, written, old)
            # The controller is there: who asks has had it enabled.
            hint = "leave it out, or boot a kernel that has it" if error.errno == errno.ENOENT else ""
            raise HostError(f"cannot write {value} to {directory}/{name}: {error.strerror}", hint=hint) from error


def _put_back(directory: str, name: str, content: str) -> None:
    for line in content.splitlines() or [""]:
        try:
            write(directory, name, line + "\n")  # an empty write(2) is none
        except OSError:
            return  # the first failure is the one to report


def _wait_for(directory: str, key: str, value: int, seconds: float) -> bool:
    """Wait until cgroup.events has `key value`, or the cgroup is gone."""
    end = time.monotonic() + seconds
    try:
        descriptor = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        while True:
            try:
                content = os.pread(descriptor, 4096, 0).decode()
            except OSError:  # ENODEV: removed
                return True
            if f"{key} {value}" in content.splitlines():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            poll.poll(min(left, 0.5) * 1000)
    finally:
        os.close(descriptor)
