"""What is imported while a fresh bundle is compiled: every start of a container pays for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import BINARY, Sandbox
from needs import CHECKOUT, needs

from sandbox.engine import packed, packing
from sandbox.plan.encode import decode
from sandbox.plan.ops import Command, Isolate, SeccompFilter
from sandbox.profile.seccomp import policy

# Each costs 1 to 10 ms, of 10 that a compilation may take.
HEAVY = {
    *("argparse", "collections", "contextlib", "ctypes", "dataclasses", "datetime", "enum", "functools", "hashlib"),
    *("importlib", "inspect", "json", "logging", "msgspec", "pathlib", "pwd", "random", "re", "shutil", "site"),
    *("socket", "subprocess", "tempfile", "tomllib", "traceback", "typer", "typing", "warnings"),
}

# In nsinit's place: say what was imported, and hand on the plan.
COMPILE = """
import sys; sys.path.append(sys.argv.pop(1))
import os
def execv(program, arguments):
    plan = os.pread(int(arguments[1]), 1 << 20, 0)
    os.write(1, " ".join(sorted(sys.modules)).encode() + b"\\n" + plan)
    os._exit(0)
os.execv = execv
from sandbox.engine.packed import main; main()
"""


class Bundle:
    """A bundle, and a state root to compile it in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        (path / "rootfs").mkdir()

    def key(self) -> bytes:
        """Return the key of its plan, as nsinit makes it."""
        status = Path("/proc/self/status").read_text()
        capabilities = status.partition("CapEff:\t")[2][:16]
        space = os.stat("/proc/self/ns/user").st_ino
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        cgroup = next((line for line in lines if line.startswith("0::")), "")
        parts = ("oci", "build", f"{os.geteuid()} {os.getegid()}", capabilities, str(space), str(self.root))
        texts = (*parts, str(self.path), cgroup, "")
        return b"".join(text.encode() + b"\0" for text in texts) + (self.path / "config.json").read_bytes()

    def compile(self, *words: str, name: str = "x.plan", env: dict[str, str] | None = None) -> tuple[set[str], Any]:
        """Return what was imported, and the plan; fail where there is none."""
        result = self.attempt(*words, name=name, env=env)
        assert result.returncode == 0, result.stderr
        modules, _, plan = result.stdout.partition(b"\n")
        return set(modules.decode().split()), decode(plan)

    def attempt(
        self, *words: str, name: str = "x.plan", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        packages = str(BINARY.parent.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")
        descriptor = os.memfd_create("key")
        try:
            os.write(descriptor, self.key())
            python = [str(BINARY.parent / "python3"), "-I", "-S", "-c", COMPILE, packages]
            return subprocess.run(
                [*python, "/program", str(descriptor), name, "0", *(words or ("run", "x"))],
                capture_output=True,
                pass_fds=(descriptor,),
                env=env or {},
                check=False,
            )
        finally:
            os.close(descriptor)

    def change(self, **members: object) -> None:
        """Change members of the document; `a__b` is b in a."""
        document = json.loads((self.path / "config.json").read_text())
        for name, value in members.items():
            table = document
            *path, last = name.split("__")
            for part in path:
                table = table.setdefault(part, {})
            table[last] = value
        (self.path / "config.json").write_text(json.dumps(document))

    def kept(self) -> list[str]:
        return sorted(os.listdir(self.root / "plans"))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle as `runc spec --rootless` writes it."""
    subprocess.run(["runc", "spec", "--rootless"], cwd=tmp_path, check=True)
    return Bundle(tmp_path)


def operations(plan: Any, kind: type) -> list[Any]:
    return [step.op for step in plan.steps if isinstance(step.op, kind)]


def test_a_bundle_of_runc_is_compiled_with_nothing_heavy(bundle: Bundle) -> None:
    modules, plan = bundle.compile()

    assert not modules & HEAVY
    assert "sandbox.spec.runtime" not in modules
    assert operations(plan, Command)[0].arguments == ("sh",)
    assert operations(plan, Isolate)
    assert plan.key == bundle.key()
    assert bundle.kept() == ["x.plan"]


@needs("userns")
def test_a_bundle_of_ours_is_too(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox("spec", "-p", "build", "--output", str(tmp_path / "b"), "--", "make", check=True)
    bundle = Bundle.__new__(Bundle)
    bundle.path, bundle.root = tmp_path / "b", tmp_path / "root"
    first, _ = bundle.compile()
    second, plan = bundle.compile()

    assert first & HEAVY == {"ctypes"}
    assert not second & HEAVY
    assert operations(plan, SeccompFilter)


def test_a_filter_is_compiled_once_for_all_bundles(bundle: Bundle) -> None:
    bundle.change(linux__seccomp=msgspec.to_builtins(policy("default", nested=False)))
    first, plan = bundle.compile()
    bundle.change(hostname="another")
    second, other = bundle.compile(name="y.plan")

    assert "ctypes" in first
    assert not second & HEAVY
    assert operations(plan, SeccompFilter) == operations(other, SeccompFilter)
    assert len([name for name in bundle.kept() if name.endswith(".bpf")]) == 1


def test_every_section_of_the_spec_is(bundle: Bundle) -> None:
    """Whatever is asked for; what an unprivileged user cannot have is said with nothing heavy either, but not here."""
    bundle.change(
        process__scheduler={"policy": "SCHED_BATCH", "nice": 5},
        process__ioPriority={"class": "IOPRIO_CLASS_IDLE"},
        process__user={"uid": 0, "gid": 0, "umask": 0o22},
        process__terminal=False,
        hooks={"poststop": [{"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 3}]},
        annotations={"org.example": "\u003cü"},
        linux__timeOffsets={"boottime": {"secs": 5}},
        linux__sysctl={"kernel.msgmax": "8192"},
        linux__personality={"domain": "LINUX"},
        linux__rootfsPropagation="private",
    )
    document = json.loads((bundle.path / "config.json").read_text())
    bundle.change(linux__namespaces=[*document["linux"]["namespaces"], {"type": "time"}])
    modules, _ = bundle.compile(env={"NOTIFY_SOCKET": "/run/x"}, name="")

    assert not modules & HEAVY
    assert bundle.kept() == []


def test_a_warning_is_logged_and_the_plan_not_kept(bundle: Bundle) -> None:
    bundle.change(rot=1)
    result = bundle.attempt("--log-format", "json", "run", "x")

    assert result.returncode == 0
    assert json.loads(result.stderr)["level"] == "warning"
    assert json.loads(result.stderr)["msg"].startswith("config.json: rot: is no property of the specification")
    assert bundle.kept() == []


def test_what_an_option_does_not_do_is_said(bundle: Bundle) -> None:
    result = bundle.attempt("run", "--no-pivot", "x", name="")

    assert result.returncode == 0
    assert b'level=warning msg="--no-pivot is ignored: ' in result.stderr


@pytest.mark.parametrize(
    "members, words",
    [
        ({"ociVersion": "2.0.0"}, "ociVersion: 2.0.0 is not supported"),
        ({"process__args": []}, "process.args: must not be empty"),
        ({"mounts": [{"type": "tmpfs"}]}, "mounts[0].destination: is missing"),
        ({"linux__seccomp": {"defaultAction": "ALLOW"}}, "linux.seccomp.defaultAction: 'ALLOW' is unknown"),
        ({"annotations": {"dev.sandbox.symlinks": "{"}}, "annotations.dev.sandbox.symlinks: is not JSON"),
        (
            {"annotations": {"dev.sandbox.symlinks": '{"/a": 1}'}},
            "annotations.dev.sandbox.symlinks: is not an object of texts",
        ),
    ],
)
def test_a_refusal_is_one_line_with_its_place_and_status_1(bundle: Bundle, members: Any, words: str) -> None:
    bundle.change(**members)
    result = bundle.attempt("--log", "/dev/null", "run", "x")

    assert result.returncode == 1
    assert result.stderr.decode().startswith(f"sandbox-oci run failed: config.json: {words}")
    assert result.stderr.count(b"\n") == 1
    assert not result.stdout


# --- the modules in one file ---

ENGINE = BINARY.parent.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/sandbox/engine"


def test_the_pack_holds_what_the_sources_say(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", CHECKOUT / "sandbox/engine/packing.py", tmp_path / "start.pack"], check=True)

    assert packed.read_pack(str(ENGINE / "start.pack")) == packed.read_pack(str(tmp_path / "start.pack"))


def test_the_pack_holds_all_that_is_imported(bundle: Bundle) -> None:
    """What is added to the start path and is not in the pack would still work, and cost the more."""
    bundle.change(linux__seccomp=msgspec.to_builtins(policy("default", nested=False)))
    bundle.compile()
    modules, _ = bundle.compile()
    ours = {name for name in modules if name.partition(".")[0] == "sandbox"}

    assert ours - {*packing.BEFORE} == {*packed.read_pack(str(ENGINE / "start.pack"))}


@pytest.mark.parametrize("content", [b"", b"SBXPACK1", b"SBXPACK1\0\0\0\0rest", None])
def test_a_pack_of_another_python_is_passed_over(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "start.pack").write_bytes(content)

    assert packed.read_pack(str(tmp_path / "start.pack")) == {}


def test_a_module_of_the_pack_is_as_any_other(tmp_path: Path) -> None:
    """Its file is named, what is not in the pack is found beside it, and a traceback has its lines."""
    code = f"""
import sys; sys.path.append({str(ENGINE.parent.parent)!r})
from sandbox.engine import packed
sys.meta_path.insert(0, packed.Pack({str(ENGINE.parent.parent)!r}, packed.read_pack({str(ENGINE / "start.pack")!r})))
import sandbox.plan.ops, sandbox.kernel.state, sandbox.kernel.diagnosis
assert isinstance(sandbox.plan.ops.__loader__, packed.Pack)
assert not isinstance(sandbox.kernel.diagnosis.__loader__, packed.Pack)
assert sandbox.plan.ops.__file__ == {str(ENGINE.parent / "plan/ops.py")!r}
assert sandbox.plan.__path__ == [{str(ENGINE.parent / "plan")!r}]
sandbox.kernel.state.make_root(None)
"""
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)

    assert f'File "{ENGINE.parent}/kernel/state.py", line ' in result.stderr
    assert "os.makedirs(path" in result.stderr
