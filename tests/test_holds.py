"""What a hostile program inside tries, under each shipped profile.

The program is `tests/programs/probe.c`; each of its attempts says `refused ERRNO` or `done`.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import SECRETS, Sandbox
from needs import CHECKOUT, needs
from test_plan import execute

from sandbox.plan.encode import Plan, encode
from sandbox.plan.ops import Isolate, MapIds, Step

pytestmark = needs("userns", "gcc")

PROFILES = ("build", "untrusted", "shell")

# Whatever the profile, none of this may be done.
REFUSED = (
    "unshare-user unshare-mount clone-user clone3-user setuid-0 setgroups chroot mount-tmpfs remount-rw umount-proc"
    " open_tree mknod ptrace-1 open-1-exe open-1-mem open-1-root open-1-fd write-sysrq write-core_pattern"
    " write-hostname write-userns write-uid_map write-cgroup write-usr write-etc write-root sethostname"
    " io_uring bpf keyctl add_key userfaultfd perf_event_open kexec_load socket-vsock socket-packet tiocsti loopback"
).split()


def facts(text: str) -> dict[str, list[str]]:
    """Return the probe's lines by their first word."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found[name].append(value.strip())
    return found


@pytest.fixture(scope="session")
def probe_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the probe, compiled."""
    path = tmp_path_factory.mktemp("probe") / "probe"
    source = CHECKOUT / "tests/programs/probe.c"
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-static", "-o", str(path), str(source)], check=True)
    return path


@pytest.fixture
def probe(probe_binary: Path, project: Path) -> Path:
    """Return the probe in the project directory."""
    path = project / "probe"
    path.write_bytes(probe_binary.read_bytes())
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_that_a_hostile_program_tries_succeeds(sandbox: Sandbox, probe: Path, profile: str) -> None:
    result = sandbox("run", "-p", profile, "--read", str(probe), str(probe))
    found = facts(result.stdout)

    assert result.returncode == 0, result.stderr
    # There /etc is an empty directory in memory.
    harmless = {"write-etc"} if profile == "untrusted" else set()
    done = [name for name in REFUSED if name not in harmless and not found[f"try.{name}"][0].startswith("refused")]
    assert not done
    # Process 1 shrugs off what is sent from inside.
    assert found["try.kill-1"]


@pytest.mark.parametrize("profile", PROFILES)
def test_no_capability_no_new_privileges_and_a_filter(sandbox: Sandbox, probe: Path, profile: str) -> None:
    found = facts(sandbox("run", "-p", profile, "--read", str(probe), str(probe)).stdout)
    status = dict(line.split(":", 1) for line in found["status"])

    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert "descriptor" not in found


@pytest.mark.parametrize("profile", PROFILES)
def test_no_secret_is_readable(
    sandbox: Sandbox, probe: Path, home: Path, runtime_dir: Path, secret: str, profile: str
) -> None:
    """Neither as it comes nor when the whole home is let in: a deny beats an allow."""
    paths = [str(home / name) for name in SECRETS] + [
        str(runtime_dir / "containers/auth.json"),
        str(runtime_dir / "bus"),
    ]
    script = 'for f; do cat "$f" 2>/dev/null; done; true'
    plain = sandbox("run", "-p", profile, "sh", "-c", script, "sh", *paths)
    opened = sandbox("run", "-p", profile, "--read", str(home), "sh", "-c", script, "sh", *paths)

    assert plain.returncode == opened.returncode == 0, plain.stderr + opened.stderr
    assert secret not in plain.stdout
    assert secret not in opened.stdout


@pytest.mark.parametrize("profile", PROFILES)
def test_the_host_cannot_be_reached(sandbox: Sandbox, probe: Path, profile: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0sandbox-test-probe")
        abstract.listen()
        port = server.getsockname()[1]
        found = facts(
            sandbox("run", "-p", profile, "--read", str(probe), str(probe), f":{port}", "@sandbox-test-probe").stdout
        )

    assert found[f"try.port-{port}"][0].startswith("refused")
    assert found["try.abstract-sandbox-test-probe"][0].startswith("refused")
    names = {line.partition(":")[0].strip() for line in found["net"][2:]}
    assert names == {"lo"}


@pytest.mark.parametrize("kept", [False, True])
def test_a_program_of_the_callers_is_all_that_untrusted_shows(
    sandbox: Sandbox, probe: Path, project: Path, kept: bool
) -> None:
    (project / "beside").write_text("not shown")
    for _ in range(2 if kept else 1):
        found = facts(sandbox("run", "-p", "untrusted", "--", "./probe", str(project / "beside"), check=True).stdout)
    absolute = facts(sandbox("run", "-p", "untrusted", "--", str(probe), str(project / "beside"), check=True).stdout)

    for seen in (found, absolute):
        assert seen[f"try.open-{project}/beside"] == [f"refused {errno.ENOENT}"]
        (shown,) = [line for line in seen["mount"] if line.split()[0].endswith("/probe")]
        assert "ro" in shown.split()[3].split(",")


def test_without_leave_the_command_is_not_shown(sandbox: Sandbox, project: Path, home: Path) -> None:
    tool = home / "tool"
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)

    assert sandbox("run", "-p", "build", str(tool)).returncode == 127
    assert sandbox("run", "-p", "untrusted", str(tool)).stdout == "tool\n"
    assert sandbox("run", "-p", "untrusted", "../tool").stdout == "tool\n"
    assert sandbox("run", "-p", "untrusted", str(home / "nosuch")).returncode == 127
    assert sandbox("run", "-p", "untrusted", "/usr/bin/true").returncode == 0


def test_untrusted_can_write_nothing_of_the_host(sandbox: Sandbox, project: Path) -> None:
    before = sorted(project.rglob("*"))
    script = (
        "find / -xdev -not -path '/proc/*' -type d 2>/dev/null | while read -r d; do touch $d/x 2>/dev/null && echo $d; done;"
        " grep -v tmpfs /proc/self/mounts | awk '$4 ~ /^rw/ {print $2, $3}'"
    )
    result = sandbox("run", "-p", "untrusted", "sh", "-c", script)

    writable = [line.split() for line in result.stdout.splitlines() if " " in line]
    assert {kind for _, kind in writable} <= {"proc", "devpts", "mqueue", "devtmpfs"}
    assert sorted(project.rglob("*")) == before


def test_the_network_of_the_host_is_there_if_asked_for(sandbox: Sandbox, probe: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = facts(sandbox("run", "--network", "host", str(probe), f":{port}").stdout)

    assert found[f"try.port-{port}"] == ["done"]


def test_our_image_cannot_be_overwritten_from_inside(sandbox: Sandbox, project: Path) -> None:
    """runc CVE-2019-5736: `#!/proc/self/exe` makes our own image the interpreter, and shows it to its child."""
    before = sandbox.binary.read_bytes()
    (project / "trap").write_text("#!/proc/self/exe\n")
    (project / "trap").chmod(0o755)
    attack = (
        "import os, subprocess, time\n"
        "children = [subprocess.Popen(['./trap'], stderr=subprocess.DEVNULL) for _ in range(20)]\n"
        "for pid in ['1', 'self', *[str(child.pid) for child in children]]:\n"
        "    try:\n"
        "        fd = os.open(f'/proc/{pid}/exe', os.O_RDONLY)\n"
        "        open(f'/proc/self/fd/{fd}', 'r+b').write(b'overwritten')\n"
        "        print('written through', pid)\n"
        "    except OSError as error: pass\n"
        "print('tried')\n"
    )
    result = sandbox("run", "/usr/bin/python3", "-c", attack)
    sandbox("run", "./trap")

    assert result.stdout == "tried\n"
    assert sandbox.binary.read_bytes() == before


def test_our_image_is_read_only_even_to_a_root_inside(sandbox: Sandbox, home: Path) -> None:
    """With all capabilities that can be had, and no filter, process 1 and its image stay out of reach."""
    (home / "root.toml").write_text(
        'extends = "build"\n[user]\nuid = 0\ngid = 0\n[security]\nseccomp = "off"\nnested = true\n'
        'capabilities = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN"]\n'
    )
    before = sandbox.binary.read_bytes()
    script = (
        "id -u; mount -o remount,rw,bind /proc/1/exe 2>&1; (echo x > /proc/1/exe) 2>&1; "
        "ls /proc/1/root/etc >/dev/null 2>&1 && echo root"
    )
    result = sandbox("run", "-p", str(home / "root.toml"), "sh", "-c", script)

    assert result.stdout.startswith("0\n")
    assert sandbox.binary.read_bytes() == before


def test_a_mount_target_that_is_a_symlink_does_not_lead_outside(sandbox: Sandbox, project: Path, home: Path) -> None:
    """runc CVE-2021-30465, CVE-2024-45310: nothing is made or mounted outside the new root."""
    (project / "inner").symlink_to(home / "outside")
    result = sandbox("run", "--tmp", "./inner/deep", "true")

    assert not (home / "outside").exists()
    assert result.returncode in (0, 125)


def test_what_is_hidden_of_the_sandboxs_own_is_hidden_or_refused(sandbox: Sandbox) -> None:
    shown = sandbox("run", "--hide", "/sys/kernel", "--read", "/sys/kernel/mm", "ls", "/sys/kernel")
    refused = sandbox("run", "--hide", "/proc", "--hide", "/proc/cpuinfo", "true")

    assert shown.stdout == "mm\n"
    assert refused.returncode == 125
    assert "/proc: the sandbox has its own, which cannot be hidden" in refused.stderr


def test_a_program_in_the_project_is_not_executed_by_us(sandbox: Sandbox, project: Path) -> None:
    """An activated environment has its directory first on PATH, and a contained program may write there."""
    names = (
        "newuidmap",
        "newgidmap",
        "pasta",
        "slirp4netns",
        "criu",
        "ps",
        "sudo",
        "systemctl",
        "podman",
        "python3",
        "getent",
        "sh",
    )
    for name in names:
        (project / name).write_text(f"#!/bin/sh\n: >{project}/executed-{name}\n")
        (project / name).chmod(0o755)
    env = {"PATH": f"{project}:{os.environ['PATH']}"}
    outside = [
        sandbox("doctor", env=env),
        sandbox("run", "--profile", "base", "--cwd", "/none", "/bin/true", env=env),
        sandbox("run", "--profile", "base", "--cwd", "/", "--user", "0:77", "/bin/true", env=env),
        sandbox("ps", env=env),
        sandbox("profile", "list", env=env),
    ]

    assert outside[0].stdout
    assert [entry.name for entry in project.glob("executed-*")] == []


def test_a_symlink_planted_by_an_earlier_run_is_refused(sandbox: Sandbox, project: Path, home: Path) -> None:
    (project / "data").mkdir()
    (home / "private").mkdir()
    (home / "private/letter").write_text("dear")
    assert sandbox("run", "--read", "./data", "sh", "-c", "true").returncode == 0
    planted = sandbox("run", "sh", "-c", f"rmdir data && ln -s {home}/private data")
    assert planted.returncode == 0
    result = sandbox("run", "--read", "./data", "cat", str(home / "private/letter"))

    assert result.returncode == 125
    assert "is a symlink in a tree that is writable inside" in result.stderr
    assert "dear" not in result.stdout


@pytest.mark.parametrize("victim", ["state", "configuration", "profile"])
def test_what_we_read_next_time_cannot_be_written(
    sandbox: Sandbox, project: Path, home: Path, runtime_dir: Path, victim: str
) -> None:
    (home / ".config/sandbox/profiles").mkdir(parents=True)
    (project / "p.toml").write_text('extends = "build"\n')
    if victim == "state":
        # Hidden by "secrets" as it stands: what is written there is written nowhere.
        hidden = sandbox("run", "--write", str(runtime_dir), "touch", str(runtime_dir / "sandbox/plans/x"))
        assert hidden.returncode != 0
        assert not (runtime_dir / "sandbox/plans/x").exists()
        (project / "open.toml").write_text('[filesystem]\nread = ["/usr", "/bin", "/lib", "/lib64"]\n')
        result = sandbox("run", "-p", "./open.toml", "--cwd", "/", "--write", str(runtime_dir), "true")
    elif victim == "configuration":
        result = sandbox("run", "--write", str(home / ".config"), "true")
    else:
        result = sandbox("run", "-p", "./p.toml", "sh", "-c", "echo x >> p.toml; mv p.toml q; rm -f p.toml; true")
        assert (project / "p.toml").read_text() == 'extends = "build"\n'
        return

    assert result.returncode == 125
    assert "writable inside" in result.stderr


def test_devices_are_the_hosts_own_and_nothing_else(sandbox: Sandbox, probe: Path) -> None:
    found = facts(sandbox("run", str(probe)).stdout)
    nodes = {entry.split()[0]: entry.split()[2] for entry in found["entry"] if entry.split()[1] == "20000"}

    assert nodes == {
        "/dev/null": "103",
        "/dev/zero": "105",
        "/dev/full": "107",
        "/dev/random": "108",
        "/dev/urandom": "109",
        "/dev/tty": "500",
    }


def test_errno_of_an_absent_call_is_enosys(sandbox: Sandbox, probe: Path) -> None:
    """glibc takes clone3 for absent then, and falls back on clone, whose flags are seen."""
    found = facts(sandbox("run", str(probe)).stdout)

    assert found["try.clone3-user"] == [f"refused {errno.ENOSYS}"]
    assert found["try.clone-user"] == [f"refused {errno.EPERM}"]


def test_a_directory_is_not_handed_in(sandbox: Sandbox, home: Path) -> None:
    """runc CVE-2024-21626: through it lies all that is around it."""
    descriptor = os.open(home, os.O_RDONLY)
    process = sandbox.popen("run", "cat", "/proc/self/fd/0/.ssh/id_ed25519", stdin=descriptor)
    os.close(descriptor)
    stdout, stderr = process.communicate(timeout=20)

    assert process.returncode == 125
    assert "standard input is a directory" in stderr
    assert not stdout


def test_names_cannot_command_the_terminal(sandbox: Sandbox, project: Path) -> None:
    name = "evil\x1b]0;title\x07name"
    result = sandbox("run", f"./{name}")

    assert result.returncode == 127
    assert "\x1b" not in result.stderr
    assert "\\x1b" in result.stderr


def test_a_plan_planted_in_another_place_is_not_executed(sandbox: Sandbox, runtime_dir: Path, tmp_path: Path) -> None:
    """The launcher looks in one place, that is ours alone, whether or not there is a state tree in it yet."""
    sandbox("run", "true", check=True)
    (plan,) = (runtime_dir / "sandbox/plans").glob("*.plan")
    content = plan.read_bytes()
    shutil.rmtree(runtime_dir / "sandbox")
    planted = Path(f"/tmp/sandbox-{os.geteuid()}/sandbox/plans")
    made = not planted.exists()
    planted.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (planted, planted.parent, planted.parent.parent):
        directory.chmod(0o700)
    (planted / plan.name).write_bytes(content)
    alone = tmp_path / "sandbox"
    shutil.copy(sandbox.binary, alone)
    sandbox.binary = alone
    try:
        result = sandbox("run", "true")
    finally:
        (planted / plan.name).unlink()
        if made:
            shutil.rmtree(planted.parent.parent)

    assert result.returncode == 125  # it wanted Python, which is not beside it
    assert "cannot execute" in result.stderr


def test_a_helper_that_is_not_the_systems_is_not_executed(project: Path, tmp_path: Path) -> None:
    helper = tmp_path / "newuidmap"
    helper.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    helper.chmod(0o755)
    steps = (
        Step(Isolate(flags=0x10000000 | 0x20000000 | 0x00020000)),
        Step(MapIds(uid_map="0 0 1\n", gid_map="0 0 1\n", uid_helper=str(helper), gid_helper=str(helper)), "here"),
    )
    result = execute(encode(Plan(b"", (), steps)))

    assert result.returncode == 125
    assert not (tmp_path / "executed").exists()
