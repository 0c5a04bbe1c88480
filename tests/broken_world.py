"""A host to be broken: root of a user namespace sets it up, and an ordinary user of that namespace lives there.

Whatever the set-up does (mounts, modes, kernel settings of the namespace) is gone with the namespace.
"""

from __future__ import annotations

import errno
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import BINARY, _remove_tree

from sandbox.kernel.libseccomp import compile_filter
from sandbox.spec.runtime import Seccomp

_NEW_USER = 0x10000000
FILTERED = Path(__file__).with_name("filtered.py")

# The user is daemon, uid 1.  The helpers are copies, as those of the real root are nobody's in here.
_BASE = """
mount -t tmpfs -o mode=0755 none "$TOP"
mkdir -p "$TOP"/run "$TOP"/home/project "$TOP"/bin
for name in newuidmap newgidmap; do
    cp "/usr/bin/$name" "$TOP/bin/$name"
    chmod 4755 "$TOP/bin/$name"
    mount --bind "$TOP/bin/$name" "/usr/bin/$name"
done
echo daemon:100:60000 >"$TOP/subuid"
for kind in subuid subgid; do mount --bind "$TOP/subuid" "/etc/$kind"; done
chown -R 1:1 "$TOP"/run "$TOP"/home
chmod 700 "$TOP"/run
"""
_GO = """
cd "$TOP/home/project"
exec setpriv --reuid 1 --regid 1 --clear-groups --inh-caps=-all -- "$@"
"""


@dataclass
class BrokenHost:
    """Run a command there: the words of `setup` are a shell's, executed by root, who knows $TOP."""

    top: Path

    def __call__(
        self, *words: str, setup: str = "", around: tuple[str, ...] = (), program: Path = BINARY
    ) -> subprocess.CompletedProcess[str]:
        script = f"set -e\n{_BASE}{setup}{_GO}"
        environment = {
            "PATH": f"{BINARY.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": f"{self.top}/home",
            "TOP": str(self.top),
            "XDG_RUNTIME_DIR": f"{self.top}/run",
        }
        spaces = ["--user", "--map-auto", "--map-root-user", "--mount", "--propagation", "private"]
        return subprocess.run(
            ["unshare", *spaces, "--", "sh", "-c", script, "sh", *around, str(program), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def doctor(self, *, setup: str = "", around: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
        """Return the doctor's exit status, and its findings by name."""
        return read(self("doctor", "--json", setup=setup, around=around))


def read(result: subprocess.CompletedProcess[str]) -> tuple[int, dict[str, Any]]:
    """Return exit status and findings of `sandbox doctor --json`."""
    assert not result.stderr, result.stderr
    document = json.loads(result.stdout)
    assert document["works"] == (result.returncode == 0)
    return result.returncode, {finding["name"]: finding for finding in document["findings"]}


def filtered(path: Path, *rules: tuple[str, int]) -> tuple[str, ...]:
    """Return a command that executes another under a filter, which refuses each call named with that errno, or kills for 0.

    "clone" is refused where it asks for a user namespace, as by the filters of podman and docker.
    """
    calls = []
    for name, number in rules:
        args: list[dict[str, Any]] = []
        if name == "clone":
            args = [{"index": 0, "value": _NEW_USER, "valueTwo": _NEW_USER, "op": "SCMP_CMP_MASKED_EQ"}]
        action = {"action": "SCMP_ACT_ERRNO", "errnoRet": number} if number else {"action": "SCMP_ACT_KILL_PROCESS"}
        calls.append({"names": [name], "args": args, **action})
    import msgspec

    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls}
    path.write_bytes(compile_filter(msgspec.convert(document, Seccomp)))
    return ("/usr/bin/python3", str(FILTERED), str(path))


def refuse(*names: str) -> tuple[tuple[str, int], ...]:
    """Return rules for `filtered` by which these calls are refused as by a lack of rights."""
    return tuple((name, errno.EPERM) for name in names)


@pytest.fixture
def top() -> Iterator[Path]:
    """Return a directory that every uid may go to."""
    path = Path(tempfile.mkdtemp(prefix="sbx-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    _remove_tree(path)


@pytest.fixture
def host(top: Path) -> BrokenHost:
    (top / "host").mkdir()
    return BrokenHost(top / "host")
