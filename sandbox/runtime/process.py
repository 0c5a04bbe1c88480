"""A further process in a container, `Container.exec`."""

from __future__ import annotations

import os
import select
import socket
import tempfile

from sandbox.errors import ContainerError
from sandbox.kernel.process import number_of
from sandbox.runtime.launch import Launcher, Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO, Any, Self

    from sandbox.runtime.launch import Stream

_PIDFD_SIZE = 64


class Process:
    """A process that runs in a container beside its first one.

    As long as it runs a small `sandbox-oci` of ours waits for it, which tells its exit status.
    """

    def __init__(self, running: Running, pidfd: int) -> None:
        """Made by `start`."""
        self._running = running
        self._pidfd = pidfd
        self.pid = number_of(pidfd)  # as the host counts
        self.stdin: IO[bytes] | None = running.process.stdin  # of those that were given as PIPE
        self.stdout: IO[bytes] | None = running.process.stdout
        self.stderr: IO[bytes] | None = running.process.stderr

    @classmethod
    def start(
        cls,
        root: str,
        name: str,
        args: Sequence[str] = (),
        *,
        program: str | None = None,
        process: Mapping[str, Any] | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        additional_gids: Sequence[int] = (),
        cap: Sequence[str] = (),
        cgroup: str | None = None,
        tty: bool = False,
        no_new_privs: bool = False,
        ignore_paused: bool = False,
        preserve_fds: int = 0,
        pass_fds: Sequence[int] = (),
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> Process:
        """Start `args` in the container `name`, and return when it runs.

        It is like the container's own command but for what is given: `env` is added, `user` is UID[:GID], `cap` are
        capabilities besides, `cgroup` is one below the container's.  `process` is a whole process object of the
        specification instead.  With `tty` it has a terminal, which our own streams stand for.

        Raises WrongStatus, CommandFailed, ContainerError.
        """
        launcher = Launcher(root, program)
        options = [
            *(["--cwd", cwd] if cwd is not None else []),
            *(word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")),
            *(["--user", user] if user is not None else []),
            *(word for gid in additional_gids for word in ("--additional-gids", str(gid))),
            *(word for capability in cap for word in ("--cap", capability)),
            *(["--cgroup", cgroup] if cgroup is not None else []),
            *(["--tty"] if tty else []),
            *(["--no-new-privs"] if no_new_privs else []),
            *(["--ignore-paused"] if ignore_paused else []),
            *(["--preserve-fds", str(preserve_fds)] if preserve_fds else []),
        ]
        with tempfile.TemporaryDirectory(prefix="sandbox-exec-") as directory:
            if process is not None:
                import json

                with open(f"{directory}/process.json", "w") as file:
                    json.dump(process, file)
                options += ["--process", f"{directory}/process.json"]
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
                listener.bind(f"{directory}/pidfd")
                listener.listen(1)
                running = Running(
                    launcher, "exec", ["--pidfd-socket", f"{directory}/pidfd", *options, name, *args],
                    stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds,
                )  # fmt: skip
                return cls(running, _await(running, listener))

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return its exit status, 128+N for a signal N.

        Raises TimeoutError after `timeout` seconds.
        """
        import subprocess

        try:
            status = self._running.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.pid} has not ended within {timeout:g} s") from error
        return status if status >= 0 else 128 - status

    def signal(self, number: int) -> None:
        """Signal it.  Raises ProcessLookupError when it has ended."""
        from signal import pidfd_send_signal

        pidfd_send_signal(self._pidfd, number)

    def fileno(self) -> int:
        """Return a pidfd: readable, for poll(2) and event loops, when the process has ended."""
        return self._pidfd

    def close(self) -> None:
        """Let go of what stands for it; the process goes on."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()
        self.close()

    def __repr__(self) -> str:
        return f"<Process {self.pid}>"


def _await(running: Running, listener: socket.socket) -> int:
    """Return the pidfd that comes when the process runs.  Raises ContainerError where it does not come to that."""
    ended = os.pidfd_open(running.process.pid)
    try:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(ended, select.POLLIN)
        poll.poll()
        # What was sent before the end is looked for after it.
        poll.unregister(ended)
        if poll.poll(0):
            connection, _ = listener.accept()
            with connection:
                _, descriptors, _, _ = socket.recv_fds(connection, _PIDFD_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
            if descriptors:
                return int(descriptors[0])
        status = running.process.wait()
        raise running.failure(status) if status else ContainerError("the process ended before it was known")
    except ContainerError:
        running.close()
        raise
    finally:
        os.close(ended)
