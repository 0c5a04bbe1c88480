"""From a request to a plan: profile → spec → plan, and what it was made from."""

from __future__ import annotations

import msgspec

from sandbox.errors import printable
from sandbox.kernel import delegation
from sandbox.kernel.state import state_dir
from sandbox.lower.cgroup import needs_cgroup, parent_of_sandbox
from sandbox.lower.container import lower
from sandbox.lower.host import Host, Origins
from sandbox.plan.encode import Plan
from sandbox.plan.inputs import Inputs
from sandbox.plan.ops import Notice, Step
from sandbox.profile.expand import Expansion, expand
from sandbox.profile.load import Layered
from sandbox.profile.request import Request
from sandbox.runtime.bundle import helper
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.spec.runtime import Spec


class Compilation(msgspec.Struct, frozen=True):
    """A plan, and what it came from."""

    expansion: Expansion
    plan: Plan
    state_dir: str


def compile_request(request: Request, *, key: bytes = b"", layered: Layered | None = None) -> Compilation:
    """Make the plan of a run; of `layered`, where it is known what the profiles come to.

    Raises a SandboxError that says where the user asked for what cannot be had."""
    inputs = Inputs()
    inputs.kernel()
    state = state_dir(inputs)
    expansion = expand(request, inputs, state_dir=state, layered=layered)
    linux = expansion.spec.linux
    origins = Origins({"annotations.name": "every sandbox is registered", **expansion.origins})
    ranges = linux is not None and len(linux.uid_mappings) > 1
    wanted = annotation(expansion.spec, "network")
    host = Host(
        uid=request.uid,
        gid=request.gid,
        state_dir=state,
        newuidmap=helper("newuidmap", inputs) if ranges else "",
        newgidmap=helper("newgidmap", inputs) if ranges else "",
        **(_network(wanted, inputs) if wanted else {}),
        # The first part of the key, nsinit/launch.c; without one nothing is kept.
        build=key.partition(b"\0")[0].decode(),
        # Of a sandbox without one, nothing of that is asked, neither now nor when its plan is used again.
        **(_cgroups(expansion.spec, inputs) if needs_cgroup(expansion.spec, origins) else {}),
    )
    steps = lower(expansion.spec, host, origins)
    # In the plan, so that they are said at each run, also by a plan that was kept.
    notes = tuple(Step(Notice(text=f"note: {printable(note)}"), "note") for note in expansion.notes)
    return Compilation(expansion, Plan(key, tuple(inputs.seen.values()), (*notes, *steps)), state)


def _cgroups(spec: Spec, inputs: Inputs) -> dict[str, Any]:
    return delegation.look_around(parent_of_sandbox, inputs, detached=annotation(spec, "detached") == "true")


def _network(wanted: str, inputs: Inputs) -> dict[str, Any]:
    from sandbox.kernel import usermode  # late: most sandboxes have none

    return usermode.look_at(wanted, inputs)
