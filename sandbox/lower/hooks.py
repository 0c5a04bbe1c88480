"""When which hook is run: config.md, "POSIX-platform Hooks"."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.plan.ops import ContainerHooks, Hook, HookStage, RuntimeHooks, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import Hook as HookSpec

# name in the spec, its attribute, the stage; in the order in which they are run
STAGES = (
    ("prestart", "prestart", HookStage.PRESTART),
    ("createRuntime", "create_runtime", HookStage.CREATE_RUNTIME),
    ("createContainer", "create_container", HookStage.CREATE_CONTAINER),
    ("startContainer", "start_container", HookStage.START_CONTAINER),
    ("poststart", "poststart", HookStage.POSTSTART),
    ("poststop", "poststop", HookStage.POSTSTOP),
)
_LONGEST = 0xFFFFFFFF  # seconds


def hooks(case: Case) -> list[Step]:
    """Say which hooks there are."""
    if case.spec.hooks is None:
        return []
    if not case.is_container:
        raise SpecError("is not supported", where=case.origins["hooks"], hint="leave it out")
    steps = []
    for name, attribute, stage in STAGES:
        for index, hook in enumerate(getattr(case.spec.hooks, attribute)):
            where = case.origins[f"hooks.{name}[{index}]"]
            steps.append(Step(_hook(hook, stage, index, where, case.host.bundle), where))
    return steps


def _hook(hook: HookSpec, stage: int, index: int, where: str, bundle: str) -> Hook:
    if not hook.path.startswith("/"):
        raise SpecError(f'"{hook.path}" is not an absolute path', where=f"{where}.path")
    if hook.timeout is not None and hook.timeout <= 0:
        raise SpecError(f"{hook.timeout} is not greater than zero", where=f"{where}.timeout")
    return Hook(
        stage=stage,
        index=index,
        path=hook.path,
        arguments=tuple(hook.args) or (hook.path,),
        environment=tuple(hook.env),
        timeout=min(hook.timeout or 0, _LONGEST),
        directory="" if stage == HookStage.START_CONTAINER else bundle,  # as runc and crun have it
    )


def runtime_hooks(case: Case) -> list[Step]:
    """Wait for the hooks of the host's side, then run those that see the host's paths in the container's namespaces."""
    steps = []
    if _has(case, "prestart") or _has(case, "create_runtime"):
        steps.append(Step(RuntimeHooks(), case.origins["hooks"]))
    if _has(case, "create_container"):
        operation = ContainerHooks(stage=HookStage.CREATE_CONTAINER)
        steps.append(Step(operation, case.origins["hooks.createContainer"]))
    return steps


def start_hooks(case: Case) -> list[Step]:
    """Run those that are run inside before the command is."""
    if not _has(case, "start_container"):
        return []
    return [Step(ContainerHooks(stage=HookStage.START_CONTAINER), case.origins["hooks.startContainer"])]


def _has(case: Case, attribute: str) -> bool:
    return case.spec.hooks is not None and bool(getattr(case.spec.hooks, attribute))
