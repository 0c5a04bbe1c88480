"""`sandbox doctor`, and refusals, on hosts that are broken in one way each."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from broken_world import BrokenHost, filtered, host, refuse, top
from conftest import BINARY
from needs import needs

from sandbox.kernel.probe.distribution import install

__all__ = ["host", "top"]

pytestmark = needs("userns", "newuidmap")

MAIN_JOB = "sandbox run"


def test_on_a_whole_host_it_finds_no_failure(host: BrokenHost) -> None:
    status, found = host.doctor()

    assert status == 0
    assert {finding["state"] for finding in found.values()} <= {"ok", "warn", "n/a"}
    for name in ("user namespace", "other namespaces", "system calls", "mounts", "newuidmap", "newgidmap", MAIN_JOB):
        assert found[name]["state"] == "ok", found[name]
    assert host("run", "echo", "ran").stdout == "ran\n"


# What breaks the host; the finding that tells; its state; words of the cause; words of the cure.
FATAL = {
    "no user namespaces": (
        "echo 0 >/proc/sys/user/max_user_namespaces",
        "user namespace",
        "user.max_user_namespaces is 0",
        "sysctl user.max_user_namespaces=15000",
    ),
    "no mount namespaces": (
        "echo 0 >/proc/sys/user/max_mnt_namespaces",
        "mnt namespace",
        "user.max_mnt_namespaces is 0",
        "sysctl user.max_mnt_namespaces=15000",
    ),
    "no network namespaces": (
        "echo 0 >/proc/sys/user/max_net_namespaces",
        "net namespace",
        "user.max_net_namespaces is 0",
        "sysctl user.max_net_namespaces=15000",
    ),
    "a runtime directory that is read-only": (
        'mount -t tmpfs -o ro,mode=700,uid=1 none "$TOP/run"',
        "runtime directory",
        "{top}/run lies on a file system mounted read-only ({top}/run)",
        "set XDG_RUNTIME_DIR to a directory of your own that is writable",
    ),
    "a runtime directory that is full": (
        'mount -t tmpfs -o nr_inodes=2,mode=700,uid=1 none "$TOP/run"; touch "$TOP/run/a"',
        "runtime directory",
        "the file system of {top}/run has no inode left",
        "df -i {top}/run",
    ),
    "a runtime directory without room": (
        'mount -t tmpfs -o size=16k,mode=700,uid=1 none "$TOP/run"; dd if=/dev/zero of="$TOP/run/a" bs=16k count=1 2>/dev/null',
        "runtime directory",
        "the file system of {top}/run is full",
        "make room: df -h {top}/run",
    ),
    "a state directory of somebody else's": (
        'mkdir "$TOP/run/sandbox"',
        "runtime directory",
        "{top}/run/sandbox belongs to uid 0",
        "ls -ld {top}/run/sandbox",
    ),
    "a state directory open to others": (
        'mkdir -m 0755 "$TOP/run/sandbox"; chown 1 "$TOP/run/sandbox"',
        "runtime directory",
        "{top}/run/sandbox is open to others (mode 0755)",
        "chmod 700 {top}/run/sandbox",
    ),
    "a runtime directory closed to its owner": (
        'chmod 500 "$TOP/run"',
        "runtime directory",
        "{top}/run is closed to you yourself (mode 0500)",
        "chmod 700 {top}/run",
    ),
}


@pytest.mark.parametrize("setup, name, why, cure", FATAL.values(), ids=FATAL.keys())
def test_what_breaks_the_main_job_is_named_by_doctor_and_run(
    host: BrokenHost, setup: str, name: str, why: str, cure: str
) -> None:
    why, cure = why.format(top=host.top), cure.format(top=host.top)
    status, found = host.doctor(setup=f"{setup}\n")
    result = host("run", "true", setup=f"{setup}\n")

    assert status == 1
    assert found[name]["state"] == "fail"
    assert found[name]["why"] == why
    assert cure in found[name]["cure"]
    assert found[MAIN_JOB]["state"] == "fail"
    assert result.returncode == 125
    assert f"\n  cause: {why}\n" in result.stderr
    assert cure in result.stderr.partition("\n  hint: ")[2]


def test_the_last_words_are_what_fails_and_what_to_do_once(host: BrokenHost) -> None:
    result = host("doctor", setup="echo 0 >/proc/sys/user/max_net_namespaces\n")
    lines = result.stdout.splitlines()

    assert result.returncode == 1
    assert lines[-3:-1] == [
        f"sandbox does not work here: net namespace, {MAIN_JOB}",
        "    because user.max_net_namespaces is 0",
    ]
    assert lines[-1].endswith("sysctl user.max_net_namespaces=15000")


def test_what_hangs_on_another_failure_is_not_blamed(host: BrokenHost) -> None:
    _, without_net = host.doctor(setup="echo 0 >/proc/sys/user/max_net_namespaces\n")
    _, without_mnt = host.doctor(setup="echo 0 >/proc/sys/user/max_mnt_namespaces\n")

    assert {n for n, f in without_net.items() if f["state"] == "fail"} == {"net namespace", MAIN_JOB}
    assert without_net["new sysfs"]["found"] == "not tried without a net namespace"
    assert {n for n, f in without_mnt.items() if f["state"] == "fail"} == {"mnt namespace", MAIN_JOB}
    assert without_mnt["overlay"]["found"] == without_mnt["mounts"]["found"] == "not tried without a mnt namespace"


RANGE = '[user]\nmap = "range"\nuid = 0\ngid = 0\n'
MAPS = {
    "nosuid": (
        "mount -o remount,bind,nosuid /usr/bin/newuidmap",
        "newuidmap",
        "/usr/bin/newuidmap lies on a file system mounted nosuid (/usr/bin/newuidmap)",
        "mount -o remount,suid /usr/bin/newuidmap",
    ),
    "neither setuid nor capable": (
        'chmod 755 "$TOP/bin/newgidmap"',
        "newgidmap",
        "/usr/bin/newgidmap is neither setuid nor has the capability cap_setgid",
        "chmod u+s /usr/bin/newgidmap",
    ),
    "not root's": (
        'chown 5 "$TOP/bin/newuidmap"; chmod 4755 "$TOP/bin/newuidmap"',
        "newuidmap",
        "/usr/bin/newuidmap is not root's own, and is not trusted",
        install("newuidmap", again=True),
    ),
    "no range": (
        'echo ann:100:1 >"$TOP/subuid"',
        "subuid range",
        "/etc/subuid: gives no uids to daemon, which a range of ids needs",
        "has to allow 65536 more uids there",
    ),
    "a damaged range": (
        'echo daemon:x:1 >"$TOP/subuid"',
        "subuid range",
        '/etc/subuid:1: "x" is not a number',
        "correct the line",
    ),
}


@pytest.mark.parametrize("setup, name, why, cure", MAPS.values(), ids=MAPS.keys())
def test_what_breaks_ranges_of_ids_is_named_and_the_main_job_goes_on(
    host: BrokenHost, setup: str, name: str, why: str, cure: str
) -> None:
    profile = f'cat >range.toml <<E\nextends = "build"\n{RANGE}E\n'
    setup = f'{setup}\ncd "$TOP/home"\n{profile}'
    status, found = host.doctor(setup=setup)
    result = host("run", "-p", f"{host.top}/home/range.toml", "true", setup=setup)

    assert status == 0
    assert found[name]["state"] == "warn"
    assert found[name]["why"] == why
    assert cure in found[name]["cure"]
    assert found[MAIN_JOB]["state"] == "ok"
    assert result.returncode == 125
    assert why in result.stderr
    assert cure in result.stderr.partition("\n  hint: ")[2]


def test_no_new_privs_is_why_a_setuid_helper_does_not_work(host: BrokenHost, top: Path) -> None:
    status, found = host.doctor(around=("setpriv", "--no-new-privs"))

    assert status == 0
    assert found["newuidmap"]["state"] == "warn"
    assert found["newuidmap"]["why"] == "no_new_privs is set on us, and setuid programs do not work"
    assert "no_new_privs is set" in found["surroundings"]["found"]


def test_a_runtime_directory_that_others_may_write_to_is_passed_over(host: BrokenHost) -> None:
    setup = 'chmod 777 "$TOP/run"; mount -t tmpfs none /tmp; chmod 1777 /tmp\n'
    status, found = host.doctor(setup=setup)

    assert status == 0
    assert found["XDG_RUNTIME_DIR"]["state"] == "warn"
    assert found["XDG_RUNTIME_DIR"]["why"] == f"{host.top}/run: others may write to it (mode 0777)"
    assert found["XDG_RUNTIME_DIR"]["cure"] == f"chmod 700 {host.top}/run"
    assert found["runtime directory"]["found"].startswith("/tmp/sandbox-1/sandbox;")


def test_the_device_of_user_mode_networks_is_opened(host: BrokenHost) -> None:
    setup = "mount -t tmpfs -o mode=755 none /dev/net; echo >/dev/net/tun; chmod 600 /dev/net/tun\n"
    status, found = host.doctor(setup=setup)

    assert status == 0
    assert found["/dev/net/tun"]["state"] == "warn"
    assert found["/dev/net/tun"]["why"] == "its mode is 0600; udev makes it 0666"
    assert found["/dev/net/tun"]["cure"].endswith("chmod 0666 /dev/net/tun")


MASKED = "mount --bind /dev/null /proc/keys\nmount -t tmpfs -o ro none /proc/fs\n"


def test_a_masked_proc_is_why_there_is_no_new_one(host: BrokenHost) -> None:
    status, found = host.doctor(setup=MASKED)

    assert status == 0
    assert found["new proc"]["state"] == "warn"
    assert "the one that is here is shown instead" in found["new proc"]["found"]
    assert found["new proc"]["why"].startswith("/proc/fs, /proc/keys covered: ")
    assert found[MAIN_JOB]["state"] == "ok"
    assert host("run", "cat", "/proc/self/comm", setup=MASKED).stdout == "cat\n"


ENGINE = {
    "masks": (
        MASKED,
        (),
        "cannot mount a new proc on /proc with source=proc: operation not permitted (fsmount)",
        "/proc/fs, /proc/keys covered: ",
    ),
    "a filter": (
        "",
        refuse("pivot_root"),
        "cannot leave the host's tree for the new root: operation not permitted (pivot_root on /)",
        "a seccomp filter around us takes the system call pivot_root away: ",
    ),
    "no namespaces": (
        "echo 0 >/proc/sys/user/max_user_namespaces\n",
        (),
        "no space left on device (clone3)",
        "user.max_user_namespaces is 0: ",
    ),
}


@needs("sandbox_oci", "runc")
@pytest.mark.parametrize("setup, rules, message, hint", ENGINE.values(), ids=ENGINE.keys())
def test_an_engine_is_told_the_cause_too(
    host: BrokenHost, top: Path, setup: str, rules: tuple[tuple[str, int], ...], message: str, hint: str
) -> None:
    bundle = top / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "rootfs").chmod(0o777)  # the user there makes the mount points
    subprocess.run(["runc", "spec", "--rootless"], cwd=bundle, check=True)
    document = json.loads((bundle / "config.json").read_text())
    for kind in ("uid", "gid"):
        document["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": 1, "size": 1}]
    (bundle / "config.json").write_text(json.dumps(document))
    oci, log = BINARY.with_name("sandbox-oci"), f"{host.top}/run/log"
    script = f"{oci} --log-format json --log {log} run --bundle {bundle} c; echo $?; cat {log}"
    around = filtered(top / "filter", *rules) if rules else ()
    result = host("-c", script, setup=setup, around=around, program=Path("/bin/sh"))
    status, *logged = result.stdout.splitlines()
    error = json.loads(logged[-1])

    assert status == "1"
    assert error["level"] == "error"
    assert message in error["msg"]
    assert error["hint"].startswith(hint)


def test_the_limit_on_processes_is_found(host: BrokenHost) -> None:
    result = host("run", "true", around=("prlimit", "--nproc=1:1"))

    assert result.returncode == 125
    assert re.search(
        r"\n  cause: \d+ processes and threads of yours are running, of 1 allowed \(ulimit -u\)\n", result.stderr
    )
    assert "/etc/security/limits.conf" in result.stderr


@pytest.mark.parametrize("limits, cure", [("8:4096", "ulimit -n 1024"), ("11:11", "raise the hard limit: ")])
def test_the_limit_on_descriptors_is_found(host: BrokenHost, limits: str, cure: str) -> None:
    result = host("run", "true", around=("prlimit", f"--nofile={limits}"))

    assert result.returncode == 125
    count = limits.partition(":")[0]
    assert f"\n  cause: a process may have {count} descriptors here (ulimit -n), and more are needed\n" in result.stderr
    assert f"\n  hint: {cure}" in result.stderr


def test_a_lack_of_descriptors_is_never_called_anything_else(host: BrokenHost) -> None:
    """The interpreter itself needs two."""
    results = {limit: host("run", "true", around=("prlimit", f"--nofile={limit}:{limit}")) for limit in range(5, 11)}

    for limit, result in results.items():
        assert result.returncode == 125, limit
        assert ": Too many open files (" in result.stderr
        assert f"\n  cause: a process may have {limit} descriptors here" in result.stderr


def test_a_lack_of_processes_is_no_fault_of_the_programs(host: BrokenHost) -> None:
    status, found = host.doctor(around=("prlimit", "--nproc=1:1"))

    assert status == 1
    for name in ("user namespace", "seccomp filter", MAIN_JOB):
        assert found[name]["state"] == "fail"
    for name in ("user namespace", "seccomp filter", "pasta", MAIN_JOB):
        assert found[name]["why"].endswith(" of yours are running, of 1 allowed (ulimit -u)")
        assert "/etc/security/limits.conf" in found[name]["cure"]


# The directory that becomes the root is no mount point, as after debootstrap.
CHROOT = """
mount -t tmpfs -o mode=0755 none /mnt
mkdir /mnt/root
for name in /*; do
    if [ -L "$name" ]; then cp -a "$name" "/mnt/root$name"
    elif [ -d "$name" ] && [ "$name" != /mnt ]; then mkdir "/mnt/root$name"; mount --rbind "$name" "/mnt/root$name"
    fi
done
exec chroot /mnt/root setpriv --reuid 1 --regid 1 --clear-groups --inh-caps=-all -- "$@"
"""


def test_a_chroot_is_why_there_is_no_user_namespace(host: BrokenHost) -> None:
    status, found = host.doctor(setup=CHROOT)
    result = host("run", "-p", "base", "--cwd", "/", "true", setup=CHROOT)

    assert status == 1
    assert found["user namespace"]["why"] == "we are in a chroot, and the kernel makes no user namespace there"
    assert result.returncode == 125
    assert "\n  cause: we are in a chroot, and the kernel makes no user namespace there\n" in result.stderr


def test_a_directory_that_is_closed_on_the_way_is_named(host: BrokenHost) -> None:
    tree = f"{host.top}/home/a/b"
    setup = 'mkdir -p "$TOP/home/a/b/c"; chown -R 1 "$TOP/home/a"; chmod 0 "$TOP/home/a/b"\n'
    own = host("run", "--read", f"{tree}/c", "true", setup=setup)
    others = host("run", "--read", f"{tree}/c", "true", setup=setup.replace("chown -R 1", "chown -R 2"))

    assert own.returncode == others.returncode == 125
    assert f"{tree}/c: Permission denied\n  cause: {tree} is closed to you: it is yours, with mode 0000\n" in own.stderr
    assert own.stderr.endswith(f"  hint: chmod u+x {tree}\n")
    assert f"  cause: {tree} is closed to you: it is uid 2's, with mode 0000\n" in others.stderr
    assert others.stderr.endswith(f"  hint: ask its owner for: chmod o+x {tree}\n")


def test_a_helper_that_hangs_is_not_waited_for(host: BrokenHost) -> None:
    hang = 'printf "#!/bin/sh\\nsleep 60\\n" >"$TOP/bin/slirp4netns"; chmod 755 "$TOP/bin/slirp4netns"\n'
    status, found = host.doctor(setup=f'{hang}mount --bind "$TOP/bin/slirp4netns" /usr/bin/slirp4netns\n')

    assert status == 0
    assert "no answer within 2 s" in found["slirp4netns"]["found"]
