"""Seccomp filters as the specification words them: read, checked, compiled by libseccomp."""

from __future__ import annotations

import errno
import json

import bpf
import msgspec
import pytest
from bpf import MACHINE, NATIVE, number
from needs import needs

from sandbox.errors import HostError, ProfileError, SpecError
from sandbox.kernel import libseccomp
from sandbox.profile.seccomp import architecture, policy, read_policy
from sandbox.spec.runtime import Seccomp, Syscall, SyscallArg
from sandbox.spec.seccomp import ACTIONS

pytestmark = needs("seccomp")

EPERM = bpf.ERRNO | errno.EPERM


def one_rule(*names: str, action: str = "SCMP_ACT_ERRNO", args: list[SyscallArg] | None = None, **more: int) -> Seccomp:
    rule = Syscall(names=list(names), action=action, args=args or [], **more)
    return Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=[rule])


# --- a user's document ---


@pytest.mark.parametrize("name", ["default", "strict"])
def test_a_policy_survives_being_written_and_read(name):
    ours = policy(name, nested=False)
    assert read_policy(msgspec.json.encode(ours), "own.json") == ours


@pytest.mark.parametrize(
    "document, complaint",
    [
        ("{", "own.json: "),
        ("[]", "own.json: Expected `object`"),
        ({}, "missing required field `defaultAction`"),
        ({"defaultAction": "SCMP_ACT_ALOW"}, r"own.json: \$.defaultAction: 'SCMP_ACT_ALOW' is unknown"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, r"\$.defaultAction: SCMP_ACT_NOTIFY cannot"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},
            r"\$.defaultErrnoRet: SCMP_ACT_ALLOW carries no errno",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}, r"\$.flags\[0\]: 'X' is unknown"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"]}, r"\$.architectures\[0\]"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": "read"}]}, r"\$.syscalls\[0\].names"),
        ({"names": [], "action": "SCMP_ACT_ALLOW"}, r"\$.syscalls\[0\].names: names no system call"),
        ({"names": ["re\0ad"], "action": "SCMP_ACT_ALLOW"}, r"\$.syscalls\[0\].names\[0\]"),
        ({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}, r"\$.syscalls\[0\].errnoRet: 5000"),
        ({"names": ["read"], "action": "ALLOW"}, r"\$.syscalls\[0\].action: 'ALLOW' is unknown"),
        ({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}, r"\$.syscalls\[0\].args\[0\].index: 6"),
        (
            {"index": 0, "value": -1, "op": "SCMP_CMP_EQ"},
            r"Expected `int` >= 0 - at `\$.syscalls\[0\].args\[0\].value`",
        ),
        ({"index": 0, "value": 0, "op": "=="}, r"\$.syscalls\[0\].args\[0\].op: '=='"),
    ],
)
def test_mistakes_in_a_users_filter_are_placed(document, complaint):
    if isinstance(document, dict):
        if "index" in document:
            document = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [document]}
        if "names" in document:
            document = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [document]}
        document = json.dumps(document)
    with pytest.raises(ProfileError, match=complaint):
        read_policy(document.encode(), "own.json")


def test_a_docker_profile_is_told_apart():
    with pytest.raises(ProfileError) as caught:
        read_policy(b'{"defaultAction": "SCMP_ACT_ERRNO", "archMap": []}', "docker.json")
    assert "OCI" in caught.value.hint


# --- the door to libseccomp ---


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_arrives(action):
    carries = {"errno_ret": 77} if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else {}
    default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    seccomp = Seccomp(default_action=default, syscalls=[Syscall(names=["getppid"], action=action, **carries)])
    instructions = bpf.decode(libseccomp.compile_filter(seccomp))
    assert bpf.evaluate(instructions, NATIVE, number("getppid")) == ACTIONS[action] | (77 if carries else 0)
    assert bpf.evaluate(instructions, NATIVE, number("getpid")) == ACTIONS[default]


@pytest.mark.parametrize(
    "op, holds",
    [
        ("NE", lambda x: x != 5_000_000_000),
        ("LT", lambda x: x < 5_000_000_000),
        ("LE", lambda x: x <= 5_000_000_000),
        ("EQ", lambda x: x == 5_000_000_000),
        ("GE", lambda x: x >= 5_000_000_000),
        ("GT", lambda x: x > 5_000_000_000),
    ],
)
def test_every_operator_compares_64_bits(op, holds):
    argument = SyscallArg(index=2, value=5_000_000_000, op=f"SCMP_CMP_{op}")
    instructions = bpf.decode(libseccomp.compile_filter(one_rule("read", args=[argument])))
    for value in (0, 705_032_704, 4_999_999_999, 5_000_000_000, 5_000_000_001, 2**64 - 1):
        found = bpf.evaluate(instructions, NATIVE, number("read"), 0, 0, value)
        assert found == (EPERM if holds(value) else bpf.ALLOW), value


def test_arguments_hold_together_and_one_twice_means_either():
    first, second = SyscallArg(index=0, value=1, op="SCMP_CMP_EQ"), SyscallArg(index=1, value=2, op="SCMP_CMP_EQ")
    together = bpf.decode(libseccomp.compile_filter(one_rule("read", args=[first, second])))
    assert bpf.evaluate(together, NATIVE, number("read"), 1, 2) == EPERM
    assert bpf.evaluate(together, NATIVE, number("read"), 1, 3) == bpf.ALLOW

    again = SyscallArg(index=0, value=7, op="SCMP_CMP_EQ")
    either = bpf.decode(libseccomp.compile_filter(one_rule("read", args=[first, again])))
    found = [bpf.evaluate(either, NATIVE, number("read"), value) for value in (1, 7, 8)]
    assert found == [EPERM, EPERM, bpf.ALLOW]


@pytest.mark.skipif(MACHINE != "x86_64", reason="names the ABIs of x86-64")
def test_further_architectures_have_their_own_numbers():
    seccomp = one_rule("getppid")
    seccomp.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    instructions = bpf.decode(libseccomp.compile_filter(seccomp))
    assert bpf.evaluate(instructions, bpf.AUDIT_ARCH["i386"], 64) == EPERM
    assert bpf.evaluate(instructions, bpf.AUDIT_ARCH["i386"], 110) == bpf.ALLOW
    assert bpf.evaluate(instructions, NATIVE, 110) == EPERM
    assert bpf.evaluate(instructions, NATIVE, 110 | 0x40000000) == EPERM


def test_names_that_libseccomp_does_not_know_are_passed_over():
    seccomp = one_rule("getppid", "opne", "mount_into_orbit")
    assert libseccomp.unknown_names(seccomp) == ["opne", "mount_into_orbit"]
    instructions = bpf.decode(libseccomp.compile_filter(seccomp))
    assert bpf.evaluate(instructions, NATIVE, number("getppid")) == EPERM


def test_a_refused_architecture_is_placed():
    seccomp = one_rule("read")
    seccomp.architectures = [architecture(), "SCMP_ARCH_S390X"]  # of the other byte order
    with pytest.raises(SpecError, match=r"linux\.seccomp\.architectures\[1\]: .* \(libseccomp\)"):
        libseccomp.compile_filter(seccomp)


def test_a_wrong_word_is_placed():
    seccomp = one_rule("read")
    seccomp.syscalls.append(Syscall(names=["write"], action="SCMP_ACT_ERNO"))
    with pytest.raises(SpecError, match=r"linux\.seccomp\.syscalls\[1\]\.action: 'SCMP_ACT_ERNO' is unknown") as caught:
        libseccomp.compile_filter(seccomp)
    assert "SCMP_ACT_ERRNO" in caught.value.hint


def test_a_filter_that_the_kernel_would_not_take_is_refused():
    args = [SyscallArg(index=0, value=index << 32 | index, op="SCMP_CMP_EQ") for index in range(2000)]
    with pytest.raises(SpecError, match="instructions, of which the kernel takes 4096"):
        libseccomp.compile_filter(one_rule("read", "write", args=args))


def test_flags_are_those_of_the_kernel():
    seccomp = one_rule("read")
    assert libseccomp.filter_flags(seccomp) == 0
    seccomp.flags = [
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]
    assert libseccomp.filter_flags(seccomp) == 2 | 4 | 32
    seccomp.flags = ["SECCOMP_FILTER_FLAG_TSINK"]
    with pytest.raises(SpecError, match=r"linux\.seccomp\.flags\[0\]"):
        libseccomp.filter_flags(seccomp)


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr(libseccomp, "_loaded", None)
    monkeypatch.setattr(libseccomp, "_LIBRARY", "libseccomp.so.99")
    with pytest.raises(HostError, match="cannot be loaded") as caught:
        libseccomp.compile_filter(one_rule("read"))

    assert "apt install libseccomp2" in caught.value.hint
