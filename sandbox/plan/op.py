"""What an operation of a plan is: its fields, its code, the stage in which it is read, and its place in a plan.

Operations of the *monitor* stage are read by the half of nsinit on the host's side; those of the
*init* stage are executed inside, in the order of the plan; those of the *process* stage too, and
once more by each process that joins the container later (`exec`).

Every start pays for this module: it does without enum, typing and msgspec, which cost more time
than all the rest of a compilation.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    _OpType = TypeVar("_OpType", bound="type[Op]")
else:

    def dataclass_transform(**_):
        return lambda cls: cls


# How a field is stored: `layout.py` goes by the name of the annotation.
U32 = int
U64 = int
Text = str  # without NUL; in the plan an offset into the pool of texts
Texts = tuple[str, ...]
Blob = bytes


class Flag:
    """What the dispatcher does about an operation's failure or presence (bits)."""

    IF_PRESENT = 1  # ENOENT and ENOTDIR pass
    MAY_FAIL = 2  # a refusal passes (not a lack of memory …); the next operation may be its OTHERWISE
    OTHERWISE = 4  # executed only if the operation before failed
    UNLESS_PRESENT = 8  # EEXIST passes
    JOINED = 16  # executed only by a process that joins later


class TerminalMode:
    """When the command gets a pseudo-terminal of the sandbox's own."""

    NEVER = 0
    AUTO = 1  # for each of the standard descriptors that is a terminal
    ALWAYS = 2


class ReadinessMode:
    """Who says that what runs is ready."""

    NONE = 0
    START = 1  # the monitor, when the command has been executed
    COMMAND = 2  # the command, to a socket of the sandbox's own; the monitor passes it on


class Early:
    """Whether a mount's source is taken before the first process becomes who it is inside, and before its mount
    namespace is cut off from the caller's."""

    NO = 0
    OPEN = 1  # the caller has a way to it, and who is root inside may have none
    COPY = 2  # what is mounted in it is seen outside, and what is mounted there inside


class HookStage:
    """When a hook is run; runtime-spec, config.md#posix-platform-hooks."""

    PRESTART = 0
    CREATE_RUNTIME = 1
    CREATE_CONTAINER = 2
    START_CONTAINER = 3
    POSTSTART = 4
    POSTSTOP = 5


class LabelKind:
    """Whose label a process gets at its next execve(2)."""

    APPARMOR = 0
    SELINUX = 1


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Op:
    """An operation; subclasses declare its fields in the order in which they are stored, and defaults where they
    have one.  Given by keyword; not to be changed afterwards."""

    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)

    def __init__(self, **values: Any) -> None:
        for name in self._fields:
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__}: {name} is missing")
        if not values.keys() <= set(self._fields):
            raise TypeError(f"{type(self).__name__}: {sorted(values.keys() - set(self._fields))} are no fields")
        self.__dict__.update(values)

    def values(self) -> dict[str, Any]:
        """Return every field with its value."""
        return {name: getattr(self, name) for name in self._fields}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and type(self) is type(other) and self.values() == other.values()

    def __hash__(self) -> int:
        return hash((type(self).__name__, *self.values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.values().items())})"


MONITOR = "monitor"
INIT = "init"
PROCESS = "process"

OPS: dict[int, type[Op]] = {}
CODES: dict[type[Op], int] = {}
STAGES: dict[int, str] = {}


def op(code: int, stage: str = INIT) -> Callable[[_OpType], _OpType]:
    """Give a class its opcode and the stage in which it is read."""

    def register(cls: _OpType) -> _OpType:
        assert code not in OPS
        OPS[code] = cls
        CODES[cls] = code
        STAGES[code] = stage
        return cls

    return register


class Step:
    """An operation, where it came from in the user's words, and how its failure is taken (Flag)."""

    __slots__ = ("flags", "op", "origin")

    def __init__(self, op: Op, origin: str = "", flags: int = 0) -> None:
        self.op = op
        self.origin = origin
        self.flags = flags

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            return NotImplemented
        return (self.op, self.origin, self.flags) == (other.op, other.origin, other.flags)

    def __hash__(self) -> int:
        return hash((self.op, self.origin, self.flags))

    def __repr__(self) -> str:
        return f"Step({self.op!r}, {self.origin!r}, {self.flags})"
