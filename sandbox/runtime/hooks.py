"""The hooks that are run when a container was destroyed, runtime-spec, config.md#posix-platform-hooks.

All the others are nsinit's, which does these too when `delete` is called the plain way.  They are taken
from the container's plan, so that they are those that it was made with.
"""

from __future__ import annotations

import os

from sandbox.errors import PlanError
from sandbox.plan.ops import Hook, HookStage
from sandbox.runtime.record import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.runtime.record import Record
    from sandbox.runtime.state import Place


def poststop(place: Place, record: Record) -> Callable[[], list[str]]:
    """Return a function that runs the hooks, to be called when the container is no more; it returns what failed."""
    from sandbox.plan.encode import decode

    try:
        steps = decode(place.read("plan")).steps
    except FileNotFoundError:
        return list
    except PlanError as error:
        problem = f"the poststop hooks of {record.id}, if there are any, are not run: {error}"
        return lambda: [problem]
    hooks = [step.op for step in steps if isinstance(step.op, Hook) and step.op.stage == HookStage.POSTSTOP]
    if not hooks:
        return list
    document = record.document()
    state = {
        "ociVersion": document.get("ociVersion", ""),
        "id": record.id,
        "status": Status.STOPPED,
        "bundle": document.get("bundle", ""),
        "annotations": document.get("annotations") or {},
    }
    return lambda: [message for hook in hooks if (message := _run(hook, state))]


def _run(hook: Hook, state: dict[str, object]) -> str:
    """Run a hook; return what went wrong, or nothing."""
    import json
    import subprocess  # late: 9 ms, for who has such hooks

    where = f"error running poststop hook #{hook.index}"
    environment = dict(variable.partition("=")[::2] for variable in hook.environment) if hook.environment else None
    bundle = str(state["bundle"])
    try:
        result = subprocess.run(
            hook.arguments or (hook.path,),
            executable=hook.path,
            env=environment,
            cwd=bundle if os.path.isdir(bundle) else "/",
            input=json.dumps(state).encode(),
            capture_output=True,
            timeout=hook.timeout or None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{where}: hook ran past specified timeout of {hook.timeout}s"
    except OSError as error:
        return f"{where}: fork/exec {hook.path}: {os.strerror(error.errno or 0).lower()}"
    if result.returncode == 0:
        return ""
    how = f"exit status {result.returncode}" if result.returncode > 0 else f"signal {-result.returncode}"
    said = [text.decode(errors="replace").strip() for text in (result.stdout, result.stderr)]
    return f"{where}: {how}, stdout: {said[0]}, stderr: {said[1]}"
