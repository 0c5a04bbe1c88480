"""What a plan was made from.

Whoever looks at the host while a plan is made does it through `Inputs`, which writes down what
was seen.  A kept plan is executed again only if everything in this list is as it was; nsinit
compares the same fields (`nsinit/inputs.c`).
"""

from __future__ import annotations

import os
import stat
from errno import EFBIG, EINVAL, EISDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_FILE = 1 << 20
"""What is read here was written by hand; more than this is a mistake, or an attack on our memory."""


LONGEST_LINE = 4096
"""Of a file of the kernel's."""


class InputKind:
    """How an input is compared; the numbers are part of the plan's format."""

    FILE = 1  # content was read: device, inode, size, mtime and ctime
    LISTING = 2  # directory was listed: device, inode, mtime and ctime
    NODE = 3  # what the path itself is: device, inode and type (of a symlink the ctime too), not followed
    ABSENT = 4  # nothing is there
    ENVIRONMENT = 5  # a variable and its value
    UNSET = 6  # a variable that is not set
    KERNEL = 7  # release and version of the kernel, as uname(2) says
    OWN_CGROUP = 8  # the cgroup that we are in, cgroups(7): what /proc/self/cgroup says behind "0::"
    WORDS = 9  # what a file of the kernel's, of one short line and without times, says


class Input:
    """One thing that was looked at; `kind` is an InputKind, `name` a path or a variable."""

    __slots__ = ("ctime_ns", "device", "inode", "kind", "mode", "mtime_ns", "name", "size", "value")

    def __init__(
        self,
        kind: int,
        name: str,
        value: str = "",
        *,
        device: int = 0,
        inode: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        ctime_ns: int = 0,
        mode: int = 0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.device = device
        self.inode = inode
        self.size = size
        self.mtime_ns = mtime_ns
        self.ctime_ns = ctime_ns
        self.mode = mode

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Input) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def __repr__(self) -> str:
        return f"Input({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"


class Inputs:
    """The eye through which the host is seen while a plan is made."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.environment = os.environ if environment is None else environment
        self.seen: dict[tuple[int, str], Input] = {}

    def _note(self, entry: Input) -> None:
        self.seen.setdefault((entry.kind, entry.name), entry)

    def variable(self, name: str) -> str | None:
        """Return the value of an environment variable, None if unset."""
        value = self.environment.get(name)
        if value is None:
            self._note(Input(InputKind.UNSET, name))
        else:
            self._note(Input(InputKind.ENVIRONMENT, name, value))
        return value

    def read(self, path: str) -> bytes:
        """Return the content of a regular file.  Raises OSError, after writing down that it was absent."""
        return self._read(path, 0)[0]

    def read_itself(self, path: str) -> tuple[bytes, os.stat_result]:
        """As `read`, of the file at `path` itself, and with what that file was: a symlink raises OSError (ELOOP)."""
        return self._read(path, os.O_NOFOLLOW)

    def _read(self, path: str, flags: int) -> tuple[bytes, os.stat_result]:
        try:
            # Nonblocking: somebody may have put a fifo there.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
        except FileNotFoundError:
            self._note(Input(InputKind.ABSENT, path))
            raise
        with open(descriptor, "rb") as file:
            # Before the content: a change while we read makes the plan stale, not wrong.
            status = os.fstat(descriptor)
            self._note(_entry(InputKind.FILE, path, status))
            if not stat.S_ISREG(status.st_mode):
                number, reason = (EISDIR, "") if stat.S_ISDIR(status.st_mode) else (EINVAL, "not a regular file")
                raise OSError(number, reason or os.strerror(number), path)
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise OSError(EFBIG, f"larger than {LARGEST_FILE >> 20} MiB", path)
        return content, status

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory, [] if it is absent or no directory.

        Raises OSError where it cannot be listed, after writing down what it was: its ctime tells when
        that may have changed.
        """
        try:
            status = os.stat(path)
        except FileNotFoundError:
            self._note(Input(InputKind.ABSENT, path))
            return []
        except OSError:
            self._note_closed(os.path.dirname(path))
            raise
        self._note(_entry(InputKind.LISTING, path, status))
        return sorted(os.listdir(path)) if stat.S_ISDIR(status.st_mode) else []

    def _note_closed(self, directory: str) -> None:
        """Note a directory into which we cannot look: when that changes, its ctime does too."""
        try:
            self._note(_entry(InputKind.LISTING, directory, os.stat(directory)))
        except OSError:
            pass  # closed as well: what lies further up is noted by whoever looks there

    def node(self, path: str) -> os.stat_result | None:
        """Return lstat(2) of `path`, None if nothing is there.  Raises OSError otherwise (EACCES …)."""
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._note(Input(InputKind.ABSENT, path))
            return None
        except OSError:
            self._note_closed(os.path.dirname(path))
            raise
        self._note(_entry(InputKind.NODE, path, status))
        return status

    def absent(self, path: str) -> None:
        """Write down that `path` is taken for absent, whatever may lie there now."""
        self._note(Input(InputKind.ABSENT, path))

    def awaited(self, path: str) -> None:
        """Write down that `path` is still to be made: the plan is for this run alone."""
        self._note(Input(InputKind.NODE, path))

    def own_cgroup(self) -> str:
        """Return the cgroup that we are in, from the hierarchy's root: "/a/b"; "" where there is none."""
        lines = _kernel_file("/proc/self/cgroup").split("\n")
        found = next((line[len("0::") :] for line in lines if line.startswith("0::")), "")
        self._note(Input(InputKind.OWN_CGROUP, "", found))
        return found

    def words(self, path: str) -> str:
        """Return the line in a file of the kernel's, without its end; "" where there is none."""
        found = _kernel_file(path).removesuffix("\n")
        self._note(Input(InputKind.WORDS, path, found))
        return found

    def kernel(self) -> str:
        """Return the kernel's release."""
        names = os.uname()
        self._note(Input(InputKind.KERNEL, "", f"{names.release} {names.version}"))
        return names.release


def _kernel_file(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.fsdecode(os.read(descriptor, LONGEST_LINE))
    except OSError:  # ENODEV: a cgroup that was just removed
        return ""
    finally:
        os.close(descriptor)


def _entry(kind: int, path: str, status: os.stat_result) -> Input:
    """Keep of `status` what `kind` compares; what may change without a meaning is left at 0."""
    if kind == InputKind.NODE:
        # A symlink that is replaced may get the inode number of the old one: its time tells them apart.
        changed = status.st_ctime_ns if stat.S_ISLNK(status.st_mode) else 0
        return Input(
            kind,
            path,
            device=status.st_dev,
            inode=status.st_ino,
            ctime_ns=changed,
            mode=stat.S_IFMT(status.st_mode),
        )
    return Input(
        kind,
        path,
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        mode=stat.S_IFMT(status.st_mode),
    )
