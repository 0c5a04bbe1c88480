"""What a profile may say: sections, keys, types, and the text that documents each.

`docs/profiles.md` is generated from here (`sandbox.profile.reference`).  What a key means for the
sandbox is decided in `sandbox.profile.expand`; here stands only what may be written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from sandbox.profile.schema_limits import LimitsSection


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a profile.  A key that is left out is None or empty: another layer may say it."""


class RootSection(Section, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What lies at `/` before anything is shown in it."""

    from_: Annotated[
        str | None,
        Meta(
            description='`"host"`: an empty root, into which `[filesystem]` brings parts of the host. '
            '`"dir:PATH"`: the directory PATH, read-only, as the root. Default: `"host"`.',
            examples=['from = "dir:~/roots/trixie"'],
        ),
    ] = None


class FilesystemSection(Section, frozen=True, kw_only=True):
    """Which parts of the host are shown inside, at their own places.

    What is not named is not there. The more specific path decides: `hide = ["~/.config"]` with
    `read = ["~/.config/git"]` shows only git's part. At the same path `hide` beats everything; among the others the later
    layer wins, and within one profile `write` beats `read` beats `tmp`. A symlink is shown as a symlink, and what it
    leads to is shown at its own place.

    - `~` is the home directory, `$NAME` or `${NAME}` a variable of the environment, `.` and `./sub` the working directory
      and what lies below it. Other relative paths are refused in a profile.
    - A leading `?` marks a path that need not exist: `"?/opt"`.
    - `*`, `?` and `[abc]` match within one name, `**` any number of directories. In `hide` they also match names that
      begin with a dot. The directories that are listed for it are looked at again before a kept plan is used.
    - The sandbox's own state and the profiles are never writable inside: a policy that would have it so is refused,
      and single files of that kind in a writable tree are made read-only.
    - What is hidden or read-only inside a writable tree is kept in its place: the directories that lead to it cannot be
      renamed from inside.
    """

    read: Annotated[
        list[str], Meta(description="Shown read-only.", examples=['read = ["/usr", "?/opt", "~/.gitconfig"]'])
    ] = []
    write: Annotated[
        list[str], Meta(description="Shown, and writable as far as your own rights go.", examples=['write = ["."]'])
    ] = []
    hide: Annotated[
        list[str],
        Meta(
            description="Unreachable, though a tree that holds it is shown: a directory is empty and read-only, a file is "
            "empty and loses what is written to it (inside, git takes its content for deleted). Must exist where it lies in a "
            "writable tree, unless marked with `?`: what is absent could be made there. A wildcard hides what matches when the "
            "sandbox starts. A file that you replace meanwhile, as editors do when they save, is not hidden until the next start; "
            "what changes in a hidden directory is.",
            examples=['hide = ["?~/.ssh", "./secrets", "./**/.env"]'],
        ),
    ] = []
    cache: Annotated[
        list[str],
        Meta(
            description="A writable directory that keeps what is put into it, for later runs in the same working directory. On the "
            "host it lies below `$XDG_CACHE_HOME/sandbox` (`~/.cache/sandbox`), where no program of yours looks: what a build has "
            "put into its caches is not to be built with outside, nor in another project. Remove it whenever you like. With `?` it is left "
            "out where a directory would have to be made for it in a tree of the host's that is shown.",
            examples=['cache = ["?~/.cargo/registry", "?~/.cache/pip"]'],
        ),
    ] = []
    protect: Annotated[
        list[str],
        Meta(
            description="In a writable tree: neither changed nor removed, and not made where it is absent; it shows nothing. "
            "What is absent is kept so by an empty directory that lies there, for everyone to see, while the sandbox runs, and is "
            "gone afterwards; where its parent is absent too, that is kept absent. A wildcard matches what is there when the "
            "sandbox starts. What you replace meanwhile, as `git config` does with `.git/config`, is not protected until the next "
            "start. Where `.git` is a file, as in a worktree, `.git/NAME` is also what git takes for it. "
            "`write` at the same path, in the same profile or a later layer, lifts it.",
            examples=['protect = ["./.git/hooks", "./.git/config", "./.envrc"]'],
        ),
    ] = []
    tmp: Annotated[
        list[str],
        Meta(description="An empty directory in memory, gone afterwards.", examples=['tmp = ["/tmp", "~"]']),
    ] = []


class EnvironmentSection(Section, frozen=True, kw_only=True):
    """The command's environment. Nothing of yours is passed in unless it is kept.

    PATH, HOME, USER and LOGNAME are set, unless they are named here. A later layer that names a variable again decides.
    """

    keep: Annotated[
        list[str],
        Meta(
            description="Names of variables that are passed in with the value they have when the command starts; "
            "`*`, `?` and `[…]` match.",
            examples=['keep = ["LANG", "LC_*"]'],
        ),
    ] = []
    set: Annotated[
        dict[str, str],
        Meta(
            description="Variables and their values. `$NAME` in a value is that variable outside; `$$` is a dollar sign.",
            examples=['set = { CI = "1", GOPATH = "$HOME/go" }'],
        ),
    ] = {}
    keep_all: Annotated[
        bool | None,
        Meta(
            description="All variables are passed in, tokens among them, but for those that some layer sets or unsets. "
            "Default: false.",
            examples=["keep_all = true"],
        ),
    ] = None
    unset: Annotated[
        list[str],
        Meta(
            description="Names, with wildcards as in `keep`, that are not passed in, though this profile or an earlier "
            "layer keeps or sets them.",
            examples=['unset = ["COLORTERM"]'],
        ),
    ] = []


class NetworkSection(Section, frozen=True, kw_only=True):
    """What the command can reach."""

    mode: Annotated[
        Literal["none", "host", "user", "pasta", "slirp4netns"] | None,
        Meta(
            description='`"none"`: an own loopback and nothing else. `"user"`: a network of its own, whose connections go out '
            'as yours, by pasta, or where that is not installed by slirp4netns; `"pasta"` and `"slirp4netns"` ask for '
            "one by name. Nothing on the host's loopback can be reached. `\"host\"`: the host's network, with all that "
            'listens there. Default: `"none"`.',
            examples=['mode = "user"'],
        ),
    ] = None
    publish: Annotated[
        list[str],
        Meta(
            description="Ports of the host that lead inside: `[ADDRESS:]OUTSIDE:INSIDE[/udp]`, where both may be ranges; without "
            "an address on all that the host has.",
            examples=['publish = ["127.0.0.1:8080:80", "5353:53/udp"]'],
        ),
    ] = []
    loopback: Annotated[
        list[str | int],
        Meta(
            description="Ports of the host's loopback that can be reached inside, at 127.0.0.1 and the same number; "
            "`/udp` behind it for UDP.",
            examples=['loopback = [5432, "5353/udp"]'],
        ),
    ] = []
    dns: Annotated[
        list[str],
        Meta(
            description="Resolvers instead of the host's, up to three addresses.",
            examples=['dns = ["192.0.2.53"]'],
        ),
    ] = []
    search: Annotated[
        list[str],
        Meta(
            description="Domains in which names are looked for, instead of the host's.",
            examples=['search = ["example.org"]'],
        ),
    ] = []
    hosts: Annotated[
        dict[str, str],
        Meta(
            description="Names and their addresses, for /etc/hosts.",
            examples=['hosts = { db = "192.0.2.7" }'],
        ),
    ] = {}
    mtu: Annotated[
        int | None,
        Meta(
            description="Largest packet inside, 1280 to 65520. Default: 65520.",
            examples=["mtu = 1500"],
        ),
    ] = None


class ReportSection(Section, frozen=True, kw_only=True):
    """What is written down of a run; `docs/report.md` has its form."""

    file: Annotated[
        str | None,
        Meta(
            description="Write a report there when the run has ended, in place of what was there: as JSON, what was asked for and "
            "what of it was in force, how it ended, and what it used. Choose a place that is not writable inside: what the "
            "command may write next to it, it may write there, too.",
            examples=['file = "~/reports/build.json"'],
        ),
    ] = None
    page: Annotated[
        str | None,
        Meta(
            description="The same as one HTML page that needs no other file and no network, with plots of memory, processor, I/O and "
            "processes over the time of the run. On the command line both are `--report`, and `.html` at the end says which.",
            examples=['page = "~/reports/build.html"'],
        ),
    ] = None


class UserSection(Section, frozen=True, kw_only=True):
    """Who the command is inside. Outside it is always you."""

    map: Annotated[
        Literal["single", "range"] | None,
        Meta(
            description='`"single"`: one id exists inside. `"range"`: also those that `/etc/subuid` and `/etc/subgid` '
            'give you, as installing packages needs. Default: `"single"`.',
            examples=['map = "range"'],
        ),
    ] = None
    uid: Annotated[int | None, Meta(description="Your user id inside. Default: your own.", examples=["uid = 0"])] = None
    gid: Annotated[int | None, Meta(description="Your group id inside. Default: your own.", examples=["gid = 0"])] = (
        None
    )


class SecuritySection(Section, frozen=True, kw_only=True):
    """What the kernel does for the command."""

    seccomp: Annotated[
        str | None,
        Meta(
            description='`"default"`, `"strict"`, `"off"`, or the path of a JSON file that holds the `linux.seccomp` '
            'object of an OCI spec, from the working directory. Default: `"default"`.',
            examples=['seccomp = "strict"'],
        ),
    ] = None
    capabilities: Annotated[
        list[str],
        Meta(
            description="Capabilities that the command has, over what belongs to the sandbox; none unless named. "
            "`SYS_ADMIN` and `SYS_PTRACE` are refused, as they undo the sandbox: see `nested`.",
            examples=['capabilities = ["NET_BIND_SERVICE"]'],
        ),
    ] = []
    no_new_privs: Annotated[
        bool | None,
        Meta(
            description="No program gives more rights than its caller has. Default: true.",
            examples=["no_new_privs = true"],
        ),
    ] = None
    nested: Annotated[
        bool | None,
        Meta(
            description="User namespaces may be made inside, as browsers and other sandboxes do. Then nothing "
            "may be hidden or read-only inside a writable tree, as it would not stay so. Default: false.",
            examples=["nested = true"],
        ),
    ] = None


class ProcessSection(Section, frozen=True, kw_only=True):
    """How the command starts."""

    init: Annotated[
        bool | None,
        Meta(
            description="A small process 1 reaps orphans and passes signals on. Default: true.",
            examples=["init = false"],
        ),
    ] = None
    cwd: Annotated[
        str | None,
        Meta(description="Where it starts. Default: the working directory.", examples=['cwd = "/tmp"']),
    ] = None
    show_command: Annotated[
        bool | None,
        Meta(
            description="Show the file that the command names with a `/`, read-only, though nothing around it is shown: "
            "`sandbox run -- ./tool`. Default: false.",
            examples=["show_command = true"],
        ),
    ] = None
    hostname: Annotated[
        str | None, Meta(description='The host name inside. Default: `"sandbox"`.', examples=['hostname = "build"'])
    ] = None
    name: Annotated[
        str | None,
        Meta(
            description="What it is called while it runs; only one at a time. Default: drawn.", examples=['name = "ci"']
        ),
    ] = None
    tty: Annotated[
        bool | None,
        Meta(
            description="`true`: always a terminal of the sandbox's own; `false`: never. Default: where you have one.",
            examples=["tty = false"],
        ),
    ] = None
    notify: Annotated[
        Literal["none", "start", "command"] | None,
        Meta(
            description="Who tells the service manager that it is ready, where one has set NOTIFY_SOCKET: nobody; we, when the "
            "command runs; or the command, which gets a NOTIFY_SOCKET of its own, and of whose words those of its own state go on. "
            'Default: `"start"` in the process that the service manager has started itself, else `"none"`.',
            examples=['notify = "command"'],
        ),
    ] = None
    log_size: Annotated[
        int | str | None,
        Meta(
            description="So much of what the command says is kept when it is run with `--detach`, the newest; in bytes or with "
            '`K`, `M`, `G`. Default: `"1M"`.',
            examples=['log_size = "10M"'],
        ),
    ] = None
    umask: Annotated[
        str | None,
        Meta(
            description='Bits that new files do not get, in octal: `"027"`. Default: your own.',
            examples=['umask = "027"'],
        ),
    ] = None
    nice: Annotated[
        int | None, Meta(description="Nice value, -20 to 19. Default: your own.", examples=["nice = 10"])
    ] = None


class Profile(Section, frozen=True, kw_only=True):
    """A profile.

    `extends` first, then the profile itself, then further profiles and the options of the command line: lists grow from
    layer to layer, tables are merged, of single values the last one counts.
    """

    description: Annotated[
        str | None, Meta(description="One line for `sandbox profile list`.", examples=['description = "build offline"'])
    ] = None
    extends: Annotated[
        str | list[str] | None,
        Meta(
            description="Profiles that this one is laid over: a name (yours in `$XDG_CONFIG_HOME/sandbox/profiles` before a "
            "shipped one; in your own `build.toml`, `build` is the shipped one), or a path, which is relative to this file.",
            examples=['extends = "base"'],
        ),
    ] = None
    root: RootSection = RootSection()
    filesystem: FilesystemSection = FilesystemSection()
    environment: EnvironmentSection = EnvironmentSection()
    network: NetworkSection = NetworkSection()
    limits: LimitsSection = LimitsSection()
    report: ReportSection = ReportSection()
    user: UserSection = UserSection()
    security: SecuritySection = SecuritySection()
    process: ProcessSection = ProcessSection()
    oci: Annotated[
        dict[str, Any],
        Meta(
            description="A fragment of an OCI runtime spec, merged last: objects are merged, lists are appended, "
            "other values replace.",
            examples=['[oci.linux.sysctl]\n"net.ipv4.ip_unprivileged_port_start" = "80"'],
        ),
    ] = {}
