"""The filter, and who is told of its notifications."""

from __future__ import annotations

from sandbox.errors import SpecError
from sandbox.lower.record import json_text
from sandbox.plan.ops import Listener, SeccompFilter, Step
from sandbox.spec.seccomp import filter_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case
    from sandbox.spec.runtime import Seccomp

# SECCOMP_FILTER_FLAG_*, linux/seccomp.h
_TSYNC = 1 << 0
_NEW_LISTENER = 1 << 3  # not for a spec to give
_WAIT_KILLABLE = 1 << 5

_REFUSING = ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP")


def notifies(seccomp: Seccomp | None) -> bool:
    """Does the filter ask somebody?"""
    return seccomp is not None and any(rule.action == "SCMP_ACT_NOTIFY" for rule in seccomp.syscalls)


def keeps_keyrings_out(seccomp: Seccomp | None) -> bool:
    """Does no call about keys reach the kernel?"""
    if seccomp is None or seccomp.default_action not in _REFUSING:
        return False
    calls = {"add_key", "keyctl", "request_key"}
    return not any(rule.action not in _REFUSING and calls.intersection(rule.names) for rule in seccomp.syscalls)


def listener(case: Case) -> list[Step]:
    """Send the filter's notifications where the spec says; without such a filter the path has no meaning."""
    seccomp = case.linux.seccomp
    if not case.is_container or seccomp is None:
        return []
    if seccomp.listener_metadata and not seccomp.listener_path:
        raise SpecError("needs a listenerPath to go to", where=case.origins["linux.seccomp.listenerMetadata"])
    if not notifies(seccomp):
        return []
    where = case.origins["linux.seccomp.listenerPath"]
    if not seccomp.listener_path.startswith("/"):
        why = f'"{seccomp.listener_path}" is not absolute' if seccomp.listener_path else "is missing"
        raise SpecError(f"{why}: who answers what SCMP_ACT_NOTIFY asks?", where=where)
    return [Step(Listener(path=seccomp.listener_path, metadata=json_text(seccomp.listener_metadata)), where)]


def seccomp_filter(case: Case) -> list[Step]:
    """Install the filter, which has to be the last thing, or the last that root does."""
    seccomp = case.linux.seccomp
    if seccomp is None:
        return []
    where = case.origins["linux.seccomp"]
    if not case.is_container and (seccomp.listener_path or notifies(seccomp)):
        raise SpecError("a filter that notifies a listener is not supported", where=where, hint="leave it out")
    from sandbox.kernel.filters import compile_filter  # late: a plan without a filter needs none of it

    flags = filter_flags(seccomp, where)
    if notifies(seccomp):
        flags = flags & ~_TSYNC | _NEW_LISTENER  # there are no threads of ours that are to have the filter too
    elif flags & _WAIT_KILLABLE:
        raise SpecError(
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for a filter with SCMP_ACT_NOTIFY",
            where=f"{where}.flags",
            hint="leave it out",
        )
    try:
        program = compile_filter(seccomp, state=case.host.state_dir if case.host.build else "", build=case.host.build)
    except SpecError as error:
        if not case.is_container:
            raise
        raise SpecError(str(error), where="config.json", hint=error.hint) from None
    return [Step(SeccompFilter(program=program, flags=flags), where)]
