"""Which mounts are to be seen outside: what a container mounts in a volume that is shared with the host.

As runc and crun have it, that takes `linux.rootfsPropagation` and the mount itself: both have to be shared.  Such a volume is
attached last, so that of what we mount nothing comes to lie in it, wherever a symlink of the image's may lead.
"""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.lower.mount_options import PROPAGATION, parse_options, target_of
from sandbox.plan.ops import Notice, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.lower.host import Case


def outwards(case: Case) -> dict[int, str]:
    """Return index and target of the mounts that are to be seen outside, and can be.

    Raises SpecError where another part of the spec lies in one of them.
    """
    if case.has("user") or not case.makes("mount"):
        return {}
    found = _asked(case)
    for index, target in found.items():
        where = f"mounts[{index}] ({target}), in which mounts are seen outside"
        for place, other, covers in _others(case, index):
            if _is_below(other, target) or (covers and _is_below(target, other)):
                raise SpecError(
                    f"{other} would lie in {where}" if _is_below(other, target) else f"{other} would cover {where}",
                    where=case.origins[place],
                    hint="let one of the two be private",
                )
    return found


def notices(case: Case) -> list[Step]:
    """Say of each mount that what is mounted in it will not be seen outside, as it was asked for."""
    if not case.has("user"):
        return []
    steps = []
    for index in _asked(case):
        where = case.origins[f"mounts[{index}]"]
        text = "what is mounted in it is not seen outside: the kernel lets mounts into a user namespace, and none out"
        steps.append(Step(Notice(text=f"{where}: {text}"), where))
    return steps


def _asked(case: Case) -> dict[int, str]:
    if not case.is_container or case.linux.rootfs_propagation not in ("shared", "rshared"):
        return {}
    found = {}
    for index, mount in enumerate(case.spec.mounts):
        options = parse_options(mount)
        if options.bind and not options.remount and options.propagation == PROPAGATION["shared"]:
            found[index] = target_of(mount)
    return found


def _others(case: Case, index: int) -> Iterator[tuple[str, str, bool]]:
    """Yield place and path of what would be mounted in the order of the spec after the mount `index`, and whether it is
    a mount that might cover that."""
    for number, mount in enumerate(case.spec.mounts):
        if number > index:
            yield f"mounts[{number}]", target_of(mount), True
    for number, device in enumerate(case.linux.devices):
        yield f"linux.devices[{number}]", device.path, False
    for name, paths in (("maskedPaths", case.linux.masked_paths), ("readonlyPaths", case.linux.readonly_paths)):
        for number, path in enumerate(paths):
            yield f"linux.{name}[{number}]", path, False


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")
