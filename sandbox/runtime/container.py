"""A container, as a Python object: what libcontainer's interface offers.

It is the OCI runtime's, or a sandbox that `sandbox run` holds (`held.py`); that has no configuration of its own, is not
created and started apart, and goes by itself at its end, unless it was detached: then its log and its result stay.

    from sandbox import Container

    with Container.run("hello", "/path/to/bundle") as container:
        print(container.processes())
        status = container.wait()

Making processes is done by nsinit (`launch.py`); everything else goes by pidfds and files.
"""

from __future__ import annotations

import os

from sandbox.errors import ContainerError, HostError, NoSuchContainer, NotSupported, WrongStatus
from sandbox.kernel import cgroup
from sandbox.kernel.process import exit_status, wait_end
from sandbox.runtime import held
from sandbox.runtime import processes as members
from sandbox.runtime.record import Record, Status
from sandbox.runtime.seen import Seen
from sandbox.runtime.state import Place, check_id, remove_left_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self, TypeAlias

    from sandbox.runtime.events import Notifications
    from sandbox.runtime.launch import Stream
    from sandbox.runtime.logs import Entry
    from sandbox.runtime.process import Process
    from sandbox.spec.runtime import Resources

    Path: TypeAlias = str | os.PathLike[str]


class Container(Seen):
    """One container.

    A context manager: at its end the container is destroyed, whatever it does.
    """

    # --- making and finding ---

    @classmethod
    def create(
        cls,
        name: str,
        bundle: Path = ".",
        *,
        root: Path | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        console_socket: Path | None = None,
        pid_file: Path | None = None,
        preserve_fds: int = 0,
        pass_fds: Sequence[int] = (),
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        systemd_cgroup: bool = False,
        env: Mapping[str, str] | None = None,
        program: str | None = None,
    ) -> Container:
        """Make the container `name` from the bundle, whose command waits until `start`.

        The streams are the command's, as of `subprocess`; None: the caller's.  With `process.terminal` a
        `console_socket` receives the terminal.  `preserve_fds` further descriptors, from 3 on, are handed in;
        `pass_fds` are those of the caller that have to be there for it.  `env` is the runtime's own environment
        (`LISTEN_FDS`, `NOTIFY_SOCKET`), not the command's.

        Raises ContainerExists, InvalidId, CommandFailed where there is no such command inside, HookFailed, and
        ContainerError for everything else that is wrong with the bundle or refused by this host.
        """
        from sandbox.runtime.containers import Containers
        from sandbox.runtime.launch import Launcher, create_options  # late: `kill` and `delete` start nothing

        containers = Containers(root, program=program)
        options = create_options(
            bundle=bundle, console_socket=console_socket, pid_file=pid_file, preserve_fds=preserve_fds,
            no_pivot=no_pivot, no_new_keyring=no_new_keyring,
        )  # fmt: skip
        Launcher(containers.root, program).call(
            "create", [*options, check_id(name)], settings=["--systemd-cgroup"] if systemd_cgroup else [],
            stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, env=env,
        )  # fmt: skip
        return containers.load(name)

    @classmethod
    def run(cls, name: str, bundle: Path = ".", **options: Any) -> Container:
        """Make a container as `create` does, and start it.  What cannot be started is destroyed."""
        container = cls.create(name, bundle, **options)
        try:
            container.start()
        except ContainerError:
            container.destroy(force=True)
            raise
        return container

    @classmethod
    def load(cls, name: str, *, root: Path | None = None, program: str | None = None) -> Container:
        """Return a container that is there.  Raises NoSuchContainer, InvalidId."""
        from sandbox.runtime.containers import Containers

        return Containers(root, program=program).load(name)

    # --- what happens to it ---

    def events(self, interval: float | None = None) -> Iterator[dict[str, Any]]:
        """Return what happens to it until it ends, each time as a JSON object; `interval` seconds apart what it uses.

        `sandbox.runtime.watching` has the types.
        """
        from sandbox.runtime.watching import watch

        return watch(self, interval)

    # --- changing it ---

    def start(self) -> None:
        """Let the command of a created container run; return when it does.

        Raises WrongStatus, CommandFailed, HookFailed.
        """
        from sandbox.runtime.launch import Launcher  # late: `kill` and `delete` start nothing

        with self._open():
            pass
        Launcher(self._root, self._program).call("start", [self.id])

    def exec(self, args: Sequence[str] = (), **options: Any) -> Process:
        """Start a further process inside, and return it when it runs; `Process.start` describes the options.

        Raises WrongStatus, CommandFailed.
        """
        from sandbox.runtime.process import Process  # late: subprocess

        with self._open():
            pass
        return Process.start(self._root, self.id, args, program=self._program, **options)

    def signal(self, number: int, *, all: bool = False) -> None:  # noqa: A002 (as runc calls it)
        """Signal the first process, or all.

        SIGKILL for the first process of a container in the host's process namespace kills all, as nobody would be
        left to end them.  Of a sandbox the command is meant, not process 1 behind which it stands.  Raises WrongStatus
        when the first process has ended and not `all` are meant.
        """
        from signal import SIGKILL, pidfd_send_signal  # late: 3 ms

        with self._open() as (place, record):
            status = place.status(record)
            if not all and status in (Status.STOPPED, Status.CREATING):
                raise WrongStatus("container not running")
            if record.held and number == SIGKILL:
                all = False  # noqa: A001 (with the command they all end)
            if all or (not record.held and number == SIGKILL and not members.has_own_pids(record)):
                members.signal_all(record, number)
                if all:
                    return
            try:
                if record.held:
                    command = held.command_of(record)
                    try:
                        pidfd_send_signal(command, number)
                    finally:
                        os.close(command)
                else:
                    pidfd_send_signal(self._adopt(record), number)
            except ProcessLookupError as error:
                if number == SIGKILL:
                    return  # together with all
                raise WrongStatus("container not running") from error
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise ContainerError(f"unable to signal init: {reason}") from error
            if record.held and number == SIGKILL and status == Status.PAUSED:
                _release(record)

    def pause(self) -> None:
        """Stop every process; return when they stand.

        That of a sandbox without a cgroup is done by signals, which those inside can notice (`standing.py`).  Raises
        WrongStatus when there is nothing to stop, HostError for a container without a cgroup to do it by.
        """
        with self._locked() as (place, record):
            if place.status(record) not in (Status.RUNNING, Status.CREATED):
                raise WrongStatus("container not running")
            if record.held and not record.cgroup:
                from sandbox.runtime import standing  # late: hardly ever

                standing.stop(record)
            else:
                cgroup.freeze(_cgroup_of(record), frozen=True)

    def resume(self) -> None:
        """Let the processes of a paused container go on, and a sandbox that Ctrl-Z has stopped.

        Raises WrongStatus, HostError.
        """
        with self._locked() as (place, record):
            if place.status(record) != Status.PAUSED:
                raise WrongStatus("container not paused")
            if not record.held:
                cgroup.freeze(_cgroup_of(record), frozen=False)
                return
            from sandbox.runtime import standing  # late, as above

            try:
                standing.release(record)
            except ProcessLookupError as error:
                raise WrongStatus("container not paused") from error

    def set(self, resources: Resources | Mapping[str, Any]) -> None:
        """Change limits while it runs; `resources` is `linux.resources` of the specification, what is absent stays.

        Either all are in force afterwards or, with an exception, none.  Raises WrongStatus for a container that has
        ended, SpecError for what makes no sense, HostError for a controller that is not there.
        """
        from sandbox.runtime.limits import change  # late: msgspec

        with self._locked() as (place, record):
            if place.status(record) == Status.STOPPED:
                raise WrongStatus("container not running")
            directory = _cgroup_of(record)
            scope = os.path.dirname(directory)
            # A container's has them, too (Scope.limits); in a sandbox's there may be its keeper.
            change(directory, resources, scope if not record.held and scope.endswith(".scope") else "")

    def checkpoint(self, path: Path) -> None:
        """Write its processes to `path`.  Raises NotSupported: later."""
        raise NotSupported(f"checkpoint is not supported yet: {self.id} cannot be written to {os.fspath(path)}")

    @classmethod
    def restore(cls, name: str, path: Path) -> Container:
        """Make a container from what `checkpoint` wrote.  Raises NotSupported: later."""
        raise NotSupported(f"restore is not supported yet: {name} cannot be made from {os.fspath(path)}")

    def destroy(self, *, force: bool = False, warn: Callable[[str], None] | None = None) -> None:
        """Remove it, with its cgroup and its state; then its poststop hooks are run.

        A container that was only created is killed; one that runs is with `force`, and raises WrongStatus without.
        A hook that fails is told to `warn` (by default a RuntimeWarning): it changes nothing.
        """
        with self._locked() as (place, record):
            status = place.status(record)
            if record.held and (force or place.has_ended()):
                held.end(place, record)
                return
            if status not in (Status.STOPPED, Status.CREATED, Status.CREATING) and not force:
                raise WrongStatus(f"cannot delete container {self.id} that is not stopped: {status}")
            if status == Status.CREATING:  # by somebody who is no more: we hold the lock
                remove_left_over(place)
                return
            if status != Status.STOPPED:
                self._end(record)
            elif record.cgroup:
                cgroup.kill(record.cgroup)
            from sandbox.runtime.hooks import poststop  # late: only who destroys

            run_hooks = poststop(place, record)
            if record.cgroup:
                cgroup.remove(record.cgroup)
            place.remove()
        for message in run_hooks():
            if warn is None:
                import warnings  # late: hardly ever

                warnings.warn(message, RuntimeWarning, stacklevel=2)
            else:
                warn(message)

    # --- waiting ---

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the first process has ended, and return its exit status, 128+N for a signal N.

        It is not our child, unless we are a child subreaper (prctl(2)): before Linux 6.15 there is but a moment in which
        the status can be read.  None where nobody tells, or where it had ended before this object was made.  Raises
        TimeoutError after `timeout` seconds.
        """
        if self._ended is not None:
            return self._ended
        if self._process < 0:
            with self._open() as (place, record):
                if self._adopt(record) < 0:
                    self._ended = _kept_status(place)
                    return self._ended
        waited = self._monitor if self._monitor >= 0 else self._process
        if not wait_end(waited, timeout):
            raise TimeoutError(f"{self.id} has not ended within {timeout:g} s")
        self._ended = exit_status(waited)
        if self._ended is None and self._monitor >= 0:
            try:
                with self._open() as (place, _):
                    self._ended = _kept_status(place)
            except NoSuchContainer:
                pass  # nothing is kept of it
        return self._ended

    def logs(self, *, follow: bool = False) -> Iterator[Entry]:
        """Return what the command of a detached sandbox has said, as far as it is kept; with `follow`, until it ends.

        Raises NotSupported for one that is not detached, whose streams are its caller's.
        """
        from sandbox.runtime.logs import open_log  # late: only who reads one

        with self._open() as (place, record):
            log = open_log(place, record)
        return (entry for entry in log.entries(follow=follow) if entry is not None)

    def result(self) -> dict[str, Any]:
        """Return how a detached sandbox has ended, {} while it has not; docs/report.md describes it."""
        with self._open() as (place, _):
            return place.result()

    def notify_oom(self) -> Notifications:
        """Return the kernel's kills in it for want of memory, as they happen, until it ends.

        Raises HostError where the controller memory is not delegated.
        """
        from sandbox.runtime.events import oom

        with self._open() as (_, record):
            return oom(record.cgroup)

    def notify_memory_pressure(self, level: str) -> Notifications:
        """Return the times at which memory was scarce by `level` (`sandbox.runtime.events.Pressure`), until it ends.

        Raises HostError where the kernel does not tell, ValueError for another level.
        """
        from sandbox.runtime.events import memory_pressure

        with self._open() as (_, record):
            return memory_pressure(record.cgroup, level)

    # --- its life as that of a block ---

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.destroy(force=True)
        except NoSuchContainer:
            pass  # destroyed within
        finally:
            self.close()


def _release(record: Record) -> None:
    """Let go on a sandbox whose command was killed while it stood: its process 1 and its monitor have to see that."""
    from sandbox.runtime import standing  # late: hardly ever

    try:
        standing.release(record)
    except ProcessLookupError:
        return  # it has seen it


def _kept_status(place: Place) -> int | None:
    """Return the exit status in what is kept of a detached sandbox."""
    status = (place.result().get("exit") or {}).get("status")
    return status if isinstance(status, int) else None


def _cgroup_of(record: Record) -> str:
    if not record.cgroup:
        raise HostError(
            "cannot toggle freezer: cgroups not configured for container",
            hint="set linux.cgroupsPath to a cgroup that is delegated to you",
        )
    return record.cgroup
