"""What a container is and does, as a Python object: the half of `Container` that changes nothing."""

from __future__ import annotations

import os

from sandbox.errors import HostError, NotSupported, PlanError, WrongStatus
from sandbox.runtime import processes as members
from sandbox.runtime.handle import Handle
from sandbox.runtime.record import State, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.runtime.stats import Stats
    from sandbox.runtime.usage import Meter, Usage
    from sandbox.spec.runtime import Spec


class Seen(Handle):
    """A container, to be looked at."""

    @property
    def pid(self) -> int:
        """The number of its first process as the host counts, 0 when that has ended."""
        with self._open() as (place, record):
            return 0 if place.status(record) == Status.STOPPED else record.pid

    def status(self) -> str:
        """Return what it does (Status), derived from its first process."""
        with self._open() as (place, record):
            return place.status(record)

    def state(self) -> State:
        """Return its state as the runtime specification has it."""
        with self._open() as (place, record):
            status = place.status(record)
            document = record.document()
        return State(
            oci_version=document.get("ociVersion", ""),
            id=self.id,
            pid=0 if status == Status.STOPPED else record.pid,
            status=status,
            bundle=document.get("bundle", ""),
            rootfs=document.get("rootfs", ""),
            created=record.created,
            annotations=document.get("annotations") or {},
        )

    @property
    def cgroup(self) -> str:
        """The directory of its cgroup, "" where it has none of its own."""
        with self._open() as (_, record):
            return record.cgroup

    def owner(self) -> str:
        """Return the name of the user whose it is, #UID for one without a name."""
        import pwd  # late: only `list` asks

        with self._open() as (place, _):
            uid = os.fstat(place.fd).st_uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"#{uid}"

    def config(self) -> Spec:
        """Return the configuration that it was made from.  Raises SpecError if that can be read no more."""
        from sandbox.runtime.bundle import kept_config
        from sandbox.spec.document import decode_leniently  # late: msgspec
        from sandbox.spec.runtime import Spec

        with self._open() as (place, record):
            if record.held:
                raise NotSupported(f"{self.id} was made from profiles", hint="see sandbox spec, and sandbox inspect")
            try:
                content = kept_config(place.read("plan"))
            except (FileNotFoundError, PlanError):  # another version's; then what the bundle says now
                path = f"{record.document()['bundle']}/config.json"
                try:
                    with open(path, "rb") as file:
                        content = file.read()
                except OSError as error:
                    raise HostError(f"cannot be read: {error.strerror}", where=path) from error
        return decode_leniently(content, Spec)[0]

    def processes(self) -> list[int]:
        """Return the processes in it, as the host counts; some may have ended by now, unless it is paused."""
        with self._open() as (_, record):
            return members.inside(record)

    def stats(self) -> Stats:
        """Return what it uses, in the shape of runc's `events --stats`.

        Raises HostError for a container without a cgroup, WrongStatus for one that has ended.
        """
        from sandbox.runtime.stats import read_stats  # late: only `events` asks

        with self._open() as (place, record):
            if place.status(record) == Status.STOPPED:
                raise WrongStatus(f"container with id {self.id} is not running")
            if not record.cgroup:
                raise HostError(
                    "a container without a cgroup counts nothing",
                    hint="set linux.cgroupsPath to a cgroup that is delegated to you",
                )
            return read_stats(record.cgroup)

    def usage(self) -> Usage:
        """Return what it uses now, also without a cgroup; what nobody counts is None.

        `sandbox.runtime.usage.Meter` reads again and again, and says what was used between.  Raises WrongStatus for one
        that has ended.
        """
        from sandbox.runtime.usage import Meter

        return self._meter(Meter).read()

    def _meter(self, kind: type[Meter]) -> Meter:
        with self._open() as (place, record):
            if place.status(record) == Status.STOPPED:
                raise WrongStatus(f"container with id {self.id} is not running")
            return kind(record)
