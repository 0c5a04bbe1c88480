"""A mount's options, sorted by who takes them: mount_setattr(2), the file system, or we.

The words are those of the specification (`config.md#mounts`), in the meaning of mount(8); those of runc and crun alike.
"""

from __future__ import annotations

from posixpath import normpath

from sandbox.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.spec.runtime import Mount

# MOUNT_ATTR_*, mount_setattr(2)
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME = 0x70  # one number for all three: 0 is relatime
NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x10, 0x20, 0x80, 0x200000

# option: what it sets and what it clears.  Each has a recursive form, with an "r" before it.
ATTRIBUTES = {
    "ro": (RDONLY, 0),
    "rw": (0, RDONLY),
    "nosuid": (NOSUID, 0),
    "suid": (0, NOSUID),
    "nodev": (NODEV, 0),
    "dev": (0, NODEV),
    "noexec": (NOEXEC, 0),
    "exec": (0, NOEXEC),
    "noatime": (NOATIME, ATIME),
    "atime": (0, ATIME),
    "relatime": (0, ATIME),
    "norelatime": (0, 0),  # only strictatime is another thing
    "strictatime": (STRICTATIME, ATIME),
    "nostrictatime": (0, ATIME),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
}
# Of the file system as a whole; a mount that shows one that is there cannot change it.
FILESYSTEM = ("dirsync", "iversion", "lazytime", "mand", "sync")
# What is so anyway, or is about what the kernel prints.
DEFAULTS = ("async", "defaults", "loud", "noiversion", "nolazytime", "nomand", "silent")
# MS_*, mount(2).  Each has a recursive form.
PROPAGATION = {"unbindable": 1 << 17, "private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20}
OURS = ("bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap")
# SELinux's, of the file system.
LABELS = ("context", "defcontext", "fscontext", "rootcontext")


class Options:
    """A mount's options; later ones win over earlier ones."""

    __slots__ = (
        "bind",
        "clear",
        "clear_recursive",
        "copy_up",
        "data",
        "filesystem",
        "id_map",
        "propagation",
        "propagation_recursive",
        "recursive",
        "remount",
        "set",
        "set_recursive",
    )

    def __init__(self) -> None:
        self.set = self.clear = 0  # MOUNT_ATTR_* of the mount itself
        self.set_recursive = self.clear_recursive = 0  # and of all below it
        self.propagation = 0
        self.propagation_recursive = False
        self.bind = self.recursive = self.remount = self.copy_up = False
        self.id_map = ""  # "idmap" or "ridmap"
        self.filesystem: list[str] = []
        self.data: list[str] = []


def target_of(mount: Mount) -> str:
    """Return the place of a mount below the root."""
    return normpath("/" + mount.destination.lstrip("/"))


def parse_options(mount: Mount) -> Options:
    """Sort the options of `mount`."""
    options = Options()
    for option in mount.options:
        bare = option[1:] if option.startswith("r") else ""
        if option in ATTRIBUTES:
            options.set, options.clear = _change(options.set, options.clear, option)
        elif bare in ATTRIBUTES:
            options.set_recursive, options.clear_recursive = _change(
                options.set_recursive, options.clear_recursive, bare
            )
        elif option in PROPAGATION or bare in PROPAGATION:
            options.propagation = PROPAGATION[option if option in PROPAGATION else bare]
            options.propagation_recursive = bare in PROPAGATION
        elif option in ("bind", "rbind"):
            options.bind = True
            options.recursive = options.recursive or option == "rbind"
        elif option in ("idmap", "ridmap"):
            options.id_map = option
        elif option == "remount":
            options.remount = True
        elif option == "tmpcopyup":
            options.copy_up = True
        elif option in FILESYSTEM:
            options.filesystem.append(option)
        elif option not in DEFAULTS:
            options.data.append(option)
    options.bind = options.bind or mount.type == "bind"
    # What is said of all is said of the mount itself too, and is the last word on it, as in runc.
    said = options.set_recursive | options.clear_recursive
    options.set &= ~said
    options.clear &= ~said
    return options


def _change(sets: int, clears: int, option: str) -> tuple[int, int]:
    more, less = ATTRIBUTES[option]
    sets, clears = sets & ~less | more, clears & ~more | less
    # The kernel takes the bits of the access time together or not at all.
    return sets, clears | ATIME if (sets | clears) & ATIME else clears


def refuse_filesystem_options(options: Options, where: str) -> None:
    """Refuse options of a file system, where none is mounted.  Raises SpecError."""
    for option in (*options.filesystem, *options.data):
        why = "is of the file system, which is there already" if option in FILESYSTEM else "is none of a bind mount"
        raise SpecError(f'the option "{option}" {why}', where=where, hint="leave it out")


def label_option(options: Options) -> str:
    """Return the first option that only SELinux knows, "" if there is none."""
    return next((option for option in options.data if option.partition("=")[0] in LABELS), "")
