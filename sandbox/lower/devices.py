"""Which devices there are in /dev, and what the rules of the device cgroup say of them.

Nobody but root makes device nodes: those of the host are bound, once it is known that they are the
devices that they are named after.  So no other device is ever within reach, whatever the rules are.
"""

from __future__ import annotations

from posixpath import normpath

from sandbox.errors import SpecError
from sandbox.kernel.paths import is_bind
from sandbox.lower.ids import inside
from sandbox.lower.mount_options import RDONLY, parse_options, target_of
from sandbox.plan.ops import BindDevice, ChangeMount, Flag, MakeFifo, MakeSymlink, Notice, Op, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import Device

# config-linux.md, "Default Devices"
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
)
_DEFAULT_FIFO_MODE = 0o666
_UNSET = 0xFFFFFFFF
_ANY = -2  # no number that a rule could name


def default_devices(case: Case, origin: str, mounted: frozenset[str] = frozenset()) -> list[Step]:
    """Bind the devices that every container has, but for what is `mounted` there by the spec's wish."""
    nodes: list[Op] = [
        BindDevice(source=f"/dev/{name}", target=f"/dev/{name}", major=major, minor=minor)
        for name, major, minor in DEVICES
        if f"/dev/{name}" not in mounted
    ]
    # A root of its own may have had some of the links before.
    flags = Flag.UNLESS_PRESENT if case.is_container else 0
    links = [
        Step(MakeSymlink(target=link, destination=destination), origin, flags)
        for link, destination in DEVICE_LINKS
        if link not in mounted
    ]
    return [*(Step(op, origin) for op in nodes), *links]


def devices(case: Case) -> list[Step]:
    """Fill a container's /dev, when all is mounted that is to be mounted there."""
    if not case.is_container:
        if case.linux.devices:
            raise SpecError("is not supported", where=case.origins["linux.devices"], hint="leave it out")
        return []
    mounts = {target_of(mount): mount for mount in case.spec.mounts}
    asked = [normpath(device.path) for device in case.linux.devices]
    steps: list[Step] = []
    dev = mounts.get("/dev")
    if dev is None or not is_bind(dev.type, dev.options):  # one of the host's has its devices already
        steps += default_devices(case, case.origins["linux.devices"], frozenset([*mounts, *asked]))
    for index, device in enumerate(case.linux.devices):
        steps += _device(case, device, case.origins[f"linux.devices[{index}]"])
    return steps


def closed(case: Case) -> list[Step]:
    """Make a container's /dev read-only where it is to be, now that all is in it."""
    steps = []
    for index, mount in enumerate(case.spec.mounts):
        if target_of(mount) == "/dev" and parse_options(mount).set & RDONLY and not is_bind(mount.type, mount.options):
            steps.append(Step(ChangeMount(target="/dev", set_attributes=RDONLY), case.origins[f"mounts[{index}]"]))
    return steps


def _device(case: Case, device: Device, where: str) -> list[Step]:
    target = normpath(device.path)
    if device.type == "p":
        fifo = MakeFifo(
            target=target,
            mode=_DEFAULT_FIFO_MODE if device.file_mode is None else device.file_mode & 0o7777,
            uid=_UNSET if device.uid is None else device.uid,
            gid=_UNSET if device.gid is None else device.gid,
        )
        return [Step(fifo, where)]
    kind = "b" if device.type == "b" else "c"
    source = case.host.devices.get((kind, device.major, device.minor))
    if source is None:
        raise SpecError(
            f"{device.path}: the host has no node of the device {kind} {device.major}:{device.minor} in /dev, "
            "and one user can make none",
            where=where,
        )
    node = BindDevice(
        source=source, target=target, major=device.major, minor=device.minor, block=int(device.type == "b")
    )
    return [Step(node, where)]


def device_notices(case: Case) -> list[Step]:
    """Say of each device whose node has not the owner and the mode that are asked for: it is the host's."""
    steps = []
    for index, device in enumerate(case.linux.devices):
        kind = "b" if device.type == "b" else "c"
        node = case.host.nodes.get(case.host.devices.get((kind, device.major, device.minor), ""))
        if device.type == "p" or node is None:
            continue
        uid, gid = inside(case, "uid", node.uid), inside(case, "gid", node.gid)
        mode = None if device.file_mode is None else device.file_mode & 0o7777
        asked = (mode, node.mode), (device.uid, uid), (device.gid, gid)
        if any(want is not None and want != have for want, have in asked):
            where = case.origins[f"linux.devices[{index}]"]
            words = f"{device.path} is the host's, with its owner {uid}:{gid} and its mode {node.mode:04o}"
            steps.append(Step(Notice(text=f"{where}: {words}"), where))
    return steps


def check_device_rules(case: Case) -> None:
    """Refuse rules of the device cgroup that forbid what is bound: who has the node has the device.

    The last rule that matches decides.  What no device is bound of is out of reach anyway.
    """
    resources = case.linux.resources
    if resources is None or not resources.devices:
        return
    if not case.is_container:
        raise SpecError("is not supported", where=case.origins["linux.resources.devices"], hint="leave it out")
    for index, rule in enumerate(resources.devices):
        where = case.origins[f"linux.resources.devices[{index}]"]
        if rule.type not in ("", "a", "b", "c"):
            raise SpecError(f'"{rule.type}" is no type of device', where=where, hint="one of a, b, c")
        if not rule.access or rule.access.strip("rwm"):
            raise SpecError(f'"{rule.access}" is no access to a device', where=where, hint="of the letters r, w, m")
    for place, path, kind, major, minor in _bound(case):
        denied = _denied_by(case, kind, major, minor)
        if denied >= 0:
            what = f"{kind} {major}:{minor}" if kind else "of the host's that it does not name"
            raise SpecError(
                f"forbids devices {what}, which {place} shows at {path}",
                where=case.origins[f"linux.resources.devices[{denied}]"],
                hint="take out one of the two",
            )


def _bound(case: Case) -> list[tuple[str, str, str, int, int]]:
    """Return place, path, type and number of each device that the spec has bound itself; type "": any device."""
    found = []
    for index, device in enumerate(case.linux.devices):
        if device.type != "p":
            kind = "b" if device.type == "b" else "c"
            found.append((f"linux.devices[{index}]", device.path, kind, device.major, device.minor))
    for index, mount in enumerate(case.spec.mounts):
        if not is_bind(mount.type, mount.options) or "nodev" in mount.options or "rnodev" in mount.options:
            continue
        source = case.host.sources.get(mount.source, "")
        node = case.host.nodes.get(source)
        if node is not None:
            found.append((f"mounts[{index}]", mount.destination, node.kind, node.major, node.minor))
        elif source in ("/", "/dev"):
            found.append((f"mounts[{index}]", mount.destination, "", _ANY, _ANY))
    # Those that every container has are allowed by every runtime, whatever the rules say.
    return [entry for entry in found if entry[2] != "c" or not any(entry[3:] == device[1:] for device in DEVICES)]


def _denied_by(case: Case, kind: str, major: int, minor: int) -> int:
    """Return the index of the rule that denies reading or writing, -1 if none does."""
    assert case.linux.resources is not None
    for access in "rw":
        verdict = -1
        for index, rule in enumerate(case.linux.resources.devices):
            if (
                access in rule.access
                and (rule.type in ("", "a", kind) or not kind)
                and rule.major in (None, -1, major)
                and rule.minor in (None, -1, minor)
            ):
                verdict = -1 if rule.allow else index
        if verdict >= 0:
            return verdict
    return -1
