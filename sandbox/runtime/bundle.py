"""From a bundle to a plan: config.json → spec → plan, and what it was made from.

On the start path of every container: nothing heavy is imported while the document is well-formed.
"""

from __future__ import annotations

import os

from sandbox.kernel import delegation, paths
from sandbox.lower.cgroup import parent
from sandbox.lower.container import lower
from sandbox.lower.host import Host, Origins
from sandbox.plan.encode import Plan
from sandbox.plan.inputs import Inputs
from sandbox.plan.ops import Notice
from sandbox.spec import quick
from sandbox.spec.check import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.lower.host import Call
    from sandbox.spec.runtime import IdMapping, Spec

# newuidmap(1) is setuid or has a capability: only the system's own directories are looked at.
HELPER_DIRECTORIES = ("/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin")


class Key:
    """What a container's plan depends on beside its inputs, as nsinit puts it together (`make_key`, nsinit/engine.c)."""

    __slots__ = ("build", "bundle", "capabilities", "cgroup", "config", "data", "gid", "root", "systemd", "uid")

    def __init__(self, data: bytes) -> None:
        _, build, ids, capabilities, _, root, bundle, cgroup, systemd, self.config = data.split(b"\0", 9)
        self.data = data
        self.build = build.decode()
        self.uid, self.gid = (int(number) for number in ids.split())
        self.capabilities = int(capabilities or b"0", 16)
        self.root = os.fsdecode(root)
        self.bundle = os.fsdecode(bundle)
        self.cgroup = os.fsdecode(cgroup).removeprefix("0::")
        self.systemd = bool(systemd)  # --systemd-cgroup


def kept_config(plan: bytes) -> bytes:
    """Return the config.json that a container's plan was made from.  Raises PlanError."""
    from sandbox.plan.encode import decode

    return Key(decode(plan).key).config


class Compilation:
    """A plan, and what has to be said of it."""

    __slots__ = ("keeps", "plan", "warnings")

    def __init__(self, plan: Plan, warnings: list[str], *, keeps: bool = True) -> None:
        self.plan = plan
        self.warnings = warnings
        self.keeps = keeps and not warnings  # a kept plan would not warn again


def read_spec(content: bytes) -> tuple[Spec, list[str]]:
    """Return a `config.json` that fits together, and warnings about what of it is not in force.  Raises SpecError."""
    spec = quick.spec(content)
    warnings: list[str] = []
    if spec is None:
        from sandbox.spec.document import decode_leniently  # late: 30 ms, for a document that needs words
        from sandbox.spec.runtime import Spec as Careful

        spec, warnings = decode_leniently(content, Careful)
    return spec, warnings + check(spec)


def compile_bundle(key: Key, call: Call) -> Compilation:
    """Make the plan of a container.  Raises a SandboxError that says where its spec asks for what cannot be had."""
    spec, warnings = read_spec(key.config)
    host, inputs = look(spec, key)
    steps = lower(spec, host, Origins(), call)
    # Engines read the log, not what a container says when it starts.
    warnings += [step.op.text.removeprefix("warning: ") for step in steps if isinstance(step.op, Notice)]
    steps = tuple(step for step in steps if not isinstance(step.op, Notice))
    # The id is in no key; without a cgroupsPath it is in the name of the scope.
    keeps = not (call.systemd and spec.linux is not None and not spec.linux.cgroups_path)
    return Compilation(Plan(key.data, tuple(inputs.seen.values()), steps), warnings, keeps=keeps)


def look(spec: Spec, key: Key) -> tuple[Host, Inputs]:
    """Return what lowering may have to know of the host, and what was looked at for that."""
    inputs = Inputs()
    linux = spec.linux
    assert linux is not None
    # Our own id alone we map ourselves.
    helped = not (_is_own(linux.uid_mappings, key.uid) and _is_own(linux.gid_mappings, key.gid))
    host = Host(
        uid=key.uid,
        gid=key.gid,
        state_dir=key.root,
        newuidmap=helper("newuidmap", inputs) if helped else "",
        newgidmap=helper("newgidmap", inputs) if helped else "",
        build=key.build,
        bundle=key.bundle,
        capabilities=key.capabilities,
        uid_map=_id_map("uid"),
        gid_map=_id_map("gid"),
        setgroups=_read("/proc/self/setgroups") != "deny\n",
        **_cgroups(linux.cgroups_path, key, inputs),
        **paths.look_at(spec, key.bundle, inputs),
    )
    return host, inputs


def _cgroups(path: str, key: Key, inputs: Inputs) -> dict[str, Any]:
    if not key.systemd:
        return delegation.look_at(parent(path, key.cgroup), key.cgroup, inputs)
    root = delegation.mount_point()
    return {"cgroup": key.cgroup, "cgroup_root": root, **delegation.look_at_manager(root, inputs)}


def _is_own(mappings: list[IdMapping], own: int) -> bool:
    return not mappings or (len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == own)


def helper(name: str, inputs: Inputs) -> str:
    """Return the path of a program, "" if it is not installed."""
    for directory in HELPER_DIRECTORIES:
        if inputs.node(f"{directory}/{name}") is not None:
            return os.path.realpath(f"{directory}/{name}")
    return ""


def _id_map(kind: str) -> tuple[tuple[int, int, int], ...]:
    """Return the map of our own user namespace: (inside, outside, count).  It is written once; the key names it."""
    rows = (line.split() for line in _read(f"/proc/self/{kind}_map").splitlines())
    return tuple((int(inside), int(outside), int(count)) for inside, outside, count in rows)


def _read(path: str) -> str:
    """Return what the kernel says in a file of its own, "" if it has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 1 << 16).decode()
    finally:
        os.close(descriptor)
