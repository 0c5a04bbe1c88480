"""Longer waits, and no deadlines, for an emulated machine: limits stand in many tests, and are generous for a real one."""

from __future__ import annotations

import subprocess
from typing import Any

from hypothesis import HealthCheck, settings
from needs import SLOWNESS


def have() -> None:
    """Make every limit of a wait for a process longer, for all of this session."""
    wait, communicate = subprocess.Popen.wait, subprocess.Popen.communicate

    def patient_wait(self: subprocess.Popen[Any], timeout: float | None = None) -> int:
        return wait(self, timeout and timeout * SLOWNESS)

    def patient_communicate(self: subprocess.Popen[Any], input: Any = None, timeout: float | None = None) -> Any:  # noqa: A002
        return communicate(self, input, timeout and timeout * SLOWNESS)

    subprocess.Popen.wait, subprocess.Popen.communicate = patient_wait, patient_communicate  # type: ignore[method-assign]
    settings.register_profile("slow", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25)
    settings.load_profile("slow")
