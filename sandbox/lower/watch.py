"""What the monitor watches over while the command runs: its time."""

from __future__ import annotations

from sandbox.plan.ops import Step, TimeLimit
from sandbox.spec.annotations import annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.lower.host import Case


def time_limit(case: Case) -> list[Step]:
    """End the command when its time is over."""
    seconds = annotation(case.spec, "timeout")
    if not seconds:
        return []
    where = case.origins["annotations.timeout"]
    operation = TimeLimit(
        milliseconds=_milliseconds(seconds),
        grace=_milliseconds(annotation(case.spec, "timeoutGrace", "0")),
        text=f"the time limit of {seconds} s ({where}) was reached",
    )
    return [Step(operation, where)]


def _milliseconds(seconds: str) -> int:
    return max(0, round(float(seconds) * 1000))
