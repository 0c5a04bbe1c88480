"""A stub that another sandbox holds stays, whatever goes wrong when one of them ends: without it the name would be free."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import Sandbox
from fault_world import Call, Faulty, prepare, wait_until
from needs import needs

pytestmark = needs("userns")

WORDS = ("run", "-p", "./p.toml", "--", "cat")
# By which what others hold is read.
READS = ("openat", "syscall", "fstat", "malloc", "pread", "flock")


@contextmanager
def held_by_another(stub: Path, stubs: Path) -> Iterator[int]:
    """Hold the stub as a sandbox does, once it is there; yields what is the command's input until then."""
    reader, writer = os.pipe()
    place = stubs / "s00000000"
    held = []

    def hold() -> None:
        if wait_until(stub.is_dir):
            held.append(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600))
            fcntl.flock(held[0], fcntl.LOCK_EX)
            os.write(held[0], b"d" + os.fsencode(stub) + b"\0\0")
        os.close(writer)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield reader
        thread.join()
        assert held, "there was no stub"
        assert stub.is_dir(), "it has been taken away"
    finally:
        thread.join()
        os.close(reader)
        for descriptor in held:
            os.close(descriptor)
        place.unlink(missing_ok=True)
        for path in stubs.iterdir():  # of the one that could not know
            path.unlink()
        stub.rmdir()


def run(faulty: Faulty, stubs: Path, fault: str) -> tuple[Call, ...]:
    with held_by_another(faulty.cwd / "absent", stubs) as stdin:
        return faulty.run(*WORDS, fault=fault, stdin=stdin).calls


def test_a_stub_of_another_stays_whatever_goes_wrong(
    sandbox: Sandbox, project: Path, runtime_dir: Path, tmp_path: Path
) -> None:
    (project / "p.toml").write_text('extends = "base"\n[filesystem]\nwrite = ["."]\nprotect = ["./absent"]\n')
    faulty, stubs = prepare(tmp_path, project, sandbox.environment, WORDS), runtime_dir / "sandbox/stubs"
    calls = run(faulty, stubs, "* 0 none 0")
    ended = max(number for number, call in enumerate(calls) if call.role != "monitor")
    at_the_end = [call for call in calls[ended:] if call.role == "monitor" and call.name in READS]

    assert {call.name for call in at_the_end} == set(READS)
    for call in at_the_end:
        run(faulty, stubs, f"{call.role} {call.number} fail {errno.ENOMEM}")
