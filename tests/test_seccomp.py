"""The shipped seccomp policies: what the compiled filter answers to which call."""

from __future__ import annotations

import errno
import signal
from functools import cache

import bpf
import pytest
from bpf import MACHINE, NATIVE, library, number
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from sandbox.errors import ProfileError
from sandbox.kernel import libseccomp
from sandbox.profile import syscalls
from sandbox.profile.seccomp import all_but, architecture, policy
from sandbox.spec.seccomp import ARCHITECTURES

pytestmark = needs("seccomp")

EPERM, ENOSYS, EAFNOSUPPORT = (bpf.ERRNO | number for number in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))

CLONE_NEW = {
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUTS": 0x4000000,
    "NEWIPC": 0x8000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
NEWTIME = 0x80
TIOCSTI, TIOCSETD, TIOCLINUX = 0x5412, 0x5423, 0x541C
AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 16, 17, 38, 40

# Calls younger than libseccomp 2.5.4; on hosts with a newer one they are looked up like the others.
NEWER = {
    "file_getattr",
    "file_setattr",
    "getxattrat",
    "listmount",
    "listns",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mseal",
    "open_tree_attr",
    "removexattrat",
    "rseq_slice_yield",
    "setxattrat",
    "statmount",
    "uprobe",
    "uretprobe",
}
WITH_RULES_OF_THEIR_OWN = {"clone", "ioctl", "personality", "socket", "socketpair", "unshare"}
GROUPS = {name: getattr(syscalls, name) for name in ("BASIC", "WORKSHOP", "NESTED", "REFUSED", "ABSENT")}

WORDS_32 = st.integers(0, 2**32 - 1)
WORDS_64 = st.integers(0, 2**64 - 1)


@cache
def program(name: str, nested: bool = False, capabilities: tuple[str, ...] = ()) -> bytes:
    return libseccomp.compile_filter(policy(name, nested=nested, capabilities=frozenset(capabilities)))


@cache
def decoded(name: str, nested: bool = False, capabilities: tuple[str, ...] = ()) -> list[tuple[int, int, int, int]]:
    return bpf.decode(program(name, nested, capabilities))


def answer(
    call: str, *args: int, name: str = "default", nested: bool = False, capabilities: tuple[str, ...] = ()
) -> int:
    return bpf.evaluate(decoded(name, nested, capabilities), NATIVE, number(call), *args)


both = pytest.mark.parametrize("name", ["default", "strict"])


# --- the lists ---


def test_each_call_stands_in_one_group():
    names = [name for group in GROUPS.values() for name in group] + sorted(WITH_RULES_OF_THEIR_OWN)
    assert sorted(names) == sorted(set(names))


def test_names_are_spelt_as_the_kernel_spells_them():
    listed = {name for group in (*GROUPS.values(), *syscalls.WITH_CAPABILITY.values()) for name in group}
    unknown = {name for name in listed if library().seccomp_syscall_resolve_name(name.encode()) == -1}
    assert unknown <= NEWER


@pytest.mark.parametrize("arch", ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"])
def test_no_call_that_libseccomp_knows_was_forgotten(arch):
    judged = {name for group in GROUPS.values() for name in group} | WITH_RULES_OF_THEIR_OWN
    resolve = library().seccomp_syscall_resolve_num_arch
    known = {name.decode() for at in range(512) if (name := resolve(ARCHITECTURES[arch], at))}
    assert len(known) > 250
    assert known <= judged


@both
@pytest.mark.parametrize("nested", [False, True])
def test_no_call_is_both_allowed_and_refused_without_looking_at_arguments(name, nested):
    """libseccomp would let the later rule win without a word."""
    seen: set[str] = set()
    for rule in policy(name, nested=nested).syscalls:
        if not rule.args:
            assert not seen & set(rule.names)
            seen |= set(rule.names)
    assert not seen & {called for rule in policy(name, nested=nested).syscalls if rule.args for called in rule.names}


@both
@pytest.mark.parametrize(
    "calls",
    [
        "read write openat execve mmap mprotect futex wait4 exit_group rt_sigreturn clock_gettime getrandom",
        "set_robust_list rseq sched_getaffinity prctl arch_prctl pidfd_open statx faccessat2 close_range",
        "socketpair connect sendmsg epoll_pwait eventfd2 inotify_init1 memfd_create seccomp landlock_restrict_self",
        "setuid setgroups chown mknodat chmod flock copy_file_range splice shmget semget",
    ],
)
def test_everyday_calls_are_allowed(name, calls):
    calls = [call for call in calls.split() if library().seccomp_syscall_resolve_name(call.encode()) >= 0]
    assert {call: answer(call, 1, name=name) for call in calls} == dict.fromkeys(calls, bpf.ALLOW)


@both
@pytest.mark.parametrize(
    "calls",
    [
        "io_uring_setup io_uring_enter io_uring_register bpf userfaultfd perf_event_open add_key request_key keyctl",
        "mount umount2 pivot_root chroot setns fsopen fsmount open_tree move_mount mount_setattr sethostname",
        "open_by_handle_at init_module finit_module delete_module kexec_load reboot swapon swapoff acct quotactl",
        "settimeofday clock_settime syslog vhangup fanotify_init",
    ],
)
def test_dangerous_calls_are_refused(name, calls):
    assert {call: answer(call, name=name) for call in calls.split()} == dict.fromkeys(calls.split(), EPERM)


@both
def test_calls_that_nobody_knows_look_absent(name):
    assert bpf.evaluate(decoded(name), NATIVE, 9999) == ENOSYS
    assert bpf.evaluate(decoded(name), NATIVE, 0x3FFFFFFF) == ENOSYS
    assert answer("clone3", name=name) == ENOSYS


@pytest.mark.parametrize(
    "call", ["ptrace", "process_vm_writev", "kcmp", "pidfd_getfd", "io_setup", "mbind", "vmsplice"]
)
def test_strict_is_without_a_workshop(call):
    assert answer(call) == bpf.ALLOW
    assert answer(call, name="strict") == EPERM


@given(
    nested=st.booleans(),
    call=st.integers(0, 500),
    args=st.tuples(*[WORDS_64] * 6) | st.tuples(*[st.integers(0, 64)] * 6),
)
def test_strict_allows_nothing_that_default_refuses(nested, call, args):
    if bpf.evaluate(decoded("strict", nested), NATIVE, call, *args) == bpf.ALLOW:
        assert bpf.evaluate(decoded("default", nested), NATIVE, call, *args) == bpf.ALLOW


def test_strict_allows_no_list_that_default_refuses():
    for nested in (False, True):
        for call in range(512):
            if bpf.evaluate(decoded("strict", nested), NATIVE, call) == bpf.ALLOW:
                assert bpf.evaluate(decoded("default", nested), NATIVE, call) == bpf.ALLOW


# --- arguments ---


@given(st.sets(st.integers(0, 255), max_size=6))
def test_all_but_covers_each_other_number_once(values):
    pairs = all_but(sorted(values), bits=8)
    for candidate in range(256):
        assert sum(candidate & mask == rest for mask, rest in pairs) == (candidate not in values)


@both
@pytest.mark.parametrize("request_number", [TIOCSTI, TIOCLINUX])
@given(high=WORDS_32)
def test_typing_into_the_terminal_is_refused_whatever_the_high_bits(name, request_number, high):
    assert answer("ioctl", 0, high << 32 | request_number, name=name) == EPERM


@both
@given(requested=WORDS_64 | st.integers(0x5300, 0x5500) | st.integers(0, 63).map(lambda bit: TIOCSTI ^ 1 << bit))
def test_every_other_request_of_ioctl_is_allowed(name, requested):
    refused = {TIOCSTI, TIOCLINUX, *([TIOCSETD] if name == "strict" else [])}
    expected = EPERM if requested & 0xFFFFFFFF in refused else bpf.ALLOW
    assert answer("ioctl", 0, requested, name=name) == expected


@both
@given(flags=WORDS_64 | st.sets(st.integers(0, 63)).map(lambda bits: sum(1 << bit for bit in bits)))
def test_clone_and_unshare_make_no_namespace(name, flags):
    makes = flags & sum(CLONE_NEW.values())
    assert answer("clone", flags, name=name) == (EPERM if makes else bpf.ALLOW)

    unshared = answer("unshare", flags, name=name)
    if makes or flags & NEWTIME:
        assert unshared == EPERM
    else:
        assert (unshared == bpf.ALLOW) == (flags & ~0x50F00 == 0)


@both
@pytest.mark.parametrize("flag", [*CLONE_NEW.values(), NEWTIME])
def test_each_namespace_flag_is_seen_alone(name, flag):
    assert answer("unshare", flag, name=name) == EPERM
    assert answer("unshare", flag, name=name, nested=True) == bpf.ALLOW
    if flag != NEWTIME:
        assert answer("clone", flag | signal.SIGCHLD, name=name) == EPERM
        assert answer("clone", flag | signal.SIGCHLD, name=name, nested=True) == bpf.ALLOW


def test_threads_and_forks_are_clones_that_are_allowed():
    pthread = 0x3D0F00  # what glibc gives
    for flags in (pthread, signal.SIGCHLD, 0x4111, 0x1200011):  # thread, fork, vfork, fork with child tid
        assert answer("clone", flags, name="strict") == bpf.ALLOW


@both
@given(family=st.integers(0, 70) | WORDS_32, high=WORDS_32)
def test_sockets_are_of_few_families(name, family, high):
    allowed = {1, 2, 10} | ({AF_NETLINK} if name == "default" else set())
    for call in ("socket", "socketpair"):
        found = answer(call, high << 32 | family, name=name)
        assert found == (bpf.ALLOW if family in allowed else EAFNOSUPPORT if family < 64 else ENOSYS)


@given(persona=WORDS_64 | st.sampled_from([0, 8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF, 2**64 - 1, 0x400000, 0x440000]))
def test_only_harmless_personalities(persona):
    harmless = persona & 0xFFFFFFFF in {0, 8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF}
    assert answer("personality", persona) == (bpf.ALLOW if harmless else ENOSYS)
    assert answer("personality", persona, name="strict") == EPERM


@pytest.mark.skipif(MACHINE != "x86_64", reason="has these ABIs")
@both
@given(call=st.integers(0, 600), args=st.tuples(*[WORDS_64] * 6))
def test_foreign_abis_are_killed(name, call, args):
    assert bpf.evaluate(decoded(name), bpf.AUDIT_ARCH["i386"], call, *args) == bpf.KILL_THREAD
    assert bpf.evaluate(decoded(name), bpf.AUDIT_ARCH["aarch64"], call, *args) == bpf.KILL_THREAD
    assert bpf.evaluate(decoded(name), NATIVE, call | 0x40000000, *args) == bpf.KILL_THREAD  # x32


@both
@pytest.mark.parametrize(
    "call",
    [
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "setns",
        "clone3",
        "fsopen",
        "move_mount",
        "mount_setattr",
        "sethostname",
    ],
)
def test_nested_sandboxes_can_be_built_where_asked_for(name, call):
    assert answer(call, name=name) != bpf.ALLOW
    assert answer(call, name=name, nested=True) == bpf.ALLOW
    assert answer(call, name=name, capabilities=("CAP_SYS_ADMIN",)) == bpf.ALLOW


@both
@pytest.mark.parametrize(
    "capability, call",
    [(capability, call) for capability, calls in syscalls.WITH_CAPABILITY.items() for call in calls],
)
def test_a_capability_opens_the_calls_that_ask_for_it(name, capability, call):
    if library().seccomp_syscall_resolve_name(call.encode()) < 0:
        assert call in policy(name, nested=False, capabilities=frozenset({capability})).syscalls[0].names
    else:
        assert answer(call, name=name, capabilities=(capability,)) == bpf.ALLOW


@both
def test_a_capability_opens_nothing_else(name):
    before, after = decoded(name), decoded(name, False, ("CAP_SYS_CHROOT",))
    changed = [at for at in range(512) if bpf.evaluate(before, NATIVE, at) != bpf.evaluate(after, NATIVE, at)]
    assert changed == [number("chroot")]
    assert answer("socket", AF_PACKET, capabilities=("CAP_NET_RAW",)) == bpf.ALLOW
    assert answer("socket", AF_VSOCK, capabilities=("CAP_NET_RAW",)) == EAFNOSUPPORT


# --- which there are ---


def test_another_policy_is_refused_with_those_that_exist():
    with pytest.raises(ProfileError, match="'lax' is no seccomp policy") as caught:
        policy("lax", nested=False)
    assert "strict" in caught.value.hint


def test_architecture_is_named_as_in_the_specification():
    assert architecture("aarch64") == "SCMP_ARCH_AARCH64"
    with pytest.raises(ProfileError, match="no list of system calls for vax"):
        architecture("vax")
