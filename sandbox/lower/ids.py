"""Which ids there are inside, and whose they are outside: user_namespaces(7)."""

from __future__ import annotations

from sandbox.errors import HostError, SpecError
from sandbox.plan.ops import MapIds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import IdMapping

CAP_SETGID, CAP_SETUID = 1 << 6, 1 << 7
UNMAPPED = 65534  # what an id without a place in the map is shown as, /proc/sys/kernel/overflowuid


def id_maps(case: Case) -> MapIds:
    """Return how the maps of the new user namespace are filled."""
    uids, gids = case.linux.uid_mappings, case.linux.gid_mappings
    where = case.origins["linux.uidMappings"]
    if not uids or not gids:
        raise SpecError("a user namespace needs both maps", where=where)
    uid_map, gid_map = lines(uids), lines(gids)
    rooted = int(case.is_container and _has_root(uids) and _has_root(gids))
    if _may_write(case):
        _check_ours(case, "uid", uids, case.host.uid_map)
        _check_ours(case, "gid", gids, case.host.gid_map)
        return MapIds(uid_map=uid_map, gid_map=gid_map, by_monitor=1, become_root=rooted)
    if is_self_mapped(case):
        return MapIds(uid_map=uid_map, gid_map=gid_map)
    if not case.host.newuidmap or not case.host.newgidmap:
        from sandbox.kernel.probe.distribution import install  # late: for a refusal alone

        raise HostError(
            "newuidmap and newgidmap are not installed, and a map of more than one's own id needs them",
            where=where,
            hint=install("newuidmap"),
        )
    return MapIds(
        uid_map=uid_map,
        gid_map=gid_map,
        uid_helper=case.host.newuidmap,
        gid_helper=case.host.newgidmap,
        become_root=rooted,
    )


def has_other_root(case: Case) -> bool:
    """Is who sets the container up, as its root, somebody else than the caller?  Files that are the caller's alone may
    then be out of reach."""
    if not case.makes("user"):
        return case.has("user")
    uids, gids = case.linux.uid_mappings, case.linux.gid_mappings
    if not (_has_root(uids) and _has_root(gids)) or is_self_mapped(case):
        return False
    return _outside(uids) != case.host.uid or _outside(gids) != case.host.gid


def _outside(mappings: list[IdMapping]) -> int:
    """Return what id 0 is outside."""
    return next(entry.host_id for entry in mappings if entry.container_id == 0)


def lines(mappings: list[IdMapping]) -> str:
    """Return `mappings` as /proc/PID/uid_map takes them."""
    return "".join(f"{entry.container_id} {entry.host_id} {entry.size}\n" for entry in mappings)


def is_self_mapped(case: Case) -> bool:
    """Does the process map its own ids, and nothing else?  setgroups(2) is then denied for good."""
    return (
        case.makes("user")
        and not _may_write(case)
        and _only(case.linux.uid_mappings, case.host.uid)
        and _only(case.linux.gid_mappings, case.host.gid)
    )


def _may_write(case: Case) -> bool:
    """May the maps be written with nobody's help: are we root in a namespace of our own, as podman is?"""
    return case.is_container and not ~case.host.capabilities & (CAP_SETUID | CAP_SETGID)


def _only(mappings: list[IdMapping], own: int) -> bool:
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == own


def _has_root(mappings: list[IdMapping]) -> bool:
    return any(entry.container_id == 0 for entry in mappings)


def _check_ours(case: Case, kind: str, mappings: list[IdMapping], own: tuple[tuple[int, int, int], ...]) -> None:
    """Refuse ids that our own namespace does not have, which the kernel does without naming one."""
    for index, entry in enumerate(mappings):
        ours = (first <= entry.host_id and entry.host_id + entry.size <= first + count for first, _, count in own)
        if own and not any(ours):
            raise SpecError(
                f"{entry.host_id} and {entry.size} {kind}s from there are not ours",
                where=case.origins[f"linux.{kind}Mappings[{index}]"],
                hint=f"see /proc/self/{kind}_map",
            )


def is_mapped(case: Case, kind: str, number: int) -> bool:
    """Is there a uid or gid (`kind`) of this number inside, as far as we can know?"""
    if case.has("user") and not case.makes("user"):
        return True  # whoever made the namespace knows
    if case.makes("user"):
        mappings = case.linux.uid_mappings if kind == "uid" else case.linux.gid_mappings
        return any(entry.container_id <= number < entry.container_id + entry.size for entry in mappings)
    own = case.host.uid_map if kind == "uid" else case.host.gid_map
    return not own or any(first <= number < first + count for first, _, count in own)


def inside(case: Case, kind: str, number: int) -> int:
    """Return what an id of our own namespace is inside."""
    if not case.makes("user"):
        return number
    for entry in case.linux.uid_mappings if kind == "uid" else case.linux.gid_mappings:
        if entry.host_id <= number < entry.host_id + entry.size:
            return entry.container_id + number - entry.host_id
    return UNMAPPED
