"""The operations that build the new root, and go there; part of the instruction set (`ops.py`)."""

from __future__ import annotations

from sandbox.plan.op import U32, U64, Op, Text, Texts, op


@op(0x10)
class FreshRoot(Op):
    """Make an empty tmpfs the new root; it is attached at the host directory `staging` until the pivot."""

    staging: Text
    options: Texts = ("mode=0755",)


@op(0x11)
class BindRoot(Op):
    """Make the host directory `source` the new root; attached at `staging` until the pivot."""

    source: Text
    staging: Text
    set_attributes: U64 = 0
    propagation: U64 = 1 << 18  # MS_PRIVATE, MS_SLAVE …; of all
    early: U32 = 0  # Early; then it is attached at `source`, whatever `staging` says


@op(0x13)
class MakeSymlink(Op):
    """Make `target` below the new root a symlink to `destination`."""

    target: Text
    destination: Text


@op(0x14)
class BindMount(Op):
    """Graft the host tree `source`, a path without symlinks, onto `target`, a path below the new root."""

    source: Text
    target: Text
    recursive: U32 = 1
    set_attributes: U64 = 0  # MOUNT_ATTR_*, mount_setattr(2): of the mount itself
    clear_attributes: U64 = 0
    set_recursive: U64 = 0  # of it and of all below it
    clear_recursive: U64 = 0
    propagation: U64 = 0  # MS_PRIVATE, MS_SLAVE …; of all
    uid_map: Text = ""  # id-mapped, as MapIds has it; empty: as it is
    gid_map: Text = ""
    map_recursive: U32 = 0
    early: U32 = 0  # Early


@op(0x15)
class NewMount(Op):
    """Mount a new `fstype` on `target`, with the options `key` or `key=value` of that file system."""

    fstype: Text
    target: Text
    options: Texts = ()
    attributes: U64 = 0  # MOUNT_ATTR_*, fsmount(2)
    mode: U32 = 0o755  # of the mount point, where it has to be made
    propagation: U64 = 0
    take_mode: U32 = 0  # have, as option `mode`, that of a directory that was there, unless an option says else
    copy_up: U32 = 0  # copy what lies at the target into it
    uid_map: Text = ""
    gid_map: Text = ""


@op(0x16)
class BindDevice(Op):
    """Bind the host's device `source` onto `target`, once it is known to be major:minor of that kind."""

    source: Text
    target: Text
    major: U32
    minor: U32
    block: U32 = 0


@op(0x17)
class Mask(Op):
    """Cover `target` below the new root: a directory with an empty read-only one, anything else with /dev/null."""

    target: Text


@op(0x18)
class MakeReadOnly(Op):
    """Make the tree at `target` below the new root read-only, by a bind mount over itself."""

    target: Text


@op(0x19)
class SealRoot(Op):
    """Set mount attributes on the new root's own mount (not on what is mounted in it)."""

    set_attributes: U64


@op(0x1A)
class PivotRoot(Op):
    """Make the new root the root, and let go of the host's tree, pivot_root(2)."""


@op(0x1B)
class ShowCommand(Op):
    """Bind the host's file that the command's name leads to, read-only, to the same place below the new root.

    For a name with a `/` alone; a relative one is taken from the caller's directory outside, and from `directory` inside.
    """

    directory: Text


@op(0x1C)
class MakeFifo(Op):
    """Make `target` below the new root a fifo, unless it is one."""

    target: Text
    mode: U32 = 0o666
    uid: U32 = 0xFFFFFFFF  # -1: whoever makes it
    gid: U32 = 0xFFFFFFFF


@op(0x1D)
class ChangeMount(Op):
    """Change the attributes and the propagation of what is mounted at `target` below the new root."""

    target: Text
    set_attributes: U64 = 0  # as BindMount has them
    clear_attributes: U64 = 0
    set_recursive: U64 = 0
    clear_recursive: U64 = 0
    propagation: U64 = 0
    propagation_recursive: U32 = 0


@op(0x1E)
class BindConsole(Op):
    """Bind the container's terminal, where there is one, onto /dev/console."""


@op(0x1F)
class MakeDirectory(Op):
    """Make the directory `path` below the new root, with its parents, unless it is there."""

    path: Text
    mode: U32 = 0o755
