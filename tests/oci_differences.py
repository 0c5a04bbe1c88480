"""Why runtimes differ over some of oci_variants: each pattern stands for a whole line, and no more than is meant.

A line names who saw it: `runc: …` what runc alone saw, `crun: …` or `ours: …` what the other saw instead.  A pattern
that begins with `?` may match nothing: what it says depends on who is faster.
"""

from __future__ import annotations

from collections.abc import Sequence

from oci_world import Explained

# What a runtime does in its own way whatever is asked: a fact, runc's words for it (or None: runc has no such fact).
WAYS: dict[str, Sequence[tuple[str, str | None, str]]] = {
    "runc": ((r"hook createContainer descriptor", None, "descriptors of its own that the hook inherits"),),
    "crun": (
        (
            r"descriptor 0 /dev/null mode=20000 owner=65534:65534",
            "descriptor 0 pipe mode=10000 owner=0:0",
            "standard input is handed on; runc has a pipe of its own that it copies to",
        ),
        (r"entry /dev/core .* -> /proc/kcore", None, "one link more than the specification has"),
        (
            r"keyring keyring;(\d+);(\d+);3f130000;(.*) 0",
            r"keyring keyring;\1;\2;3f130008;_ses.\3 0",
            "another name, and its owner may not search it",
        ),
        (
            r"(mount \S+ type=devtmpfs source=devtmpfs root=/(?:null|zero|full|tty|u?random)) rw,nosuid,noexec,(.*)",
            r"\1 rw,\2",
            "a device is mounted nosuid and noexec",
        ),
        (
            r"(mount \S+ type=devtmpfs source=devtmpfs root=/null) ro,(.*)",
            r"\1 rw,\2",
            "the mask of a file is read-only",
        ),
        (
            r"(mount \S+ type=tmpfs source=tmpfs root=/ ro,relatime propagation=\S+) rw,size=0k,(.*)",
            r"\1 ro,\2",
            "the mask of a directory is a read-only mount, runc's a read-only file system",
        ),
        (r"(mount /sys/fs/cgroup type=cgroup2) source=cgroup2 (.*)", r"\1 source=none \2", "another name"),
        (r"mount /sys/fs/cgroup type=tmpfs .*size=4k.*", None, "the host's hierarchy is covered by a tmpfs"),
        (r"(entry \S+ mode=4)1(755 .*)", r"\g<1>0\2", "a directory made for a mount is sticky"),
        (r"hook \S+ state root=.*", None, "a member that the specification does not have"),
        (r'(hook \S+ state ociVersion)="1.0"', r'\1="1.0.2-dev"', "another version"),
        (
            r'(hook (?:prestart|createRuntime|createContainer) state status)="created"',
            r'\1="creating"',
            "the container that is being created is called created",
        ),
        (r'(hook startContainer state status)="starting"', r'\1="created"', "no status of the specification"),
        (r"(hook \S+Container state pid)=0", r"\1=1", "the pid is missing inside"),
        (r"hook poststop state pid=0", None, "no pid is said to be 0"),
        (r"(hook createContainer cwd .*/bundle)", r"\1/rootfs", "the working directory is the bundle's"),
    ),
    "sandbox-oci": (
        (
            r"descriptor 0 /dev/null mode=20000 owner=65534:65534",
            "descriptor 0 pipe mode=10000 owner=0:0",
            "standard input is handed on",
        ),
        (r"entry /dev/core .* -> /proc/kcore", None, "runc makes it where the host has /proc/kcore"),
        (
            r"(mount \S+ type=devtmpfs source=devtmpfs root=/(?:null|zero|full|tty|u?random)) rw,nosuid,noexec,(.*)",
            r"\1 rw,\2",
            "a device is mounted nosuid and noexec",
        ),
        (
            r"(mount \S+ type=devtmpfs source=devtmpfs root=/null) ro,nosuid,noexec,(.*)",
            r"\1 rw,\2",
            "the mask of a file is read-only, nosuid and noexec",
        ),
        (
            r"(mount \S+ type=tmpfs source)=none root=/ ro,nosuid,nodev,noexec,(relatime propagation=\S+) rw,(.*)",
            r"\1=tmpfs root=/ ro,\2 ro,\3",
            "the mask of a directory is a read-only mount, runc's a read-only file system",
        ),
        (
            r"(mount /sys/fs/cgroup type=cgroup2) source=cgroup (.*)",
            r"\1 source=none \2",
            "the name is the config's, runc's what it binds",
        ),
        (
            r"(mount /sys/fs/cgroup type=cgroup2 source=none root=/\.\./\.\.) ro,(.*)",
            r"\1 rw,\2",
            "a read-only bind of /sys is so for what lies in it",
        ),
        (r"hook \S+ state (?:rootfs|created|owner)=.*", None, "members that runc's own `state` has"),
        (r"hook poststop state pid=0", None, "no pid is said to be 0"),
        (r"(hook createContainer cwd .*/bundle)", r"\1/rootfs", "the working directory is the bundle's"),
        (
            r"pdeathsig 9 (.*)",
            r"pdeathsig 0 \1",
            "a container in the foreground does not outlive the runtime",
        ),
    ),
}

NOT_BY_RUNC = ("runc: exit 1", "crun: exit 0")
NOT_BY_CRUN = ("runc: exit 0", "crun: exit 1")


def mount(point: str, *, runc: str, crun: str) -> Sequence[str]:
    """Return the lines of a mount that differ in these words."""
    return rf"runc: mount {point} .*{runc}.*", rf"crun: mount {point} .*{crun}.*"


STREAMS = {
    "the standard streams are given to the user's group too; runc leaves it, for the tty's sake": (
        r"runc: descriptor [12] \S+.* owner=\d+:0",
        r"crun: descriptor [12] \S+.* owner=\d+:\d+",
    ),
    "standard input is handed on, and /dev/null is not given to the user": (
        r"runc: descriptor 0 pipe mode=10000 owner=\d+:0",
        "crun: descriptor 0 pipe mode=10000 owner=0:0",
    ),
}
GROUPS = {
    "runc never drops the caller's groups, crun does where it may": ("runc: status.Groups 0", "crun: status.Groups")
}
HANDED_ON = {
    "standard input is handed on; of create by runc too": (
        "runc: descriptor 0 /dev/null mode=20000 owner=65534:65534",
        "crun: descriptor 0 pipe mode=10000 owner=0:0",  # translated
    )
}
CONSOLE = {"the options of /dev/pts are not kept": mount("/dev/console", runc="rw,nosuid,noexec", crun="rw,relatime")}
HOOK_EXIT = {"another exit status, at times": ("?runc: exit 1", "?crun: exit 255")}

CRUN: dict[str, Explained] = {
    "the root by a link": {"runc wants a path without links": NOT_BY_RUNC},
    "rootfsPropagation shared": {
        "runc sets it before pivot_root(2), and then the root is another mount": mount(
            "/", runc="propagation=private", crun="propagation=shared,"
        )
    },
    "rootfsPropagation rshared": {
        "as above; what is mounted after that is shared, and what before is not": mount(
            r"/\S*", runc="propagation=private", crun="propagation=shared,"
        )
    },
    "rootfsPropagation unbindable": {"runc binds the root after it has made it unbindable": NOT_BY_RUNC},
    "options of a tmpfs that take back others": {
        "crun does not take back": (
            *mount("/m/noatime,atime", runc="rw,relatime", crun="rw,noatime"),
            *mount("/m/nosuid,suid", runc="rw,relatime", crun="rw,nosuid,relatime"),
            *mount("/m/ro,rw", runc="rw,relatime", crun="ro,relatime"),
        )
    },
    "option of a tmpfs: nosymfollow": {"crun 1.8 does not know it": NOT_BY_CRUN},
    "option of a tmpfs: silent": {"crun does not know it": NOT_BY_CRUN},
    "option of a tmpfs: iversion": {"crun does not know it": NOT_BY_CRUN},
    "option of a tmpfs: defaults": {"runc 1.1 passes it to the kernel, which does not know it": NOT_BY_RUNC},
    "a tmpfs without a source": {"crun takes the type for it": mount("/m/x", runc="source=''", crun="source=tmpfs")},
    "bind of a tree: rbind,nosymfollow": {
        "crun 1.8 passes it on as data, which a bind ignores": mount("/m/x", runc=",nosymfollow", crun="rw,relatime")
    },
    "bind of a tree: rbind,rrelatime": {
        "crun 1.8 has the two mixed up": mount(r"/m/x\S*", runc="rw,relatime", crun="rw,relatime,nosymfollow")
    },
    "bind of a tree: rbind,rnosymfollow": {
        "crun 1.8 has the two mixed up": mount(r"/m/x\S*", runc="rw,relatime,nosymfollow", crun="rw,relatime")
    },
    "bind of a tree: rbind,ro,rrw": {"crun does not take back": mount("/m/x", runc="rw,relatime", crun="ro,relatime")},
    **{
        f"propagation of a tree: {value}": {
            "crun makes all mounts private in the end": mount(
                r"/m/\S+", runc=f"propagation={kind},", crun="propagation=private"
            )
        }
        for value, kind in (
            ("shared", "shared"),
            ("rshared", "shared"),
            ("unbindable", "unbindable"),
            ("runbindable", "unbindable"),
        )
    },
    "a target that is a dangling link": {"crun makes no directory behind a link": NOT_BY_CRUN},
    "a target below a dangling link": {"crun makes no directory behind a link": NOT_BY_CRUN},
    "a new sysfs": {
        "the source is the config's in runc alone when there is nothing below": mount(
            "/sys/fs/cgroup", runc="source=cgroup", crun="source=none"
        ),
        "read-only is the mount, in runc the file system": mount(
            "/sys", runc="propagation=private ro", crun="propagation=private rw"
        ),
    },
    "a cgroup mount without its namespace": {
        "crun stays in the caller's cgroup when it is not root": ("runc: cgroup .*/box.*", "crun: cgroup .*")
    },
    "no cgroup namespace": {
        "crun stays in the caller's cgroup when it is not root": ("runc: cgroup .*/box.*", "crun: cgroup .*")
    },
    "ids of a mount": {"runc 1.1 does not know them; the kernel refuses them to crun": NOT_BY_CRUN},
    "args found by a relative PATH": {"runc, written in Go, refuses to": NOT_BY_RUNC},
    "env with HOME empty": {"runc replaces it": ("runc: env HOME=/root", "crun: env HOME=")},
    "env with a word": {"crun passes it over": NOT_BY_RUNC},
    "cwd that is relative": {"crun takes it for one below /": NOT_BY_RUNC},
    "a range of ids": GROUPS,
    "a user": {**STREAMS, **GROUPS},
    "a user without a name": {
        **STREAMS,
        **GROUPS,
        "crun sets no HOME": ("runc: env HOME=/",),
    },
    "additionalGids": {"runc 1.1 refuses them to who is not root": NOT_BY_RUNC},
    "additionalGids that are not mapped": {"crun passes them over": NOT_BY_RUNC},
    "capabilities of a user, ambient": {**STREAMS, **GROUPS},
    "capabilities of a user, not ambient": {**STREAMS, **GROUPS},
    "personality LINUX32": {
        "runc 1.1 does not know it": (
            "runc: machine x86_64",
            "crun: machine i686",
            "runc: personality 0",
            "crun: personality 8",
        )
    },
    "an unknown personality": {"runc 1.1 does not know it": NOT_BY_CRUN},
    "terminal, by a console socket": CONSOLE,
    "terminal, consoleSize": CONSOLE,
    "terminal of a user": {**CONSOLE, **GROUPS},
    "terminal, in the foreground": {
        **CONSOLE,
        "crun leaves ONLCR to the caller's terminal; both set the size when it runs already": (
            r"runc: terminal [012] .* oflag=1 .*",
            r"crun: terminal [012] .* oflag=5 .*",
        ),
    },
    "terminal, consoleSize in the foreground": {
        **CONSOLE,
        "crun leaves ONLCR to the caller's terminal; its size wins in runc, consoleSize in crun": (
            r"runc: terminal [012] .* oflag=1 .*",
            r"crun: terminal [012] .* oflag=5 .* rows=33 columns=44",
        ),
    },
    "no terminal, but run from one": {
        "crun hands on the caller's streams, runc copies": (
            "runc: descriptor [012] pipe mode=10000 owner=0:0",
            "crun: descriptor [012] /dev/pts/\\d+ mode=20000 owner=0:0",
            r"crun: terminal [012] \? .*",
            "crun: terminal [012] foreground=0 session=0",
        )
    },
    "created, then started": HANDED_ON,
    "created, then started as a user": {
        **HANDED_ON,
        **GROUPS,
        **dict([next(iter(STREAMS.items()))]),
    },
    "hooks": {
        "inside, crun calls the bundle /": (
            'runc: hook startContainer state bundle=".+/bundle"',
            'crun: hook startContainer state bundle="/"',
        ),
        "poststart is the end of create in runc, of start in crun and the specification": (
            'runc: hook poststart state status="created"',
            'crun: hook poststart state status="running"',
            "?runc: hooks .* poststart startContainer poststop",
            "?crun: hooks .* startContainer poststart poststop",
        ),
    },
    "a startContainer hook that fails": {
        "inside, crun calls the bundle /": (
            'runc: hook startContainer state bundle=".+/bundle"',
            'crun: hook startContainer state bundle="/"',
        ),
    },
    **{
        f"a poststart hook that {what}": {
            "only a warning, as the specification has it, at least when the hook is slow": (
                "?runc: exit 1",
                "?crun: exit 0",
                '?runc: hook poststart state status="created"',
                '?crun: hook poststart state status="running"',
            )
        }
        for what in ("fails", "is not there")
    },
    **{f"a {name} hook that is not there": HOOK_EXIT for name in ("prestart", "createRuntime")},
    **{f"a {name} hook that fails": HOOK_EXIT for name in ("prestart", "createRuntime")},
    "domainname": {"runc 1.1 does not know it": (r"runc: domainname \(none\)", "crun: domainname example")},
    "a time namespace": {"runc 1.1 does not know it": NOT_BY_RUNC},
    "timeOffsets": {"runc 1.1 does not know them": NOT_BY_RUNC},
    "a namespace twice": {"crun does not mind": NOT_BY_RUNC},
    "namespaces joined by path": {"runc 1.1 wants id maps for any user namespace": NOT_BY_RUNC},
    "no id maps": {"crun makes up some": NOT_BY_RUNC},
    "a device that the host has": {"crun makes the devices asked for before it has a namespace": NOT_BY_CRUN},
    "a device that is there anyway": {"crun makes the devices asked for before it has a namespace": NOT_BY_CRUN},
    **{
        name: {"the mask of a file is read-only": ("runc: view /proc/keys .* rw", "crun: view /proc/keys .* ro")}
        for name in ("masked and read-only paths as they come", "read-only files and directories")
    },
    "masked files and directories": {
        "the mask of a file is read-only": ("runc: view /etc/group .* rw", "crun: view /etc/group .* ro"),
        "crun looks HOME up before it masks": ("runc: env HOME=/",),
    },
    "masked within read-only": {
        "crun covers it with a second tmpfs that can be written": (
            "crun: mount /etc/sub type=tmpfs source=tmpfs root=/ rw,.*",
            "runc: view /etc/sub .* ro",
            "crun: view /etc/sub .* rw",
        )
    },
    **{f"seccomp flag {flag}": {"runc 1.1 does not know any": NOT_BY_RUNC} for flag in ("LOG", "TSYNC", "SPEC_ALLOW")},
    "seccomp NOTIFY without a listener": {"crun lets the call fail": NOT_BY_RUNC},
    "cgroupsPath, relative": {"crun takes it from the root of the hierarchy": NOT_BY_CRUN},
    "hugepageLimits": {
        "crun makes no cgroup when it is not root": (
            "runc: read .*hugetlb.2MB.max 4194304",
            r"crun: read .*hugetlb.2MB.max \d+",
        )
    },
    "unified": {
        "crun makes no cgroup when it is not root": (
            "runc: read .*cgroup.max.descendants 5",
            "crun: read .*cgroup.max.descendants max",
        )
    },
    "unified with nonsense": {"crun makes no cgroup when it is not root": NOT_BY_RUNC},
    "mountLabel": {"crun passes it over where there is no SELinux": NOT_BY_RUNC},
    **{
        f"ociVersion {version}": {"runc 1.1 does not look at it": NOT_BY_CRUN}
        for version in ("1.2.0", "9.0.0", "nonsense")
    },
    "no ociVersion": {"runc 1.1 does not look at it": NOT_BY_CRUN},
}

# Where ours is compared with crun, and why.
NOT_AS_RUNC: dict[str, str] = {}

_NOT_BY_RUNC = ("runc: exit 1", "ours: exit 0")
_REFUSED = ("runc: exit 0", "ours: exit 1")
_GROUPS = {"runc never drops the caller's groups": ("runc: status.Groups 0", "ours: status.Groups")}
_INPUT = {
    "standard input is handed on as it is": (
        r"runc: descriptor 0 pipe mode=10000 owner=\d+:0",
        "ours: descriptor 0 pipe mode=10000 owner=0:0",
    )
}
_HANDED_ON = {
    "standard input is handed on; of create by runc too": (
        "runc: descriptor 0 /dev/null mode=20000 owner=65534:65534",
        "ours: descriptor 0 pipe mode=10000 owner=0:0",  # translated
    )
}
_MASKS = {
    "masks and read-only paths are nosuid, nodev and noexec besides; the mask of a file is read-only": (
        r"runc: view \S+ (?:directory|device) none error=0 r[ow]",
        r"ours: view \S+ (?:directory|device) none error=0 ro,nosuid(?:,nodev)?,noexec",
    )
}


def _mount(point: str, *, runc: str, ours: str) -> Sequence[str]:
    return rf"runc: mount {point} .*{runc}.*", rf"ours: mount {point} .*{ours}.*"


OURS: dict[str, Explained] = {
    "the root by a link": {"runc wants a path without links": _NOT_BY_RUNC},
    "bind, an unknown option": {"what is not in force is refused": _REFUSED},
    "option of a tmpfs: iversion": {"the kernel refuses it to fsconfig(2)": _REFUSED},
    "option of a tmpfs: defaults": {"runc 1.1 passes it to the kernel, which does not know it": _NOT_BY_RUNC},
    "a tmpfs without a source": {"the source has a name": _mount("/m/x", runc="source=''", ours="source=none")},
    "rootfsPropagation shared": {
        "runc sets it before pivot_root(2), and then the root is another mount": _mount(
            "/", runc="propagation=private", ours="propagation=shared,"
        )
    },
    "rootfsPropagation rshared": {
        "as above; what is mounted after that is shared, and what before is not": _mount(
            r"/\S*", runc="propagation=private", ours="propagation=shared,"
        )
    },
    "rootfsPropagation unbindable": {"runc binds the root after it has made it unbindable": _NOT_BY_RUNC},
    "bind of a tree: rbind,rro,rrw": {
        "runc does not take back what is recursive": _mount(r"/m/x\S*", runc="ro,relatime", ours="rw,relatime")
    },
    "a new sysfs": {
        "the source is the config's in runc alone when there is nothing below": _mount(
            "/sys/fs/cgroup", runc="source=cgroup", ours="source=none"
        ),
        "read-only is the mount, in runc the file system": _mount(
            "/sys", runc="propagation=private ro", ours="propagation=private rw"
        ),
        "owners of sysfs show after the mount is made": (
            r"runc: entry /sys/class/net/lo .* owner=0:0 .*",
            r"ours: entry /sys/class/net/lo .* owner=65534:65534 .*",
        ),
    },
    "ids of a mount": {"runc 1.1 does not know them; the kernel refuses them": _REFUSED},
    "args found by a relative PATH": {"runc, written in Go, refuses to": _NOT_BY_RUNC},
    "a range of ids": _GROUPS,
    "a user": {**_INPUT, **_GROUPS},
    "a user without a name": {**_INPUT, **_GROUPS},
    "additionalGids": {"runc 1.1 refuses them to who is not root": _NOT_BY_RUNC},
    "capabilities of a user, ambient": {**_INPUT, **_GROUPS},
    "capabilities of a user, not ambient": {**_INPUT, **_GROUPS},
    "an unknown capability": {"what is not in force is refused; runc warns": _REFUSED},
    "an rlimit twice": {"the specification wants an error": _REFUSED},
    "scheduler": {
        "runc 1.1 does not know it": (
            r"runc: scheduler 0 0 .*",
            r"ours: scheduler 3 0 .*",
            r"runc: nice 0",
            r"ours: nice 5",
        )
    },
    "ioPriority": {"runc 1.1 does not know it": (r"runc: ioprio 0", r"ours: ioprio [1-9]\d*")},
    "personality LINUX32": {
        "runc 1.1 does not know it": (
            "runc: machine x86_64",
            "ours: machine i686",
            "runc: personality 0",
            "ours: personality 8",
        )
    },
    "an unknown personality": {"runc 1.1 does not know it": _REFUSED},
    "terminal of a user": _GROUPS,
    "no terminal, but run from one": {
        "a terminal of the caller's is not handed in, and there is nothing to read": (
            "runc: descriptor 0 pipe mode=10000 owner=0:0",
            "ours: descriptor 0 /null mode=20000 owner=65534:65534",
        )
    },
    "created, then started": _HANDED_ON,
    "created, then started as a user": {**_HANDED_ON, **_GROUPS},
    "hooks": {
        "poststart is the end of create in runc, of start in the specification": (
            'runc: hook poststart state status="created"',
            'ours: hook poststart state status="running"',
            "?runc: hooks .* poststart startContainer poststop",
            "?ours: hooks .* startContainer poststart poststop",
        ),
        "the pid file is there when the container is": (
            "runc: hook poststart pid-file -1 root -1",
            "ours: hook poststart pid-file 0 root -1",
        ),
        "Go ignores a signal for itself, which its children inherit": (
            "?runc: status.SigIgn 0000000080000000",
            "?ours: status.SigIgn 0+",
        ),
    },
    "a poststart hook that fails": {
        "it is run when the command runs, which may have said something by then": (
            '?runc: hook poststart state status="created"',
            '?ours: hook poststart state status="running"',
            "?ours: .*",
            "?runc: .*",
        )
    },
    "domainname": {"runc 1.1 does not know it": (r"runc: domainname \(none\)", "ours: domainname example")},
    "a time namespace": {"runc 1.1 does not know it": _NOT_BY_RUNC},
    "timeOffsets": {"runc 1.1 does not know them": _NOT_BY_RUNC},
    "namespaces joined by path": {"runc 1.1 wants id maps for any user namespace": _NOT_BY_RUNC},
    "a device": {"runc takes the node by its name, ours by its numbers": _NOT_BY_RUNC},
    "a device that the host has": {
        "a device is mounted nosuid and noexec": _mount(
            "/dev/fuse", runc="root=/fuse rw,relatime", ours="root=/fuse rw,nosuid,noexec,relatime"
        )
    },
    "a device that the host has not": {"runc takes the node by its name, ours by its numbers": _NOT_BY_RUNC},
    **dict.fromkeys(
        (
            "masked and read-only paths as they come",
            "masked files and directories",
            "read-only files and directories",
            "a masked mount, a read-only mount",
        ),
        _MASKS,
    ),
    "masked within read-only": {
        **_MASKS,
        "it stays masked when what lies around it is made read-only": (
            r"?ours: mount /etc/sub type=tmpfs source=tmpfs root=/ ro,.*",
        ),
    },
    "a cgroup mount without its namespace": {
        "the host's hierarchy is shown read-only (runc CVE-2023-25809)": _mount(
            "/sys/fs/cgroup", runc="rw,relatime", ours="ro,relatime"
        )
    },
    **{f"seccomp flag {flag}": {"runc 1.1 does not know any": _NOT_BY_RUNC} for flag in ("LOG", "TSYNC", "SPEC_ALLOW")},
    "intelRdt": {"runc makes no group where there is no resctrl": _REFUSED},
    **{f"ociVersion {version}": {"runc 1.1 does not look at it": _REFUSED} for version in ("9.0.0", "nonsense")},
    "no ociVersion": {"runc 1.1 does not look at it": _REFUSED},
}
