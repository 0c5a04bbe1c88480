"""Fixtures: the program as installed, a home with secrets in it, and a check that nothing is left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import patience
import pytest
from needs import CACHE, CHECKOUT, OF_THE_GUEST, SLOWNESS, own_cgroup, why_not

if TYPE_CHECKING:
    from plan_world import PlanWorld
    from user_manager_world import UserManager

NO_SKIP = os.environ.get("SANDBOX_NO_SKIP", "") not in ("", "0")
BINARY = Path(os.environ.get("SANDBOX_BINARY") or CHECKOUT / ".venv/bin/sandbox")

# Those of the guest (tests/guest) are about a machine that this one is not.
collect_ignore_glob = [] if os.environ.get("SANDBOX_GUEST") else ["test_guest_*.py"]

# Where a user's own is another, a runtime that has one by default is no longer like one that has the caller's.
os.umask(0o022)

# Whoever runs us in the background may ignore what a terminal sends, and what is ignored stays so across execve(2).
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def _take_a_cgroup_apart(worker: str) -> None:
    """Have a cgroup of the worker's own for what it starts: another may use the same names."""
    own = own_cgroup()
    if own is None or own.parent.name == worker:
        return
    top = own.parent / worker
    with contextlib.suppress(OSError):  # not delegated: then there will be none to be called anything
        (top / "tests").mkdir(parents=True, exist_ok=True)
        for controller in (own.parent / "cgroup.subtree_control").read_text().split():
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
        (top / "tests/cgroup.procs").write_text(str(os.getpid()))


if "PYTEST_XDIST_WORKER" in os.environ:
    _take_a_cgroup_apart(os.environ["PYTEST_XDIST_WORKER"])

if SLOWNESS > 1:
    patience.have()

# Everything that no profile may show; `home` puts the test's secret into each.
SECRETS = (
    ".ssh/id_ed25519",
    ".ssh/config",
    ".gnupg/private-keys-v1.d/0.key",
    ".aws/credentials",
    ".azure/msal_token_cache.json",
    ".config/gcloud/credentials.db",
    ".config/gh/hosts.yml",
    ".config/containers/auth.json",
    ".config/google-chrome/Default/Login Data",
    ".config/chromium/Default/Cookies",
    ".mozilla/firefox/a.default/logins.json",
    ".docker/config.json",
    ".kube/config",
    ".cargo/credentials.toml",
    ".local/share/keyrings/login.keyring",
    ".password-store/bank.gpg",
    ".terraform.d/credentials.tfrc.json",
    ".bash_history",
    ".git-credentials",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".vault-token",
)


# --- skips ---


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the guest, which runs all of them (thinned.py), what only the guest can be asked for."""
    absent = {fact for fact in OF_THE_GUEST if not os.environ.get("SANDBOX_GUEST") and why_not(fact)}
    wanted = [{fact for mark in item.iter_markers("needs") for fact in mark.args} for item in items]
    config.hook.pytest_deselected(items=[item for item, facts in zip(items, wanted, strict=True) if absent & facts])
    items[:] = [item for item, facts in zip(items, wanted, strict=True) if not absent & facts]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for fact in marker.args:
            if reason := why_not(fact):
                pytest.skip(f"needs {fact}: {reason}")


def _refuse_skip(report: Any) -> None:
    """Turn a skip, of whatever origin, into a failure."""
    if NO_SKIP and report.outcome == "skipped":
        reason = getattr(report, "wasxfail", "") or (
            report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        )
        if hasattr(report, "wasxfail"):
            del report.wasxfail
        report.outcome = "failed"
        report.longrepr = f"SANDBOX_NO_SKIP is set, and this was to be skipped: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _refuse_skip(report)
    return report


# --- places ---


def _remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # files of subordinate ids, or in directories without permissions
        for mapping in (["--map-auto"], []):
            subprocess.run(
                ["unshare", "--user", "--map-root-user", *mapping, "rm", "-rf", "--", str(path)],
                capture_output=True,
                check=False,
            )


@pytest.fixture
def secret() -> str:
    """Return the word that `home` hides in each of SECRETS; to find it inside is to have leaked."""
    return f"canary-{secrets.token_hex(8)}"


@pytest.fixture
def home(secret: str) -> Iterator[Path]:
    """Return a fresh home, below the real one (a profile gives /tmp away), with secrets in it."""
    real = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    path = Path(tempfile.mkdtemp(prefix="sbx-", dir=real if os.access(real, os.W_OK) else None))
    for name in SECRETS:
        file = path / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(f"{secret}\n")
        file.chmod(0o600)
    yield path
    _remove_tree(path)


@pytest.fixture
def project(home: Path) -> Path:
    """Return an empty project directory in that home; the program is started in it."""
    path = home / "project"
    path.mkdir()
    return path


@pytest.fixture
def runtime_dir(secret: str) -> Iterator[Path]:
    """Return a private XDG_RUNTIME_DIR with a socket and a registry's credentials in it, as on a desktop.

    Its name is short: a socket's path has room for 107 bytes.  Nobody listens at the socket: a test that wants a user
    manager asks for `user_manager`.
    """
    parent = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(tempfile.mkdtemp(prefix="sbx-", dir=parent if parent and os.access(parent, os.W_OK) else "/tmp"))
    (path / "containers").mkdir(mode=0o700)
    (path / "containers/auth.json").write_text(f"{secret}\n")
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(path / "bus"))
        yield path
    _remove_tree(path)


@pytest.fixture
def user_manager(runtime_dir: Path) -> Iterator[UserManager]:
    """Return a user manager, which the program in these surroundings finds; mark the test needs("user_manager")."""
    from user_manager_world import running  # for few tests

    with running(runtime_dir) as manager:
        yield manager


@pytest.fixture
def hello_source(project: Path) -> Path:
    """Return a copy of Debian's source package hello in the project; mark the test needs("hello_source")."""
    return Path(shutil.copytree(CACHE / "hello", project / "hello", symlinks=True))


@pytest.fixture
def run_plan(tmp_path: Path) -> PlanWorld:
    """Return a small root file system, and what runs a command in it by operations of the test's."""
    from plan_world import PlanWorld  # it imports us

    return PlanWorld(tmp_path)


# --- the program ---


@dataclass
class Sandbox:
    """The installed program: call it with arguments, or `popen` it to live with it."""

    cwd: Path
    environment: dict[str, str]
    binary: Path = BINARY
    timeout: float = 60
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(
        self,
        *args: str | os.PathLike[str],
        input: str | None = None,  # noqa: A002 (as in subprocess.run)
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end and return status and output; `env` adds to the environment, None removes."""
        process = self.popen(*args, env=env, cwd=cwd, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        try:
            stdout, stderr = process.communicate(input, timeout=timeout or self.timeout)
        except subprocess.TimeoutExpired as error:
            _kill(descendants(process.pid) | {process.pid})
            stdout, stderr = process.communicate()
            pytest.fail(f"{error}\nstdout: {stdout}\nstderr: {stderr}")
        result = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        if check and result.returncode:
            pytest.fail(f"{result.args}: exit status {result.returncode}\n{stdout}{stderr}")
        return result

    def popen(
        self,
        *args: str | os.PathLike[str],
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start it, by default with pipes for stdout and stderr, in text."""
        merged = {**self.environment, **(env or {})}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [str(self.binary), *map(str, args)],
            cwd=cwd or self.cwd,
            env={name: value for name, value in merged.items() if value is not None},
            **{"text": True, **pipes, **options},
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what a test that failed half-way has left running."""
        for process in self._started:
            if process.poll() is None:
                _kill(descendants(process.pid) | {process.pid})
                process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


@pytest.fixture
def sandbox(project: Path, home: Path, runtime_dir: Path) -> Iterator[Sandbox]:
    """Return the installed program, with `home`, `project` and `runtime_dir` as its surroundings."""
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is not there: run the tests by ./dev test")
    environment = {
        "HOME": str(home),
        "USER": pwd.getpwuid(os.geteuid()).pw_name,
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(runtime_dir),
    }
    environment |= {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
    program = Sandbox(cwd=project, environment=environment)
    yield program
    program.close()


# --- what is left behind ---

PR_SET_CHILD_SUBREAPER = 36


def pytest_sessionstart() -> None:
    """Become a subreaper, so that whatever a test leaves running is still our descendant."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _processes() -> dict[int, tuple[int, str, str]]:
    """Return pid: (parent, state, name) of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", errors="replace") as file:
                name, _, rest = file.read().partition(" (")[2].rpartition(") ")
                state, parent = rest.split()[:2]
                found[int(entry)] = (int(parent), state, name)
    return found


def descendants(ancestor: int) -> set[int]:
    """Return the processes below `ancestor`, zombies too."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in _processes().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    pending = [ancestor]
    while pending:
        for pid in children.get(pending.pop(), []):
            found.add(pid)
            pending.append(pid)
    return found


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _mounts() -> list[str]:
    with open("/proc/self/mountinfo") as file:
        return [line.split()[4] for line in file]


def _wait_for_none(remaining: Callable[[], set[int]], seconds: float) -> set[int]:
    end = time.monotonic() + seconds * SLOWNESS
    while left := remaining():
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    return left


@pytest.fixture(autouse=True)
def _leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which a process, a mount or a container of its own is still there.

    Set up first and torn down last but for the runtime directory, which is looked into here.
    """
    runtime = request.getfixturevalue("runtime_dir") if "runtime_dir" in request.fixturenames else None
    allowed = {kind for marker in request.node.iter_markers("leaves") for kind in marker.args}
    processes, mounts = descendants(os.getpid()), _mounts()
    yield
    problems = []

    def remaining() -> set[int]:
        left = descendants(os.getpid()) - processes
        _reap(left)
        return left

    left = _wait_for_none(remaining, 0 if "processes" in allowed else 3)
    if left:
        names = _processes()
        described = sorted(f"{pid} ({names[pid][2]})" for pid in left if pid in names)
        _kill(left)
        _wait_for_none(remaining, 3)
        if described and "processes" not in allowed:
            problems.append(f"processes: {', '.join(described)}")
    if "mounts" not in allowed and (added := set(_mounts()) - set(mounts)):
        problems.append(f"mounts: {', '.join(sorted(added))}")
    if runtime and "containers" not in allowed:
        containers = runtime / "sandbox/containers"
        if containers.is_dir() and (entries := sorted(os.listdir(containers))):
            problems.append(f"containers: {', '.join(entries)}")
    if problems:
        pytest.fail("left behind: " + "; ".join(problems), pytrace=False)
