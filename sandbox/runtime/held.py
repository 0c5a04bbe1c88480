"""What is different about a sandbox: its monitor (`sandbox run`) holds it, waits for its command, and cleans up.

Its first process is, unless the profile says otherwise, one of ours, which takes no signals and whose exit status says
nothing: signals are for the command behind it, and the status is the monitor's.
"""

from __future__ import annotations

import os
import time

from sandbox.errors import ContainerError, NoSuchContainer
from sandbox.kernel.process import children, look, open_process, parent, wait_end
from sandbox.runtime.state import remove_left_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.runtime.record import Record
    from sandbox.runtime.state import Place

_KILL = 9
START_SECONDS = 2.0
"""So long is waited for a command that is about to be started."""
ENTER_SECONDS = 5.0
"""So long is waited for a sandbox whose walls do not stand yet."""
END_SECONDS = 10.0
"""So long is waited for a sandbox whose command was killed."""


def command_of(record: Record) -> int:
    """Return a pidfd of the sandbox's command.  Raises ProcessLookupError when that has ended."""
    annotations = record.document().get("annotations") or {}
    if annotations.get("dev.sandbox.init") != "true":
        return open_process(record.pid, record.started)
    end = time.monotonic() + START_SECONDS
    while True:
        first = open_process(record.pid, record.started)
        os.close(first)
        # The oldest child: those that were left to process 1 stand behind it, and it ends with the command.
        for pid in children(record.pid)[:1]:
            found = look(pid)
            if found is not None and parent(pid) == record.pid:
                return open_process(pid, found[1])
        if time.monotonic() > end:
            raise ProcessLookupError(record.pid)
        time.sleep(0.002)


def monitor_of(record: Record) -> int:
    """Return a pidfd of the sandbox's monitor.  Raises ProcessLookupError when it has ended."""
    pid = parent(record.pid)
    found = look(pid) if pid else None
    # Looked at again behind it: the first process does not outlive its monitor.
    if found is None or parent(record.pid) != pid:
        raise ProcessLookupError(record.pid)
    descriptor = open_process(pid, found[1])
    try:
        os.close(open_process(record.pid, record.started))
    except ProcessLookupError:
        os.close(descriptor)
        raise
    return descriptor


def read_plan(place: Place, record: Record) -> bytes:
    """Return the plan, which a sandbox has from when others may come in, and is waited for.

    Raises ProcessLookupError at its end, and FileNotFoundError for a container of an engine's without one.
    """
    limit = time.monotonic() + ENTER_SECONDS
    while True:
        try:
            return place.read("plan")
        except FileNotFoundError:
            if not record.held:
                raise
            os.close(_first(record))
            if time.monotonic() > limit:
                raise ContainerError(f"{record.id} is not started yet", hint="try again") from None
        time.sleep(0.005)


def end(place: Place, record: Record) -> None:
    """Kill the command, and return when the monitor has cleaned up, and what a detached one keeps is gone, too.

    Raises ContainerError.
    """
    if not place.has_ended():
        kill(record)
    limit = time.monotonic() + END_SECONDS
    while place.is_there():
        if place.is_left_over():  # the monitor was killed too
            remove_left_over(place)
            return
        if place.has_ended():
            remove(place)
            return
        if time.monotonic() > limit:
            raise ContainerError(f"{place.id} has not ended", hint="is its monitor stopped? see: sandbox ps")
        time.sleep(0.002)


def remove(place: Place) -> None:
    """Remove what is kept of one that has ended."""
    try:
        place.lock()
    except NoSuchContainer:
        return  # somebody else did
    remove_left_over(place)  # with a cgroup that could not be removed then


def kill(record: Record) -> None:
    """Kill the command, and with it everything inside."""
    from signal import pidfd_send_signal  # late: 3 ms

    from sandbox.runtime.standing import release

    for find in (command_of, _first):
        try:
            descriptor = find(record)
        except ProcessLookupError:
            break
        try:
            pidfd_send_signal(descriptor, _KILL)
            release(record)
            if wait_end(descriptor, END_SECONDS):
                break
        except ProcessLookupError:
            break
        finally:
            os.close(descriptor)


def _first(record: Record) -> int:
    return open_process(record.pid, record.started)
