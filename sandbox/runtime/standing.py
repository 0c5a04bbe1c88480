"""Whether what is inside stands still, and making it stand.

The freezer of a cgroup does it whole, and nobody inside sees it.  A sandbox without a cgroup is stopped by signals,
which is less: a parent inside is told that its child was stopped (waitpid(2) with WUNTRACED), a process that is being
started is met a moment later, and whoever joins would run.  Process 1 stands first and goes on last, so that it reports no
stop of the command; nobody inside can stop it, and so that it stands says that everything was made to.
"""

from __future__ import annotations

import os
import time
from signal import SIGCONT, SIGSTOP, pidfd_send_signal

from sandbox.errors import HostError
from sandbox.kernel import cgroup
from sandbox.kernel.process import look, open_process, parent, state
from sandbox.runtime.processes import inside, signal_each
from sandbox.runtime.record import is_paused, is_suspended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.runtime.record import Record

STOP_SECONDS = 10.0
"""So long is waited for the processes to stand: one that waits for a disk does when it comes back."""

_STANDS = "TtZX"  # stopped, by a signal or a debugger, or ended


def stop(record: Record) -> None:
    """Stop every process of a sandbox without a cgroup; return when they stand.

    Raises HostError where they do not in time; then they are let go on.
    """
    end = time.monotonic() + STOP_SECONDS
    signal_each([record.pid], SIGSTOP, record)
    # Looked at once more when all stand: one that was stopped may have made another just before.
    # In the kernel for good, as who waits for a child of vfork(2) that stands, is as good: what waits for it there are
    # our signals, with which it neither forks nor comes back.
    quiet, told = 0, {record.pid}
    while quiet < 2:
        states = {pid: state(pid) for pid in inside(record)}
        moving = [pid for pid, at in states.items() if at not in _STANDS and not (at == "D" and pid in told)]
        quiet = 0 if moving else quiet + 1
        if not moving:
            continue
        signal_each(moving, SIGSTOP, record)
        told.update(moving)
        if time.monotonic() > end:
            let_go_on(record)
            raise HostError(f"{record.id} was not stopped within {STOP_SECONDS:g} s")
        time.sleep(0.002)


def let_go_on(record: Record) -> None:
    """Let go on what `stop` has stopped."""
    signal_each([pid for pid in inside(record) if pid != record.pid], SIGCONT, record)
    signal_each([record.pid], SIGCONT, record)


def release(record: Record) -> None:
    """Let go on whatever stands, however it was stopped: what stands cannot come to its end in order.

    Raises ProcessLookupError where it has ended meanwhile.
    """
    if record.cgroup:
        _thaw_scope(os.path.dirname(record.cgroup))
    # What was killed just now leaves the others standing, while `frozen` says for a moment that not all do.
    if cgroup.is_to_stand(record.cgroup) or cgroup.is_frozen(record.cgroup):
        try:
            cgroup.freeze(record.cgroup, frozen=False)
        except HostError:
            if cgroup.is_frozen(record.cgroup):  # and not gone
                raise
    elif is_paused(record):
        let_go_on(record)
    if is_suspended(record):
        resume_monitor(record)


def _thaw_scope(directory: str) -> None:
    """Let the scope go on that the cgroup lies in, and its keeper, whom somebody else has frozen with it."""
    name = os.path.basename(directory)
    if not (name.startswith("sandbox-") and name.endswith(".scope")):
        return
    if not cgroup.is_to_stand(directory):
        return
    try:
        cgroup.write(directory, "cgroup.freeze", "0")
    except OSError:
        return  # gone meanwhile


def resume_monitor(record: Record) -> None:
    """Let go on the monitor of a sandbox, which lets go on what is inside.  Raises ProcessLookupError."""
    # The first process may be a zombie, whose end the monitor has yet to see.
    pid = parent(record.pid)
    monitor, first = look(pid), look(record.pid)
    if monitor is None or first is None or first[1] != record.started:
        raise ProcessLookupError(record.pid)
    descriptor = open_process(pid, monitor[1])
    try:
        if parent(record.pid) != pid:
            raise ProcessLookupError(record.pid)
        pidfd_send_signal(descriptor, SIGCONT)
    finally:
        os.close(descriptor)
