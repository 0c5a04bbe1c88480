"""Who the caller is, and which further ids the caller may use: passwd(5), subuid(5), subgid(5).

The files are parsed strictly: a line that is not understood is refused, never guessed at, as an id
too many is somebody else's.
"""

from __future__ import annotations

from sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from sandbox.plan.inputs import Inputs

ID_LIMIT = 2**32 - 1  # (uid_t)-1 means "no id"


class Range:
    """`size` consecutive ids from `start`."""

    __slots__ = ("size", "start")

    def __init__(self, start: int, size: int) -> None:
        self.start = start
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Range) and (self.start, self.size) == (other.start, other.size)

    def __hash__(self) -> int:
        return hash((self.start, self.size))

    def __repr__(self) -> str:
        return f"Range({self.start}, {self.size})"


class Account:
    """What passwd(5) says of a user."""

    __slots__ = ("home", "name")

    def __init__(self, name: str, home: str) -> None:
        self.name = name
        self.home = home

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Account) and (self.name, self.home) == (other.name, other.home)

    def __hash__(self) -> int:
        return hash((self.name, self.home))

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.home!r})"


def account(uid: int, inputs: Inputs) -> Account | None:
    """Return the account of `uid`, None where there is none."""
    try:
        content = inputs.read("/etc/passwd").decode(errors="surrogateescape")
    except OSError:
        content = ""
    for line in content.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2] == str(uid):
            return Account(fields[0], fields[5])
    import pwd  # late: only for accounts that a directory service knows

    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None
    return Account(entry.pw_name, entry.pw_dir)


def subordinate(kind: Literal["uid", "gid"], uid: int, name: str, inputs: Inputs) -> list[Range]:
    """Return the ranges that /etc/sub`kind` gives to the user, who is named there by `name` or by `uid`.

    Also for `kind` "gid" the lines name the user, not a group.  Raises HostError where there is no
    range, or where a line of the file is not understood.
    """
    path = f"/etc/sub{kind}"
    try:
        content = inputs.read(path)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise HostError(f"cannot be read: {error.strerror}", where=path) from error
    owners = {str(uid), name} - {""}
    ranges = [entry for owner, entry in parse(path, content) if owner in owners]
    if not ranges:
        from sandbox.kernel.probe.ids import give  # late: for a refusal alone

        raise HostError(
            f"gives no {kind}s to {name or uid}, which a range of ids needs",
            where=path,
            hint=give(kind, name or str(uid)),
        )
    return ranges


def parse(path: str, content: bytes) -> list[tuple[str, Range]]:
    """Return owner and range of each line.  Raises HostError that names the line."""
    entries = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        where = f"{path}:{number}"
        fields = line.decode(errors="replace").split(":")
        if len(fields) != 3 or not fields[0]:
            raise HostError('is not "name:start:count"', where=where, hint="correct the line, as root")
        start, count = (_number(field, where) for field in fields[1:])
        if not count or start + count > ID_LIMIT:
            raise HostError(f"{start} and {count} following are not ids", where=where, hint="correct the line, as root")
        entries.append((fields[0], Range(start, count)))
    return entries


def free_range() -> str:
    """Return "first-last" of 65536 ids that nobody has, as usermod(8) takes it."""
    first = 100000
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(path, "rb") as file:
                entries = parse(path, file.read())
        except (OSError, HostError):  # whoever gives a range will see
            continue
        first = max([first, *(entry.start + entry.size for _, entry in entries)])
    return f"{first}-{first + 65535}"


def _number(text: str, where: str) -> int:
    # int() would also take "+1", " 1", "1_000" and digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise HostError(f'"{text}" is not a number', where=where, hint="correct the line, as root")
    return int(text)
