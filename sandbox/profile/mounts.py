"""What is mounted, covered and linked to put a policy in force.

Decides the order and which rules need a mount of their own; the rules themselves are decided in
`policy`.  Everything of the host is shown at its own real path, so that one path means one thing
inside and outside; but for caches, which the host has elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.errors import ProfileError
from sandbox.profile.policy import VISIBLE, Access, Policy, Rule
from sandbox.spec.runtime import Mount

READ_ONLY_BIND = ["rbind", "rro", "rnosuid", "rnodev"]
WRITABLE_BIND = ["rbind", "rw", "rnosuid", "rnodev"]
_PSEUDO = ["nosuid", "noexec", "nodev"]

# What every container has: config-linux.md, "Default Filesystems".
STANDARD = (
    ("/proc", "proc", "proc", _PSEUDO),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    # No gid=: the group tty of the host has no id in a map of one's own.
    ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/dev/shm", "tmpfs", "shm", [*_PSEUDO, "mode=1777", "size=1g"]),
    ("/dev/mqueue", "mqueue", "mqueue", _PSEUDO),
)
SYSFS = ("/sys", "sysfs", "sysfs", [*_PSEUDO, "ro"])
# The kernel mounts no sysfs for who has no network namespace of his own.
HOST_SYSFS = ("/sys", "bind", "/sys", ["rbind", "rro", "rnosuid", "rnoexec", "rnodev"])
CGROUP = ("/sys/fs/cgroup", "cgroup", "cgroup", [*_PSEUDO, "relatime", "ro"])

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
# Anybody may write to files in /proc/pressure, and have the kernel watch the whole machine for him.
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/pressure", "/proc/sys", "/proc/sysrq-trigger")

_SHARED_DIRECTORIES = ("/tmp", "/var/tmp", "/dev/shm")  # everyone's, with the sticky bit


class Placed(NamedTuple):
    """Mounts, masks and symlinks, each with where it comes from."""

    mounts: list[tuple[Mount, str]]
    masked: list[tuple[str, str]]
    links: dict[str, tuple[str, str]]


def standard(*, own_network: bool) -> list[Mount]:
    """Return the mounts that every sandbox has."""
    rows = (*STANDARD, SYSFS if own_network else HOST_SYSFS, CGROUP)
    return [
        Mount(destination=destination, type=kind, source=source, options=list(options))
        for destination, kind, source, options in rows
    ]


def place(policy: Policy, *, home: str, fresh: bool) -> Placed:
    """Return what puts `policy` in force, parents before what lies in them.

    `fresh`: the root is empty; otherwise it is a directory that brings its own tree, in which
    symlinks are not made and hidden paths are covered whatever the policy shows.
    """
    placed = Placed([], [], {})
    rows: dict[str, tuple[Mount, str]] = {}
    for rule in policy.winners.values():
        around = policy.above(rule.path)
        if rule.access is Access.HIDE:
            _hide(policy, rule, around, placed, rows, fresh=fresh)
        elif rule.access is Access.TMP:
            rows[rule.path] = (
                _cache(rule) if rule.source else _tmpfs(rule.path, _mode(rule.path, home)),
                rule.origin.text,
            )
        elif rule.access in VISIBLE and (around is None or around.access is not rule.access):
            rows[rule.path] = (_bind(rule), rule.origin.text)
    _pin(policy, rows, [*rows, *(path for path, _ in placed.masked)])
    placed.mounts.extend(rows[path] for path in sorted(rows, key=lambda path: path.split("/")))
    _link(policy, placed, fresh=fresh)
    return placed


def _bind(rule: Rule) -> Mount:
    options = list(READ_ONLY_BIND if rule.access is Access.READ else WRITABLE_BIND)
    if rule.found.device:
        options.remove("rnodev")  # a device node that was named is meant to be opened
    return Mount(destination=rule.path, type="bind", source=rule.path, options=options)


def _cache(rule: Rule) -> Mount:
    return Mount(destination=rule.path, type="bind", source=rule.source, options=list(WRITABLE_BIND))


def _tmpfs(path: str, mode: str) -> Mount:
    return Mount(destination=path, type="tmpfs", source="tmpfs", options=["nosuid", "nodev", f"mode={mode}"])


def _mode(path: str, home: str) -> str:
    return "1777" if path in _SHARED_DIRECTORIES else "0700" if path == home else "0755"


def _hide(
    policy: Policy,
    rule: Rule,
    around: Rule | None,
    placed: Placed,
    rows: dict[str, tuple[Mount, str]],
    *,
    fresh: bool,
) -> None:
    covers = not fresh or (around is not None and around.access in (*VISIBLE, Access.OWN))
    if any(entry.access is not Access.HIDE for entry in policy.inside(rule.path)):
        if covers:
            # What lies in it is mounted in an empty directory of the same name, which cannot be listed for more.
            rows[rule.path] = (_tmpfs(rule.path, "0555"), rule.origin.text)
    elif covers:
        placed.masked.append((rule.path, rule.origin.text))


def _pin(policy: Policy, rows: dict[str, tuple[Mount, str]], places: list[str]) -> None:
    """Keep the directories in place that lead to something mounted in a writable tree.

    A mount point cannot be renamed from inside, but a directory above it can: what is hidden or
    read-only would lie elsewhere the next time, and something of the program's own in its place.
    """
    for place in places:
        tree = policy.above(place)
        if tree is None or tree.access is not Access.WRITE:
            continue
        directory = place.rpartition("/")[0]
        while directory != tree.path and directory:
            mount = Mount(destination=directory, type="bind", source=directory, options=list(WRITABLE_BIND))
            rows.setdefault(directory, (mount, f"{tree.origin.text}, kept in place for {place}"))
            directory = directory.rpartition("/")[0]


def _link(policy: Policy, placed: Placed, *, fresh: bool) -> None:
    """Make the symlinks anew that lead to what is shown, where no tree of the host shows them."""
    for rule in policy.rules:
        if rule.access is Access.HIDE or not (rule.found.exists or rule.access is Access.TMP):
            continue
        for link in rule.found.links:
            tree = policy.over(link.path)
            if tree is not None and (tree.access in (*VISIBLE, Access.OWN)):
                continue
            if tree is not None and tree.access is Access.HIDE and link.path not in placed.links:
                covered = any(path == tree.path for path, _ in placed.masked)
                if covered:
                    continue
            if not fresh and tree is None:
                if rule.access is Access.TMP:
                    continue
                raise ProfileError(
                    f"{link.path} is a symlink here, which a root of its own need not have",
                    where=rule.origin.text,
                    hint=f"name the target itself: {rule.path}",
                )
            placed.links.setdefault(link.path, (link.target, rule.origin.text))
