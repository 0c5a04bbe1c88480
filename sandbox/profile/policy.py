"""Which rule of `[filesystem]` decides over a path.

The rules of all layers become one for each real path (`Policy`); the nearest rule at or above a path
decides over it.  Here are also the checks that keep a policy from being turned against its author:
what the contained program could have planted, and what it must never write.  What is mounted for
the rules is left to `mounts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from sandbox.errors import ProfileError
from sandbox.profile.load import Origin
from sandbox.profile.paths import below
from sandbox.profile.resolve import Resolved


class Access(IntEnum):
    """What a rule gives; at the same path and in the same layer the higher one wins."""

    OWN = 0  # the sandbox's own /proc, /dev and /sys
    TMP = 1
    READ = 2
    WRITE = 3
    HIDE = 4  # beats everything at the same path, in whatever layer


class Rule(NamedTuple):
    """What one path of a profile asks for."""

    access: Access
    named: str  # as it was written, made absolute
    found: Resolved
    origin: Origin
    optional: bool = False
    source: str = ""  # of TMP: the directory that is shown there, where it is a cache

    @property
    def path(self) -> str:
        """The real path."""
        return self.found.real


def in_vain(policy: Policy) -> Iterator[tuple[Rule, Rule]]:
    """Yield what is to be shown, and what hides it all the same at the same path."""
    for rule in policy.rules:
        winner = policy.winners.get(rule.path)
        if rule.access in VISIBLE and winner is not None and winner.access is Access.HIDE:
            yield rule, winner


OWN_DIRECTORIES = ("/dev", "/proc", "/sys")
VISIBLE = (Access.READ, Access.WRITE)


class Policy:
    """The rule for each path, and which of them decides over another."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = list(rules)
        self.winners: dict[str, Rule] = {}
        self.narrowed: set[str] = set()  # paths at which some rule gives less than writing
        self.absent: dict[str, tuple[str, str]] = {}  # what is to stay absent: as what a stub lies there, and why
        for path in OWN_DIRECTORIES:
            own = Rule(Access.OWN, path, Resolved(path, (), 0o40755), Origin("", -1, file=False))
            self.winners[path] = own
        for rule in self.rules:
            # What is absent needs no hiding, but for the sandbox's own trees, which differ from the host's.
            if rule.found.exists or rule.access is Access.TMP or self.access(rule.path) is Access.OWN:
                self.add(rule)

    def add(self, rule: Rule) -> None:
        """Let `rule` hold at its path, unless the one that is there is stronger."""
        if rule.access in (Access.READ, Access.TMP):
            self.narrowed.add(rule.path)
        present = self.winners.get(rule.path)
        if present is None or _strength(rule) >= _strength(present):
            self.winners[rule.path] = rule

    def above(self, path: str) -> Rule | None:
        """Return the rule that decides over the directory in which `path` lies."""
        while path not in ("/", ""):
            path = path.rpartition("/")[0] or "/"
            if path in self.winners:
                return self.winners[path]
        return None

    def over(self, path: str) -> Rule | None:
        """Return the rule that decides over `path`: its own, or that above it."""
        return self.winners.get(path) or self.above(path)

    def access(self, path: str) -> Access | None:
        """Return what the contained program has at `path`, None if it is not there."""
        rule = self.over(path)
        return None if rule is None else rule.access

    def inside(self, path: str) -> Iterator[Rule]:
        """Yield the rules for what lies in the directory `path`."""
        return (rule for other, rule in self.winners.items() if other != path and below(other, path))


def _strength(rule: Rule) -> tuple[bool, int, int]:
    return (rule.access is Access.HIDE, rule.origin.layer, rule.access)


def check(policy: Policy) -> None:
    """Refuse rules that cannot be kept, or that an earlier run could have bent.  Raises ProfileError."""
    for rule in policy.rules:
        if rule.access is Access.HIDE:
            _check_hidden(policy, rule)
        elif rule.found.exists or rule.access is Access.TMP:
            _check_own(rule)
            _check_links(policy, rule)
            if rule.access is Access.TMP and policy.winners.get(rule.path) is rule:
                _check_tmp(policy, rule)


def _check_own(rule: Rule) -> None:
    """The host's /proc shows the host's processes; /dev and devpts have to be the sandbox's own."""
    path = rule.path
    if below(path, "/proc") or path in ("/dev", "/dev/pts", "/sys/fs/cgroup"):
        raise ProfileError(
            f"{path}: the sandbox has its own",
            where=rule.origin.text,
            hint="leave it out" if path != "/dev" else 'name the devices: read = ["/dev/dri"]',
        )


def _check_links(policy: Policy, rule: Rule) -> None:
    """Refuse a symlink that the contained program could have put there to be shown something else."""
    project = rule.origin.directory
    for link in rule.found.links:
        if project and below(link.path, project) and not below(rule.path, project):
            # In this run it may be read-only; in another one, after the file was approved, it was not.
            raise ProfileError(
                f"{link.path} is a symlink in the project, and leads out of it to {rule.path}",
                where=rule.origin.text,
                hint=f"name the target itself: {rule.path}",
            )
        tree = policy.over(link.path)
        if tree is None or tree.access is not Access.WRITE:
            continue
        around = policy.above(rule.path)
        if rule.path == tree.path or around is tree:
            if around is tree and rule.path in policy.narrowed and policy.winners.get(rule.path) is rule:
                _refuse_widening(rule, link.path, tree)
            continue  # it leads to what could be written anyway
        raise ProfileError(
            f"{link.path} is a symlink in a tree that is writable inside ({tree.origin.text}), and leads out of it "
            f"to {rule.path}",
            where=rule.origin.text,
            hint=f"name the target itself: {rule.path}",
        )


def _refuse_widening(rule: Rule, link: str, tree: Rule) -> None:
    """What is protected, or read-only in that tree, would be so no longer: at one path the later rule wins."""
    if rule.access is Access.WRITE:
        raise ProfileError(
            f"{link} is a symlink in a tree that is writable inside ({tree.origin.text}), and would have {rule.path} "
            "written, which is not to be",
            where=rule.origin.text,
            hint=f"see who made it: ls -l {link}; to have it written all the same, name it itself: {rule.path}",
        )


def _check_tmp(policy: Policy, rule: Rule) -> None:
    if rule.found.exists and not rule.found.directory:
        raise ProfileError(f"{rule.path}: Not a directory", where=rule.origin.text, hint="name a directory")
    around = policy.above(rule.path)
    if not rule.found.exists and around is not None and around.access in VISIBLE:
        raise ProfileError(
            f"{rule.path}: No such file or directory, and it would have to be made on the host, "
            f"as it lies in {around.path} ({around.origin.text})",
            where=rule.origin.text,
            hint=f'create it, or leave it out where it is absent: "?{rule.named}"',
        )


def _check_hidden(policy: Policy, rule: Rule) -> None:
    if rule.path == "/":
        raise ProfileError("/ cannot be hidden", where=rule.origin.text, hint="nothing is shown unless it is named")
    if rule.path in OWN_DIRECTORIES:
        raise ProfileError(
            f"{rule.path}: the sandbox has its own, which cannot be hidden",
            where=rule.origin.text,
            hint=f'hide what lies in it: hide = ["{rule.path}/…"]',
        )
    around = policy.over(rule.path) if not rule.found.exists else policy.above(rule.path)
    if not rule.found.exists and not rule.optional and around is not None and around.access is Access.WRITE:
        raise ProfileError(
            f"{rule.path}: No such file or directory, and it could be made inside, "
            f"as {around.path} is writable ({around.origin.text})",
            where=rule.origin.text,
            hint=f'create it, or hide it only where it exists: "?{rule.named}"',
        )
    if not rule.found.exists or around is None or around.access not in VISIBLE:
        return
    for link in rule.found.links:
        if policy.access(link.path) is Access.WRITE:
            raise ProfileError(
                f"{link.path} is a symlink that can be changed inside, so that {rule.path} would not stay hidden",
                where=rule.origin.text,
                hint=f"name the target itself: {rule.path}",
            )


def check_nested(policy: Policy) -> None:
    """Refuse what would not stay covered where namespaces may be made inside.  Raises ProfileError.

    A mount point cannot be renamed or removed where it is mounted.  In a mount namespace of the
    program's own, from which it took our mounts, it can: the directories are moved from under them,
    and lie open in the tree of the host.
    """
    for rule in policy.winners.values():
        tree = policy.above(rule.path)
        if rule.access in (Access.WRITE, Access.OWN) or tree is None or tree.access is not Access.WRITE:
            continue
        keeps = {Access.READ: "read-only", Access.HIDE: "hidden"}.get(rule.access, "covered")
        raise ProfileError(
            f"with security.nested, {rule.path} would not stay {keeps} in {tree.path}, which is writable "
            f"({tree.origin.text}): in a mount namespace of its own a program can move it away from under its mount",
            where=rule.origin.text,
            hint=f"leave nested off, write to a smaller tree, or move {rule.path} out of {tree.path}",
        )


class Guarded(NamedTuple):
    """Something that the contained program must not write, as we read it later."""

    what: str  # "the state of the sandboxes"
    found: Resolved
    secret: bool = False  # it must not be read either
    shielded: bool = False  # made read-only inside a writable tree, instead of refusing the tree


def guard(policy: Policy, guarded: Guarded) -> None:
    """Keep something out of the contained program's reach, or refuse the policy.  Raises ProfileError."""
    path = guarded.found.real
    for link in guarded.found.links:
        tree = policy.over(link.path)
        if tree is not None and tree.access is Access.WRITE:
            raise _exposed(tree, guarded, f"{link.path} is a symlink that leads there")
    tree = policy.over(path)
    if tree is not None and tree.access is Access.WRITE:
        if not guarded.shielded or tree.path == path or not guarded.found.exists:
            raise _exposed(tree, guarded, path)
        origin = Origin(f"protects {guarded.what}", tree.origin.layer, file=False)
        policy.winners[path] = Rule(Access.READ, path, guarded.found, origin)
    for rule in policy.inside(path):
        if rule.access is Access.WRITE:
            raise _exposed(rule, guarded, rule.path)
    if guarded.secret and guarded.found.exists and tree is not None and tree.access is Access.READ:
        origin = Origin(f"protects {guarded.what}", tree.origin.layer, file=False)
        policy.winners[path] = Rule(Access.HIDE, path, guarded.found, origin)


def _exposed(tree: Rule, guarded: Guarded, path: str) -> ProfileError:
    """Return the error for a `tree` in which `path`, what is guarded or leads to it, could be changed."""
    real = guarded.found.real
    way_out = "write to another tree"
    if below(path, tree.path) and path != tree.path:
        make = "" if guarded.found.exists else f"create it (mkdir -p {real}) and "
        way_out = f'write to a smaller tree, or {make}hide it: --hide {real}, or hide = ["{real}"] in a profile'
        if guarded.secret and not guarded.found.exists:
            way_out = f"work in a directory of your own below {tree.path}, and write to that alone"
    return ProfileError(
        f"{tree.named} would make {guarded.what} writable inside: {path}", where=tree.origin.text, hint=way_out
    )
