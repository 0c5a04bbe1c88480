"""Does one set of layers allow more than another?

`compare` is what a project's file is judged by, and so fails closed: a key that is not in the tables here loosens
whenever it says something else.  Of paths the effect is compared, not the words: at each path for which there is a
rule in either, the contained program must not have more than before; between rules access does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.json import encode

from sandbox.plan.inputs import Inputs
from sandbox.profile import limits, resources
from sandbox.profile.environment import Variables, kept, variables
from sandbox.profile.lines import Key
from sandbox.profile.load import Layered, key_text
from sandbox.profile.paths import Vocabulary
from sandbox.profile.policy import Access, Policy, Rule
from sandbox.profile.resolve import Resolver
from sandbox.profile.rules import unchecked
from sandbox.profile.schema_limits import IoLimit, RlimitPair


class Loosening(NamedTuple):
    """Something that allows more than before."""

    key: str  # "network.mode"
    where: str  # "~/p/.sandbox.toml:3: network.mode"
    wanted: str
    allowed: str


class View(NamedTuple):
    """The host and the caller, as the layers are read with them."""

    vocabulary: Vocabulary
    resolver: Resolver
    inputs: Inputs
    cwd: str
    state_dir: str
    defaults: Mapping[str, str]  # variables that every command gets


def compare(before: Layered, after: Layered, view: View) -> list[Loosening]:
    """Return what `after` allows beyond `before`.  Raises ProfileError for values that mean nothing."""
    result = [entry for section in before.profile.__struct_fields__ for entry in _section(section, before, after)]
    result += _variables(_environment(before, view), _environment(after, view), after)
    result += _paths(_policy(before, view), _policy(after, view))
    return list(dict.fromkeys(result))


# --- single values ---

Judge = Callable[[Any, Any, str], bool]
"""Is the second value no looser than the first?  The text says where the second was written."""


def _harmless(_before: object, _after: object, _where: str) -> bool:
    return True


def _never_above(*order: Any) -> Judge:
    """`order` goes from tight to loose; what is not in it is not known to be tight.  The one that counts where nothing
    is written comes twice: as itself, and as None beside it."""
    ranks = {value: rank for rank, values in enumerate(order) for value in values}
    return lambda before, after, _: before in ranks and after in ranks and ranks[after] <= ranks[before]


def _at_most(number: Callable[[Any, str], float | str]) -> Judge:
    """None is no limit.  What is in force only where it can be had is less than what is."""

    def judge(before: Any, after: Any, where: str) -> bool:
        if after is None or before is None:
            return before is None
        if resources.plain(after)[1] and not resources.plain(before)[1]:
            return False
        return float(number(after, where)) <= float(number(before, where))

    return judge


def _no_more(number: Callable[[Any, str], int], usual: int) -> Judge:
    """A share that others do not have then; None is the `usual` one."""

    def judge(before: Any, after: Any, where: str) -> bool:
        had, has = (usual if value is None else number(value, where) for value in (before, after))
        return has <= had

    return judge


def _fewer(before: str | None, after: str | None, where: str) -> bool:
    if after is None or before is None:
        return before is None
    if resources.plain(after)[1] and not resources.plain(before)[1]:
        return False
    return resources.numbers(after, where) <= resources.numbers(before, where)


def _slower(before: dict[str, IoLimit], after: dict[str, IoLimit], where: str) -> bool:
    """By the words of the paths: which of two is the same disk, nobody says."""
    numbers: dict[str, Judge] = {
        **dict.fromkeys(("read", "write"), _at_most(resources.memory_size)),
        **dict.fromkeys(("read_ops", "write_ops"), _at_most(resources.operations)),
    }
    return all(
        path in after
        and all(judge(getattr(limit, name), getattr(after[path], name), where) for name, judge in numbers.items())
        for path, limit in before.items()
    )


def _smaller_pages(before: dict[str, Any], after: dict[str, Any], where: str) -> bool:
    judge = _at_most(resources.swap_size)
    return all(judge(value, after.get(page), where) for page, value in before.items())


def _masks_more(before: str | None, after: str | None, _where: str) -> bool:
    try:
        # Nothing is known of the caller's own, but that it hardly takes more than this.
        own = 0o077 if before is None else int(before, 8)
        return int(after or "", 8) & own == own
    except ValueError:
        return False


def _no_others(before: list[object], after: list[object], _where: str) -> bool:
    return {str(entry) for entry in after} <= {str(entry) for entry in before}


JUDGES: dict[str, Judge] = {
    "description": _harmless,
    "root.from": _never_above(("host", None)),
    "network.mode": _never_above(("none", None), ("user", "pasta", "slirp4netns"), ("host",)),
    "network.publish": _no_others,
    "network.loopback": _no_others,
    # Who has a network can ask whom he wants, and send as little at once as he wants.
    "network.dns": _harmless,
    "network.search": _harmless,
    "network.hosts": _harmless,
    "network.mtu": _harmless,
    "limits.memory": _at_most(resources.memory_size),
    "limits.memory_high": _at_most(resources.memory_size),
    # What is kept for one is kept from the others.
    "limits.memory_low": _no_more(resources.memory_size, 0),
    "limits.memory_min": _no_more(resources.memory_size, 0),
    "limits.swap": _at_most(resources.swap_size),
    "limits.oom_group": _never_above((True, None), (False,)),
    "limits.cpus": _at_most(resources.processors),
    "limits.cpu_weight": _no_more(resources.weight, 100),
    "limits.cpuset": _fewer,
    "limits.cpuset_mems": _fewer,
    "limits.pids": _at_most(resources.processes),
    "limits.io_weight": _no_more(resources.weight, 100),
    "limits.io": _slower,
    "limits.hugepages": _smaller_pages,
    "limits.timeout": _at_most(limits.seconds),
    "limits.timeout_grace": lambda before, after, where: (
        float(limits.grace(after, where)) <= float(limits.grace(before, where))
    ),
    "limits.strict": _never_above((True,), (False, None)),
    "environment.keep_all": _never_above((False, None), (True,)),
    "user.map": _never_above(("single", None), ("range",)),
    "security.seccomp": _never_above(("strict",), ("default", None), ("off",)),
    "security.no_new_privs": _never_above((True, None), (False,)),
    "security.nested": _never_above((False, None), (True,)),
    "process.init": _never_above((True, None), (False,)),
    "process.show_command": _never_above((False, None), (True,)),
    "process.hostname": _harmless,
    "process.log_size": lambda before, after, where: (
        limits.size(after or limits.LOG_SIZE, where) <= limits.size(before or limits.LOG_SIZE, where)
    ),
    "process.tty": _harmless,  # the sandbox's own terminal, or none
    "process.notify": _never_above(("none",), ("start", None), ("command",)),
    "process.umask": _masks_more,
    # Of the caller's own nothing is known; the kernel lets it only grow.
    "process.nice": lambda before, after, _: after is not None and after >= (before or 0),
}

# Compared by effect, below.
_BY_EFFECT = {
    "filesystem": {"read", "write", "hide", "tmp", "cache", "protect"},
    "environment": {"keep", "set", "unset"},
}


def _section(name: str, before: Layered, after: Layered) -> Iterator[Loosening]:
    own, other = getattr(before.profile, name), getattr(after.profile, name)
    if name == "extends" or own == other:
        return
    if not isinstance(own, Struct):
        yield from _judged((name,), own, other, after)
        return
    for field in own.__struct_fields__:
        if field in _BY_EFFECT.get(name, ()):
            continue
        key: Key = (name, field)
        values = getattr(own, field), getattr(other, field)
        if key == ("limits", "rlimits"):
            yield from _rlimits(*values, after)
        elif key == ("security", "capabilities"):
            yield from _capabilities(*values, after)
        else:
            yield from _judged((name, field.rstrip("_")), *values, after)


def _judged(key: Key, before: object, after: object, layered: Layered) -> Iterator[Loosening]:
    judge = JUDGES.get(key_text(key))
    if before != after and (judge is None or not judge(before, after, layered.origin(*key).text)):
        yield _loosening(key, before, after, layered)


def _loosening(key: Key, before: object, after: object, layered: Layered) -> Loosening:
    text = key_text(key)
    written = [other for other in layered.origins if other[: len(key)] == key]
    # A table has no single place: the last that was written in it.
    origin = layered.origins[key] if key in layered.origins else layered.origin(*(written[-1] if written else key))
    return Loosening(text, origin.text, _text(after), _text(before))


def _text(value: object) -> str:
    return "nothing" if value is None or value in ([], {}) else encode(value).decode()


def _capabilities(before: list[str], after: list[str], layered: Layered) -> Iterator[Loosening]:
    for index, name in enumerate(after):
        if name not in before:
            key: Key = ("security", "capabilities", index)
            yield Loosening("security.capabilities", layered.origin(*key).text, name, ", ".join(before) or "none")


def _rlimits(before: dict[str, Any], after: dict[str, Any], layered: Layered) -> Iterator[Loosening]:
    for name in sorted(before.keys() | after.keys()):
        own, other = before.get(name), after.get(name)
        if own == other:
            continue
        # Where nothing was set before, the kernel does not let anybody have more than the caller has.
        soft, hard = _pair(own) if own is not None else (limits.UNLIMITED - 1, limits.UNLIMITED - 1)
        if other is None or _pair(other)[0] > soft or _pair(other)[1] > hard:
            yield _loosening(("limits", "rlimits", name), own, other, layered)


def _pair(value: object) -> tuple[int, int]:
    soft, hard = (value.soft, value.hard) if isinstance(value, RlimitPair) else (value, value)
    return tuple(limits.UNLIMITED if number == "unlimited" else number for number in (soft, hard))  # type: ignore[return-value]


# --- the environment ---


def _environment(layered: Layered, view: View) -> Variables:
    return variables(layered, view.defaults, view.inputs)


def _variables(before: Variables, after: Variables, layered: Layered) -> Iterator[Loosening]:
    for name, (value, origin) in after.set.items():
        had = before.set.get(name)
        # What every command gets is public, and comes back where it is no longer kept or set.
        if origin != f"default: {name}" and (had is None or had[0] != value):
            yield Loosening("environment.set", origin, f"{name}={value}", "another value" if had else "none")
    # What is set hides the caller's value of that name.
    added = _added(before.keep, after.keep)
    gone = [name for name in sorted(before.set.keys() - after.set.keys()) if not kept(added, {name: ""})]
    shown = kept(after.keep, dict.fromkeys(gone, ""))
    written = layered.profile.environment.keep
    for pattern in dict.fromkeys([*added, *shown]):
        index = (written.index(pattern),) if pattern in written else ()
        where = layered.origin("environment", "keep", *index).text
        yield Loosening("environment.keep", where, f"your {pattern}", "none")


def _added(before: list[str], after: list[str]) -> list[str]:
    """Return patterns by which `after` may let more through; the last pattern that matches a name decides.

    To take out one that lets through, or to add one that does not ("!…"), only ever closes.
    """
    waiting = list(before)
    added = []
    for entry in after:
        if entry.startswith("!"):
            if waiting and waiting[0] == entry:
                del waiting[0]
            continue
        passed = waiting.index(entry) if entry in waiting else len(waiting)
        if passed == len(waiting) or any(other.startswith("!") for other in waiting[:passed]):
            added.append(entry)
        else:
            del waiting[: passed + 1]
    return added + [entry for entry in waiting if entry.startswith("!")]


# --- paths ---

_REACH = {Access.HIDE: 0, Access.OWN: 0, Access.TMP: 0, Access.READ: 1, Access.WRITE: 2}


def _policy(layered: Layered, view: View) -> Policy:
    return unchecked(layered, view.vocabulary, view.resolver, state_dir=view.state_dir)


def _paths(before: Policy, after: Policy) -> Iterator[Loosening]:
    # What a cache keeps for a later run, a tree that is writable can keep as well; without one, nothing is kept.
    keeps = any(rule.access is Access.WRITE for rule in before.winners.values())
    for path in sorted(before.winners.keys() | after.winners.keys()):
        old, new = before.over(path), after.over(path)
        if new is not None and new.source and not keeps and (old is None or old.source != new.source):
            yield Loosening("filesystem", new.origin.text, f"{path} kept between runs", "nothing kept")
            continue
        if new is None or (old is not None and old.access is new.access and old.path == new.path):
            continue
        if _reach(new, unknown=2) <= _reach(old, unknown=0) and not _opens_device(path, old, new):
            continue
        yield Loosening("filesystem", new.origin.text, f"{path} {_words(new)}", f"{path} {_words(old)}")


def _reach(rule: Rule | None, *, unknown: int) -> int:
    return 0 if rule is None else _REACH.get(rule.access, unknown)


def _words(rule: Rule | None) -> str:
    return ("hidden or absent", "readable", "writable")[_reach(rule, unknown=0)]


def _opens_device(path: str, old: Rule | None, new: Rule) -> bool:
    """A device node that a rule names can be opened; in a tree that is shown it cannot."""
    return new.path == path and new.found.device and _reach(new, unknown=2) > 0 and (old is None or old.path != path)
