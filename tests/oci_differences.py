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
        (r"(view \S+ device none error=0) ro,nosuid,noexec", r"\1 rw", "as above"),
        (r"(view \S+ directory none error=0 ro),nosuid,nodev,noexec", r"\1", "as above"),
        (
            r"(mount /sys/fs/cgroup type=cgroup2 source=none root=\S+) ro,relatime(.*)",
            r"\1 rw,relatime\2",
            "a read-only bind of /sys is so for what lies in it",
        ),
        (r"hook \S+ state (?:rootfs|created|owner)=.*", None, "members that runc's `state` has"),
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


def mount(point: str, **words: str) -> Sequence[str]:
    """Return the lines of a mount that differ in these words."""
    return [f"{who}: mount {point} .*{seen}.*" for who, seen in words.items()]


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

# What `crun exec` makes of a process of which the command line says nothing.
EXEC = {
    "the container's limits are not the process's": ("runc: rlimit 7 .*", "crun: rlimit 7 .*"),
    "it stays in the caller's session keyring": ("runc: keyring .*", "crun: keyring .*;_uid_ses.*"),
}
NO_SESSION = {"it makes no session of its own": ("runc: session own group own", "crun: session other group other")}
PRIVILEGES = {
    "noNewPrivileges is not the container's": ("runc: status.NoNewPrivs 1", "crun: status.NoNewPrivs 0"),
}
PLAIN_EXEC = {**EXEC, **NO_SESSION, **PRIVILEGES}

CRUN: dict[str, Explained] = {
    **dict.fromkeys(
        (
            "exec",
            "exec without capabilities",
            "exec under a filter",
            "exec into a container with a network",
            "exec without a process namespace",
        ),
        PLAIN_EXEC,
    ),
    **{key: {**EXEC, **NO_SESSION} for key in ("exec with noNewPrivileges", "exec where noNewPrivileges is false")},
    "exec with options": {
        **PLAIN_EXEC,
        "a variable is in place of all": ("runc: env PATH=.*", "runc: env TERM=xterm"),
    },
    "exec as a user": {**PLAIN_EXEC, **STREAMS, **GROUPS},
    "exec as a user, by number alone": {**PLAIN_EXEC, **dict(list(STREAMS.items())[1:]), **GROUPS},
    "exec into a container of a user": {
        **PLAIN_EXEC,
        **GROUPS,
        "the user is not the container's": (
            r"(?:runc|crun): status\.(?:CapEff|CapPrm|Gid|Uid) .*",
            "(?:runc|crun): uid .*",
            "(?:runc|crun): env HOME=.*",
            "(?:runc|crun): descriptor [012] pipe .*",
        ),
    },
    "exec as another than the container's": {**PLAIN_EXEC, **GROUPS},
    "exec with capabilities": {
        **PLAIN_EXEC,
        "they are in place of the container's": (r"(?:runc|crun): status\.Cap(?:Bnd|Eff|Prm) .*",),
    },
    "exec where the process has limits of its own": {
        **PLAIN_EXEC,
        "the container's limits are not the process's": ("runc: rlimit 4 .*", "crun: rlimit 4 .*"),
        "nor is the score": ("runc: oom_score_adj 500", "crun: oom_score_adj 0"),
    },
    "exec where the container's cwd is": {**PLAIN_EXEC, "nor the working directory": ("runc: cwd /bin", "crun: cwd /")},
    "exec at a terminal": {**EXEC, **PRIVILEGES},
    "exec at a terminal as a user": {
        **EXEC,
        **PRIVILEGES,
        **GROUPS,
        "the terminal is not the user's": (
            "runc: descriptor [012] /dev/pts/0 .* owner=7:0",
            "crun: descriptor [012] /dev/pts/0 .* owner=0:0",
        ),
    },
    "exec without a cgroup namespace": {
        **PLAIN_EXEC,
        "crun stays in the caller's cgroup when it is not root": ("runc: cgroup .*/box.*", "crun: cgroup .*"),
    },
    "--preserve-fds, one that is closed": {
        "runc hands on what it has open there itself": ("runc: descriptor 6 .*",),
    },
    "LISTEN_FDS of another": {
        "crun does not ask whose they are": ("crun: descriptor [34] /dev/zero .*", "crun: env LISTEN_PID=1"),
    },
    "LISTEN_FDS": {"crun does not tell their number": ("runc: env LISTEN_FDS=2",)},
    "closed standard streams": {"crun refuses them": NOT_BY_CRUN},
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
    "option of a tmpfs: acl": {"crun does not know it": NOT_BY_CRUN},
    "option of a tmpfs: noacl": {"crun does not know it": NOT_BY_CRUN},
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
NOT_AS_RUNC: dict[str, str] = {
    **{
        f"rootfsPropagation {value}": "runc does not set it for the root that remains"
        for value in ("shared", "rshared")
    },
    "rootfsPropagation unbindable": "runc fails over it",
    "option of a tmpfs: defaults": "runc 1.1 passes it to the kernel",
    "args found by a relative PATH": "it is execvp(3) that is meant",
    "a range of ids": "no groups are asked for, so there are to be none",
    "additionalGids": "runc 1.1 refuses them",
    "personality LINUX32": "not known to runc 1.1",
    "an unknown personality": "not known to runc 1.1",
    "domainname": "not known to runc 1.1",
    "a time namespace": "not known to runc 1.1",
    "timeOffsets": "not known to runc 1.1",
    "namespaces joined by path": "runc 1.1 wants id maps for any user namespace",
    **{f"seccomp flag {flag}": "not known to runc 1.1" for flag in ("LOG", "TSYNC", "SPEC_ALLOW")},
    "hooks": "poststart is part of start",
}

NOT_BY_RUNC_BUT_OURS = ("runc: exit 1", "ours: exit 0")
NOT_BY_OURS = ("runc: exit 0", "ours: exit 1")
NO_GROUPS = {"no groups are asked for, so there are none": ("runc: status.Groups 0", "ours: status.Groups")}
NULL = {
    "/dev/null is handed on, and not given to the user": (
        r"runc: descriptor 0 pipe mode=10000 owner=\d+:0",
        "ours: descriptor 0 pipe mode=10000 owner=0:0",
    )
}
HANDED_ON_TOO = {
    "runc hands on too, of create": (
        "runc: descriptor 0 /dev/null mode=20000 owner=65534:65534",
        "ours: descriptor 0 pipe mode=10000 owner=0:0",  # translated
    )
}

OURS: dict[str, Explained] = {
    "the root by a link": {"no harm in it": NOT_BY_RUNC_BUT_OURS},
    **{
        f"option of a tmpfs: {option}": {"no tmpfs has it, and mount(2) loses it without a word": NOT_BY_OURS}
        for option in ("iversion", "acl", "noacl")
    },
    "a tmpfs without a source": {
        "a name is needed": (r"runc: mount /m/x .* source='' .*", "ours: mount /m/x .* source=none .*")
    },
    "bind of a tree: rbind,rro,rrw": {
        "the later option wins; of runc's recursive ones the one that sets": mount(
            r"/m/x\S*", runc="ro,relatime", ours="rw,relatime"
        )
    },
    "bind, an unknown option": {"nothing is passed over": NOT_BY_OURS},
    "a new sysfs": {
        "the name of the mount": (
            "runc: mount /sys/fs/cgroup .* source=cgroup .*",
            "ours: mount /sys/fs/cgroup .* source=none .*",
        ),
        "read-only is the mount, in runc the file system": (
            "runc: mount /sys .* propagation=private ro",
            "ours: mount /sys .* propagation=private rw",
        ),
        "the kernel asks for lo's owner when all namespaces are made, with the first of them still without ids": (
            r"runc: entry /sys/class/net/lo .* owner=0:0 .*",
            r"ours: entry /sys/class/net/lo .* owner=65534:65534 .*",
        ),
    },
    "ids of a mount": {"runc 1.1 passes them over; the kernel refuses them of this file system": NOT_BY_OURS},
    "a user": {**NO_GROUPS, **NULL},
    "a user without a name": {**NO_GROUPS, **NULL},
    "capabilities of a user, ambient": {**NO_GROUPS, **NULL},
    "capabilities of a user, not ambient": {**NO_GROUPS, **NULL},
    "an rlimit twice": {"the specification has it an error": NOT_BY_OURS},
    "additionalGids": {
        "the group of the standard streams stays, for the tty's sake": (
            "crun: descriptor [12] .* owner=7:8",
            "ours: descriptor [12] .* owner=7:0",
        )
    },
    "hooks": {
        "inside, crun calls the bundle /": (
            'crun: hook startContainer state bundle="/"',
            'ours: hook startContainer state bundle=".+/bundle"',
        ),
        "the pid file is there when the container is created": (
            "crun: hook poststart pid-file -1 root -1",
            "ours: hook poststart pid-file 0 root -1",
        ),
        "of crun, poststart does not wait for the command": (
            "?crun: hooks .* poststart startContainer poststop",
            "?ours: hooks .* startContainer poststart poststop",
        ),
    },
    "a poststart hook that fails": {
        "poststart is part of start": (
            'runc: hook poststart state status="created"',
            'ours: hook poststart state status="running"',
            "runc: hook poststart pid-file -1 root -1",
            "ours: hook poststart pid-file 0 root -1",
        )
    },
    "timeOffsets": {
        "crun 1.8 does not know them": (
            "crun: timens_offsets boottime 0 0",
            "crun: timens_offsets monotonic 0 0",
            "ours: timens_offsets boottime 1000 0",
            "ours: timens_offsets monotonic 5 6",
        )
    },
    "scheduler": {
        "not known to runc 1.1": (
            "runc: nice 0",
            "runc: scheduler 0 0 processors .*",
            "ours: nice 5",
            "ours: scheduler 3 0 processors .*",
        )
    },
    "ioPriority": {"not known to runc 1.1": ("runc: ioprio 0", f"ours: ioprio {2 << 13 | 7}")},
    "terminal of a user": NO_GROUPS,
    "terminal, in the foreground": {
        "runc sets the size when the command runs already": (
            "?runc: terminal [012] .* rows=0 columns=0",
            "?ours: terminal [012] .* rows=50 columns=120",
        )
    },
    "terminal, consoleSize in the foreground": {
        "the terminal at hand has a size; runc sets it when the command runs already": (
            "?runc: terminal [012] .* rows=33 columns=44",
            "?ours: terminal [012] .* rows=50 columns=120",
        )
    },
    "no terminal, but run from one": {
        "nothing of the caller's terminal goes in, not even by a pipe": (
            "runc: descriptor 0 pipe mode=10000 owner=0:0",
            "ours: descriptor 0 /null mode=20000 owner=65534:65534",
        )
    },
    **{
        key: {**NO_GROUPS, **NULL}
        for key in ("exec as a user", "exec as a user, by number alone", "exec into a container of a user")
    },
    **dict.fromkeys(("exec as another than the container's", "exec at a terminal as a user"), NO_GROUPS),
    "exec where the process has limits of its own": {
        "the umask is the container's": ("runc: status.Umask 0022", "ours: status.Umask 0077")
    },
    "--preserve-fds, one that is closed": {"runc hands on what it has open there itself": NOT_BY_OURS},
    "created, then started": HANDED_ON_TOO,
    "created, then started as a user": {**NO_GROUPS, **HANDED_ON_TOO},
    "a device that the host has elsewhere": {"found by its number": NOT_BY_RUNC_BUT_OURS},
    "a device that the host has": {
        "a device is mounted nosuid and noexec": (
            "runc: mount /dev/fuse .* rw,relatime .*",
            "ours: mount /dev/fuse .* rw,nosuid,noexec,relatime .*",
        )
    },
    "intelRdt": {"refused, as it cannot be had": NOT_BY_OURS},
    "ociVersion 9.0.0": {"runc 1.1 does not look at it": NOT_BY_OURS},
    "ociVersion nonsense": {"runc 1.1 does not look at it": NOT_BY_OURS},
    "no ociVersion": {"runc 1.1 does not look at it": NOT_BY_OURS},
}
