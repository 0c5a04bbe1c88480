"""What this runtime can do, as the specification has it told: features.md.

Made from the tables by which specs are lowered, so that it cannot say anything else.
"""

from __future__ import annotations

from typing import Any

from sandbox.lower.hooks import STAGES
from sandbox.lower.mount_options import ATTRIBUTES, DEFAULTS, FILESYSTEM, OURS, PROPAGATION
from sandbox.lower.namespaces import NAMESPACES
from sandbox.lower.process import CAPABILITIES, KEEP_GROUPS
from sandbox.lower.resources import CONTROLLERS
from sandbox.lower.scheduling import MEMORY_FLAGS, MEMORY_MODES
from sandbox.spec.annotations import ANNOTATION
from sandbox.spec.seccomp import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS

OLDEST, NEWEST = "1.0.0", "1.3.0"  # of the runtime specification


def mount_options() -> list[str]:
    """Return every option of a mount that is not one of a file system."""
    recursive = [f"r{word}" for word in (*ATTRIBUTES, *PROPAGATION)]
    return sorted([*ATTRIBUTES, *PROPAGATION, *recursive, *FILESYSTEM, *DEFAULTS, *OURS])


def features() -> dict[str, Any]:
    """Return the features document."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": [name for name, _, _ in STAGES],
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": [f"CAP_{name}" for name in CAPABILITIES],
            "cgroup": {
                "v1": False,
                "v2": True,
                "systemd": False,
                "systemdUser": True,
                "rdma": "rdma" in CONTROLLERS,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": sorted(OPERATORS),
                "archs": sorted(ARCHITECTURES),
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "memoryPolicy": {"modes": list(MEMORY_MODES), "flags": sorted(MEMORY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "annotations": {"org.opencontainers.runc.checkpoint.enabled": "false"},
        "potentiallyUnsafeConfigAnnotations": [ANNOTATION, KEEP_GROUPS],
    }
