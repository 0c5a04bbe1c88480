"""The seccomp filter of a profile: what a contained program may ask of the kernel.

Decides the rules, in the words of the runtime specification, so that runc and crun read them
alike.  The calls themselves are listed in `sandbox.profile.syscalls`; here stand those whose
arguments matter.  Compiling is left to `sandbox.kernel.libseccomp`.

An allow-list: a call that is named nowhere answers ENOSYS, as if the kernel were older than the
program, which libraries expect and have another way for.
"""

from __future__ import annotations

import errno
import os

from sandbox.errors import ProfileError, SpecError
from sandbox.profile.syscalls import ABSENT, BASIC, NESTED, REFUSED, WITH_CAPABILITY, WORKSHOP
from sandbox.spec.runtime import Seccomp, Syscall, SyscallArg

POLICIES = ("default", "strict")

# The kernel's own ABI alone.  Others (i386, x32) have calls of other numbers and arguments, many of
# them little tested: libseccomp kills what makes one.
_ARCHITECTURE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

_ALLOW = "SCMP_ACT_ALLOW"
_ERRNO = "SCMP_ACT_ERRNO"
_LOW_32 = 0xFFFF_FFFF
_ALL_64 = 0xFFFF_FFFF_FFFF_FFFF

# Flags of clone(2) and unshare(2).  In clone the bit of CLONE_NEWTIME is part of the exit signal.
_CLONE_NEW = (
    0x0002_0000,  # NEWNS
    0x0200_0000,  # NEWCGROUP
    0x0400_0000,  # NEWUTS
    0x0800_0000,  # NEWIPC
    0x1000_0000,  # NEWUSER
    0x2000_0000,  # NEWPID
    0x4000_0000,  # NEWNET
)
_CLONE_NEWTIME = 0x0000_0080
# What unshare(2) takes and makes no namespace of, CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM.
_UNSHARE_PLAIN = 0x0000_0100 | 0x0000_0200 | 0x0000_0400 | 0x0000_0800 | 0x0001_0000 | 0x0004_0000

# They put characters into a terminal as if they had been typed: into the caller's shell, where the
# terminal is still its (CVE-2017-5226, CVE-2023-28100).
_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
# Loads a line discipline: drivers for modems and the like, which fail often.
_TIOCSETD = 0x5423

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET = 1, 2, 10, 16, 17

_PERSONALITIES = (
    0x0000_0000,  # PER_LINUX
    0x0000_0008,  # PER_LINUX32: builds for i386
    0x0002_0000,  # UNAME26
    0x0002_0008,
    0x0004_0000,  # ADDR_NO_RANDOMIZE: debuggers
    0xFFFF_FFFF,  # asks which it is
)


def policy(name: str, *, nested: bool, capabilities: frozenset[str] = frozenset()) -> Seccomp:
    """Return the filter `name`, "default" or "strict".

    `nested` lets the program make namespaces and mounts of its own; `capabilities` are those that
    the profile grants.  Strict is without debuggers, asynchronous input and output, memory
    placement and netlink.

    Raises ProfileError for another name, and on a machine for which there is no list.
    """
    if name not in POLICIES:
        raise ProfileError(
            f"{name!r} is no seccomp policy", where="security.seccomp", hint=f"one of {', '.join(POLICIES)}"
        )
    strict = name == "strict"
    namespaces = nested or "CAP_SYS_ADMIN" in capabilities

    workshop = (*WORKSHOP, "personality") if strict else WORKSHOP
    # Of a dict, keys alone: a set that keeps its order, so that equal profiles give equal filters.
    allowed = dict.fromkeys(BASIC)
    if not strict:
        allowed.update(dict.fromkeys(WORKSHOP))
    if namespaces:
        allowed.update(dict.fromkeys((*NESTED, "clone", "clone3", "unshare")))
    for capability in sorted(capabilities):
        allowed.update(dict.fromkeys(WITH_CAPABILITY.get(capability, ())))

    families = [_AF_UNIX, _AF_INET, _AF_INET6]
    if not strict or "CAP_NET_ADMIN" in capabilities:
        families.append(_AF_NETLINK)
    if "CAP_NET_RAW" in capabilities:
        families.append(_AF_PACKET)

    rules = [Syscall(names=list(allowed), action=_ALLOW)]
    rules += _requests([_TIOCSTI, _TIOCLINUX, *([_TIOCSETD] if strict else [])])
    rules += _families(families)
    if not strict:
        rules += _personality()
    if not namespaces:
        rules += _no_namespaces()
    rules += [
        _refuse([name for name in (*REFUSED, *NESTED, *workshop) if name not in allowed], errno.EPERM),
        # The same as the default; said, because these are refused and not forgotten.
        _refuse([name for name in ABSENT if name not in allowed], errno.ENOSYS),
    ]
    return Seccomp(
        default_action=_ERRNO,
        default_errno_ret=errno.ENOSYS,
        architectures=[architecture()],
        syscalls=rules,
    )


def read_policy(document: bytes, where: str) -> Seccomp:
    """Return a user's filter: the JSON of a `linux.seccomp` of the runtime specification.

    `where` names the document in errors.  Raises ProfileError with the JSON path.
    """
    import msgspec  # late: most profiles name a policy of ours

    from sandbox.spec.seccomp import check  # late: as above

    try:
        seccomp = msgspec.json.decode(document, type=Seccomp)
    except msgspec.DecodeError as error:
        foreign = any(word in str(error) for word in ("archMap", "includes", "excludes", "defaultErrno`"))
        raise ProfileError(
            str(error),
            where=where,
            hint="give what stands under linux.seccomp in an OCI config.json; this is the format of Docker and podman"
            if foreign
            else "",
        ) from error
    try:
        check(seccomp, "$")
    except SpecError as error:
        raise ProfileError(str(error), where=where, hint=error.hint) from error
    return seccomp


def architecture(machine: str = "") -> str:
    """Return the name in the specification of `machine`, by default this one.

    Raises ProfileError for a machine for which there is no list of calls.
    """
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURE:
        raise ProfileError(
            f"there is no list of system calls for {machine}",
            where="security.seccomp",
            hint="name a file with a filter of your own",
        )
    return _ARCHITECTURE[machine]


def all_but(values: list[int], bits: int = 32) -> list[tuple[int, int]]:
    """Return (mask, rest) pairs that together match every number of `bits` bits but `values`.

    Each number matches at most one pair, and bits above `bits` are not looked at, as the kernel
    does not look at them in an argument of that width; the operator NE compares all 64, and is
    passed by whoever sets a high bit.  The pairs are the branches that leave the paths to `values`
    in the tree of all numbers.
    """
    pairs: list[tuple[int, int]] = []

    def descend(prefix: int, depth: int, below: list[int]) -> None:
        if depth == bits:
            return
        shift = bits - depth - 1
        for branch in (prefix << 1, prefix << 1 | 1):
            on_path = [value for value in below if value >> shift == branch]
            if on_path:
                descend(branch, depth + 1, on_path)
            else:
                pairs.append((((1 << bits) - 1) >> shift << shift, branch << shift))

    descend(0, 0, values)
    return pairs


def _refuse(names: list[str], number: int, args: list[SyscallArg] | None = None) -> Syscall:
    return Syscall(names=names, action=_ERRNO, errno_ret=number, args=args or [])


def _masked(index: int, mask: int, rest: int) -> list[SyscallArg]:
    return [SyscallArg(index=index, value=mask, value_two=rest, op="SCMP_CMP_MASKED_EQ")]


def _requests(refused: list[int]) -> list[Syscall]:
    """ioctl: every request but those `refused`."""
    return [
        *(Syscall(names=["ioctl"], action=_ALLOW, args=_masked(1, *pair)) for pair in all_but(refused)),
        *(_refuse(["ioctl"], errno.EPERM, _masked(1, _LOW_32, request)) for request in refused),
    ]


def _families(families: list[int]) -> list[Syscall]:
    """Sockets: `families` alone.

    EAFNOSUPPORT, and not EPERM, for the others: a program then takes the family (VSOCK, ALG,
    BLUETOOTH, ...) as one that this kernel was built without, and goes on.
    """
    names = ["socket", "socketpair"]
    # Numbers of 64 and more are no families (AF_MAX is 46) and may have the default answer.
    others = [(_LOW_32 ^ 0x3F | mask, rest) for mask, rest in all_but(families, bits=6)]
    return [
        *(Syscall(names=names, action=_ALLOW, args=_masked(0, _LOW_32, family)) for family in families),
        *(_refuse(names, errno.EAFNOSUPPORT, _masked(0, *pair)) for pair in others),
    ]


def _personality() -> list[Syscall]:
    """Harmless ones.  Others weaken the process (READ_IMPLIES_EXEC, MMAP_PAGE_ZERO) and have the default answer."""
    return [Syscall(names=["personality"], action=_ALLOW, args=_masked(0, _LOW_32, value)) for value in _PERSONALITIES]


def _no_namespaces() -> list[Syscall]:
    """Let clone and unshare through where no new namespace is asked for."""
    return [
        Syscall(names=["clone"], action=_ALLOW, args=_masked(0, sum(_CLONE_NEW), 0)),
        *(_refuse(["clone"], errno.EPERM, _masked(0, *pair)) for pair in _any_of(_CLONE_NEW)),
        # The kernel reads all 64 bits here, and a flag of a later kernel may make a namespace too: what is
        # neither plain nor known has the default answer.
        Syscall(names=["unshare"], action=_ALLOW, args=_masked(0, _ALL_64 ^ _UNSHARE_PLAIN, 0)),
        *(_refuse(["unshare"], errno.EPERM, _masked(0, *pair)) for pair in _any_of((_CLONE_NEWTIME, *_CLONE_NEW))),
    ]


def _any_of(flags: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (mask, rest) pairs that match numbers with at least one of `flags`, each number once.

    One pair for each flag that may be the first one set.
    """
    return [(sum(flags[: index + 1]), flag) for index, flag in enumerate(flags)]
