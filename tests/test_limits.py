"""A sandbox's cgroup: where it is, when there is one, and what is said where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from cgroup_world import Nested, beside, nested
from conftest import Sandbox
from needs import needs
from user_manager_world import running

from sandbox.plan.encode import Plan, decode, encode
from sandbox.plan.inputs import Input, InputKind
from sandbox.plan.ops import Cgroup

__all__ = ["nested"]  # a fixture

pytestmark = needs("userns", "cgroup2", "cgroup_controller")

# What can be limited wherever the tests run: a key of [limits] and the word of its option, the file, and what that says.
PIDS = ("pids", "pids = 64", ("--pids", "64"), "pids.max", "64\n")
PAGES = ("hugetlb", 'hugepages."2MB" = "4M"', ("--hugepages", "2MB:4M"), "hugetlb.2MB.max", "4194304\n")
WAIT = ("sh", "-c", "echo up > ready; read line")


class Limit(NamedTuple):
    """A limit that can be had here."""

    controller: str
    key: str
    option: tuple[str, str]
    file: str
    value: str

    @property
    def inside(self) -> str:
        return f"/sys/fs/cgroup/{self.file}"


@pytest.fixture
def limit() -> Limit:
    return Limit(*(PIDS if "pids" in (beside() / "cgroup.controllers").read_text().split() else PAGES))


@pytest.fixture
def profile(project: Path, limit: Limit) -> str:
    (project / "p.toml").write_text(f'extends = "build"\n[limits]\n{limit.key}\n')
    return "./p.toml"


def start(sandbox: Sandbox, project: Path, *words: str) -> subprocess.Popen[str]:
    process = sandbox.popen("run", "--name", "box", *words, *WAIT, stdin=subprocess.PIPE)
    end = time.monotonic() + 20
    while not (project / "ready").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


def finish(process: subprocess.Popen[str]) -> str:
    _, stderr = process.communicate("\n", timeout=20)
    assert process.returncode == 0, stderr
    return stderr


def plan_of(runtime_dir: Path) -> tuple[set[int], list[Cgroup]]:
    """Return the kinds of inputs of the only kept plan, and its cgroups."""
    (path,) = (runtime_dir / "sandbox/plans").glob("*.plan")
    plan = decode(path.read_bytes())
    return {entry.kind for entry in plan.inputs}, [step.op for step in plan.steps if isinstance(step.op, Cgroup)]


def test_a_sandbox_with_a_limit_is_in_a_cgroup_beside_ours(
    sandbox: Sandbox, project: Path, runtime_dir: Path, profile: str, limit: Limit
) -> None:
    directory = beside() / "sandbox-box"
    process = start(sandbox, project, "-p", profile)
    record = json.loads((runtime_dir / "sandbox/containers/box/state.json").read_text())
    limits = (directory / limit.file).read_text()
    inside = {int(line) for line in (directory / "cgroup.procs").read_text().split()}
    first = int((directory / "cgroup.procs").read_text().split()[0])
    view = Path(f"/proc/{first}/cgroup").read_text()
    stderr = finish(process)

    assert record["cgroup"] == str(directory)
    assert limits == limit.value
    assert record["pid"] in inside
    assert process.pid not in inside, "the monitor is to survive what ends its sandbox"
    assert f"0::{str(directory).removeprefix('/sys/fs/cgroup')}\n" in view
    assert stderr == ""
    assert not directory.exists()


def test_inside_it_is_the_root_of_all(sandbox: Sandbox, profile: str, limit: Limit) -> None:
    result = sandbox("run", "-p", profile, "sh", "-c", f"grep ^0:: /proc/self/cgroup; cat {limit.inside}")

    assert result.stdout == f"0::/\n{limit.value}"


def test_without_a_limit_there_is_none_and_nobody_looks(sandbox: Sandbox, project: Path, runtime_dir: Path) -> None:
    process = start(sandbox, project)
    found = list(beside().glob("sandbox-*"))
    finish(process)
    kinds, cgroups = plan_of(runtime_dir)

    assert (found, cgroups) == ([], [])
    assert not kinds & {InputKind.OWN_CGROUP, InputKind.WORDS}


def test_a_report_is_about_a_cgroup(sandbox: Sandbox, project: Path) -> None:
    process = start(sandbox, project, "--report", str(project / "r.json"))
    found = [path.name for path in beside().glob("sandbox-*")]
    stderr = finish(process)

    assert (found, stderr) == (["sandbox-box"], "")
    assert not (beside() / "sandbox-box").exists()


def test_a_command_that_joins_is_under_the_same_limit(sandbox: Sandbox, project: Path, profile: str) -> None:
    process = start(sandbox, project, "-p", profile)
    plain = sandbox("exec", "box", "grep", "^0::", "/proc/self/cgroup").stdout
    adapted = sandbox("exec", "--env", "A=1", "box", "grep", "^0::", "/proc/self/cgroup").stdout
    finish(process)

    assert (plain, adapted) == ("0::/\n", "0::/\n")


def test_a_kept_plan_is_for_the_cgroup_that_it_was_made_in(
    sandbox: Sandbox, project: Path, runtime_dir: Path, profile: str, nested: Nested
) -> None:
    sandbox("run", "-p", profile, "true", check=True)
    (first,) = (runtime_dir / "sandbox/plans").glob("*.plan")
    made = first.stat().st_ino
    sandbox("run", "-p", profile, "true", check=True)
    again = first.stat().st_ino
    result = nested.run(sandbox, "run", "-p", profile, "true")
    kinds, (operation,) = plan_of(runtime_dir)

    assert again == made
    assert (result.returncode, result.stderr) == (0, "")
    assert operation.parent == str(nested.path)
    assert {InputKind.OWN_CGROUP, InputKind.WORDS} <= kinds


@pytest.mark.parametrize("kind", [InputKind.OWN_CGROUP, InputKind.WORDS])
def test_a_kept_plan_is_made_anew_when_what_it_saw_of_cgroups_is_not_so(
    sandbox: Sandbox, runtime_dir: Path, profile: str, kind: int
) -> None:
    sandbox("run", "-p", profile, "true", check=True)
    (path,) = (runtime_dir / "sandbox/plans").glob("*.plan")
    plan = decode(path.read_bytes())
    seen = tuple(Input(kind, entry.name, f"{entry.value}/x") if entry.kind == kind else entry for entry in plan.inputs)
    path.write_bytes(encode(Plan(plan.key, seen, plan.steps)))
    path.chmod(0o600)
    before = path.stat().st_ino
    result = sandbox("run", "-p", profile, "echo", "ran")

    assert seen != plan.inputs
    assert (result.stdout, result.stderr) == ("ran\n", "")
    assert path.stat().st_ino != before
    assert decode(path.read_bytes()).inputs == plan.inputs


def test_a_controller_is_enabled_on_the_way(sandbox: Sandbox, profile: str, nested: Nested, limit: Limit) -> None:
    before = (nested.path / "cgroup.subtree_control").read_text()
    result = nested.run(sandbox, "run", "-p", profile, "cat", limit.inside)

    assert limit.controller not in before
    assert (result.stdout, result.stderr) == (limit.value, "")
    assert limit.controller in (nested.path / "cgroup.subtree_control").read_text()


@pytest.mark.parametrize("strict", [False, True])
def test_processes_of_an_inner_cgroup_stand_in_the_way(
    sandbox: Sandbox, profile: str, nested: Nested, limit: Limit, *, strict: bool
) -> None:
    with nested.occupied():
        result = nested.run(sandbox, "run", "-p", profile, *(["--strict"] if strict else []), "echo", "ran")
    away = nested.run(sandbox, "run", "-p", profile, "cat", limit.inside)

    if not strict:
        why = f"is not in force: the controller {limit.controller} cannot be enabled in {nested.path}\n"
        assert why in result.stderr
    assert f"cause: {nested.path} has processes in it, and so shares nothing out" in result.stderr
    assert f"hint: move them one down: mkdir {nested.path}/main && " in result.stderr
    assert (result.returncode, result.stdout) == ((125, "") if strict else (0, "ran\n"))
    # Nothing of that was kept.
    assert (away.stdout, away.stderr) == (limit.value, "")


def test_a_cgroup_of_that_name_with_others_in_it_is_not_taken(sandbox: Sandbox, profile: str) -> None:
    directory = beside() / "sandbox-box"
    directory.mkdir()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        (directory / "cgroup.procs").write_text(str(sleeper.pid))
        result = sandbox("run", "--name", "box", "-p", profile, "true")
        alive = sleeper.poll() is None
        sleeper.kill()
    directory.rmdir()

    assert alive
    assert result.returncode == 125
    assert f"Device or resource busy (cgroup on {directory})" in result.stderr
    assert "hint: give the sandbox another name, or end what is in there: " in result.stderr


# --- what cannot be had ---

LIMITS = 'extends = "build"\n[limits]\nmemory = "1G"\npids = 9\n'


def test_a_limit_that_cannot_be_had_is_said(sandbox: Sandbox, project: Path, nested: Nested) -> None:
    (project / "p.toml").write_text(LIMITS)
    with nested.occupied():
        result = nested.run(sandbox, "run", "-p", "./p.toml", "echo", "ran")

    assert result.stdout == "ran\n"
    assert "warning: ./p.toml:3: limits.memory: is not in force: the controller memory " in result.stderr
    assert "warning: ./p.toml:4: limits.pids: is not in force: the controller pids " in result.stderr
    assert result.stderr.count("  hint: ") in (1, 2)


@pytest.mark.parametrize("by", ["option", "profile"])
def test_strict_refuses_and_names_each(sandbox: Sandbox, project: Path, nested: Nested, by: str) -> None:
    (project / "p.toml").write_text(LIMITS + ("strict = true\n" if by == "profile" else ""))
    options = ["--strict"] if by == "option" else []
    with nested.occupied():
        result = nested.run(sandbox, "run", "-p", "./p.toml", *options, "touch", "ran")

    where = "--strict" if by == "option" else "./p.toml:5: limits.strict"
    message = f"sandbox: {where}: not in force: ./p.toml:3: limits.memory, ./p.toml:4: limits.pids\n"
    assert result.returncode == 125
    assert result.stderr.startswith(message)
    assert "  hint: " in result.stderr
    assert not (project / "ran").exists()


def test_the_report_says_what_is_not_in_force(sandbox: Sandbox, project: Path, nested: Nested) -> None:
    text = f'extends = "build"\n[report]\nfile = "{project}/r.json"\n[limits]\nmemory = "1G"\ncpus = 1.5\npids = 9\n'
    (project / "p.toml").write_text(text + "rlimits = { nofile = { soft = 64, hard = 128 } }\n")
    with nested.occupied():
        nested.run(sandbox, "run", "-p", "./p.toml", "true")
    rows = {row["name"]: row for row in json.loads((project / "r.json").read_text())["settings"]}
    missing = {name: (row["asked"], row["origin"]) for name, row in rows.items() if not row["enforced"]}

    assert missing == {
        "limits.memory": (str(1 << 30), "./p.toml:5: limits.memory"),
        "limits.oom_group": ("1", "./p.toml:5: limits.memory"),
        "limits.cpus": ("1.5", "./p.toml:6: limits.cpus"),
        "limits.pids": ("9", "./p.toml:7: limits.pids"),
    }
    assert all(f"the controller {name}" in rows[f"limits.{key}"]["why"] for key, name in
               (("memory", "memory"), ("oom_group", "memory"), ("cpus", "cpu"), ("pids", "pids")))  # fmt: skip
    assert rows["limits.rlimits.nofile"]["asked"] == "64:128"


def test_the_report_says_what_is_in_force(sandbox: Sandbox, project: Path, profile: str, limit: Limit) -> None:
    sandbox("run", "-p", profile, "--report", str(project / "r.json"), "true", check=True)
    rows = json.loads((project / "r.json").read_text())["settings"]

    assert [(row["asked"], row["enforced"], row["why"]) for row in rows if "./p.toml:3" in row["origin"]] == [
        (limit.value.strip(), True, "")
    ]


def test_what_is_asked_for_where_it_can_be_had_is_had(sandbox: Sandbox, project: Path, limit: Limit) -> None:
    key = limit.key.replace('"4M"', '"?4M"').replace("64", '"?64"')
    (project / "p.toml").write_text(f'extends = "build"\n[limits]\n{key}\n')

    assert sandbox("run", "-p", "./p.toml", "cat", limit.inside).stdout == limit.value


def test_and_where_not_only_strict_minds(sandbox: Sandbox, project: Path, nested: Nested) -> None:
    (project / "p.toml").write_text('extends = "build"\n[limits]\npids = "?9"\nmemory = "?80%"\n')
    with nested.occupied():
        soft = nested.run(sandbox, "run", "-p", "./p.toml", "--report", "r.json", "echo", "ran")
        hard = nested.run(sandbox, "run", "-p", "./p.toml", "--strict", "echo", "ran")
    rows = json.loads((project / "r.json").read_text())["settings"]

    assert (soft.returncode, soft.stdout, soft.stderr) == (0, "ran\n", "")
    assert {row["name"] for row in rows if not row["enforced"]} == {"limits.pids", "limits.memory", "limits.oom_group"}
    assert hard.returncode == 125
    assert "not in force: ./p.toml:4: limits.memory, ./p.toml:3: limits.pids\n" in hard.stderr


def test_by_option(sandbox: Sandbox, limit: Limit) -> None:
    result = sandbox("run", *limit.option, "cat", limit.inside)

    assert (result.stdout, result.stderr) == (limit.value, "")


def test_of_huge_pages_those_that_are_reserved_count_too(sandbox: Sandbox) -> None:
    script = "cd /sys/fs/cgroup; cat hugetlb.2MB.max hugetlb.2MB.rsvd.max hugetlb.1GB.max"
    result = sandbox("run", "--hugepages", "2MB:6M", "--hugepages=1GB:0", "sh", "-c", script)

    if "hugetlb" in (beside() / "cgroup.controllers").read_text().split():
        assert (result.stdout, result.stderr) == ("6291456\n6291456\n0\n", "")
    else:  # systemd has it, and gives it to nobody
        why = "warning: --hugepages 2MB:6M: is not in force: the controller hugetlb is not delegated to you\n"
        assert why in result.stderr


@needs("user_manager")
def test_within_a_unit_that_was_delegated_it_is_beside_ours(sandbox: Sandbox, project: Path, runtime_dir: Path) -> None:
    script = (
        "own=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); mkdir $own/main; echo $$ >$own/main/cgroup.procs;"
        f' echo $own >where; exec "{sandbox.binary}" run --name within --report r.json sh -c "echo >ready; sleep 2"'
    )
    with running(runtime_dir) as manager:
        settings = [f"{name}={value}" for name, value in sandbox.environment.items()]
        process = subprocess.Popen(
            ["systemd-run", "--user", "--scope", "-q", "-p", "Delegate=yes", "env", *settings, "sh", "-c", script],
            cwd=project,
            env={**os.environ, **manager.environment},
        )
        while not (project / "ready").exists():
            assert process.poll() is None
            time.sleep(0.01)
        record = json.loads((runtime_dir / "sandbox/containers/within/state.json").read_text())
        units = manager.units("sandbox-within.scope")
        assert process.wait(60) == 0

    assert record["cgroup"] == f"{(project / 'where').read_text().strip()}/sandbox-within"
    assert units == []
