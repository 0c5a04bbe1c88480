"""From profiles and options to an OCI runtime spec, with the origin of each value.

Decides the defaults, and how each section of a profile is said in the spec.  Looks at the host
through `Inputs` alone, so that a plan made from the result knows when it is stale.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec.json import encode

from sandbox.errors import HostError, ProfileError
from sandbox.kernel.ids import Range, account, subordinate
from sandbox.plan.inputs import Inputs
from sandbox.profile import limits, mounts
from sandbox.profile.environment import variables
from sandbox.profile.fragment import merge_fragment
from sandbox.profile.identity import capabilities, check_capabilities, full_name, id_map, identifier, inside_id, umask
from sandbox.profile.load import Layered, Origin, is_page
from sandbox.profile.paths import below
from sandbox.profile.policy import VISIBLE, Access, Policy, check_nested, in_vain
from sandbox.profile.request import Eye, Request
from sandbox.profile.rules import policy, state_places
from sandbox.spec.runtime import (
    ANNOTATION,
    OCI_VERSION,
    IdMapping,
    Linux,
    Namespace,
    Process,
    Resources,
    Root,
    Scheduler,
    Seccomp,
    Spec,
    User,
    annotation,
)

NAMESPACES = ("user", "mount", "pid", "ipc", "uts", "cgroup")


class Expansion(NamedTuple):
    """A spec, and where its parts come from."""

    spec: Spec
    origins: dict[str, str]  # "mounts[3]" → "build.toml:12: filesystem.write[0]"
    keep: list[str]  # patterns of variables that are passed in when the command starts
    notes: tuple[str, ...] = ()  # what the user should hear of
    caches: tuple[str, ...] = ()  # directories that have to be there when the command starts


def expand(request: Request, inputs: Inputs, *, state_dir: str, layered: Layered | None = None) -> Expansion:
    """Return the spec for `request`; `state_dir` is the directory of our own state.

    `layered`: what its profiles come to, where that is known.  Raises ProfileError that names the line of what cannot
    be, HostError for what this host lacks.
    """
    return _Expander(request, inputs, state_dir, layered).expansion()


class _Expander(Eye):
    """The work of one call; the methods each fill one part of the spec, and note its origins."""

    def __init__(self, request: Request, inputs: Inputs, state_dir: str, layered: Layered | None) -> None:
        super().__init__(request, inputs, state_dir)
        self.origins: dict[str, str] = {}
        self.annotations: dict[str, str] = {}
        self.layered, self.notes = (layered, ()) if layered is not None else self.layers()
        self.profile = self.layered.profile

    def expansion(self) -> Expansion:
        root = self._root()
        rules = policy(self.layered, self.vocabulary, self.resolver, state_dir=self.state_dir)
        self.notes += tuple(
            f"{rule.origin.text} shows nothing, as {winner.origin.text} hides it"
            f"{'; what lies in it can be named' if rule.found.directory else ''}"
            for rule, winner in in_vain(rules)
            if not rule.origin.file
        )
        process, linux = self._process(rules), self._linux()
        self._note("hostname", "process", "hostname")
        hostname = self.profile.process.hostname or "sandbox"
        spec = Spec(
            oci_version=OCI_VERSION,
            root=root,
            hostname=hostname,
            process=process,
            linux=linux,
            annotations=self.annotations,
        )
        self._annotate("profiles", encode(list(self.request.profiles)).decode(), "--profile")
        self._asked()
        if self.profile.process.name is not None:
            origin = self.layered.origin("process", "name")
            self._annotate("name", identifier(self.profile.process.name, origin.text), origin.text)
        if self.profile.process.show_command:
            self._annotate("showCommand", "true", self.layered.origin("process", "show_command").text)
        self._detached()
        self._filesystem(spec, linux, rules)
        keep = self._environment(process)
        spec = merge_fragment(spec, self.layered, self.origins, self.resolver, self.state_dir)
        check_capabilities(spec, self.origins)
        if annotation(spec, "nested") != "false":
            check_nested(rules)
        caches = tuple(rule.source for rule in rules.winners.values() if rule.source)
        return Expansion(spec, self.origins, keep, self.notes, caches)

    def _note(self, place: str, *key: str) -> Origin:
        """Note that `place` of the spec comes from `key` of the profiles."""
        origin = self.layered.origin(*key)
        self.origins[place] = origin.text
        return origin

    def _annotate(self, name: str, value: str, origin: str) -> None:
        self.annotations[ANNOTATION + name] = value
        self.origins[f"annotations.{name}"] = origin

    def _root(self) -> Root:
        where = self._note("root", "root", "from")
        text = self.profile.root.from_ or "host"
        if text == "host":
            self._annotate("root", "fresh", where.text)
            return Root(path="rootfs", readonly=True)
        kind, _, path = text.partition(":")
        if kind != "dir" or not path:
            raise ProfileError(f'"{text}" is no root', where=where.text, hint='write "host" or "dir:PATH"')
        found = self.resolver.resolve(self.vocabulary.single(path, where))
        if not found.directory:
            reason = "Not a directory" if found.exists else found.refusal or "No such file or directory"
            raise ProfileError(f"{path}: {reason}", where=where.text, hint="name the directory of a root file system")
        states = (self.resolver.resolve(place) for place in (self.state_dir, *state_places(self.inputs)))
        if any(state.exists and below(state.real, found.real) for state in states):
            raise ProfileError(f"{path} would show the state of the sandboxes", where=where.text, hint="name another")
        self._annotate("root", "directory", where.text)
        return Root(path=found.real, readonly=True)

    def _process(self, rules: Policy) -> Process:
        section = self.profile.process
        terminal = "auto" if section.tty is None else "always" if section.tty else "never"
        self._annotate("terminal", terminal, self.layered.origin("process", "tty").text)
        self._note("process.terminal", "process", "tty")
        self._annotate("init", _word(value=section.init is not False), self.layered.origin("process", "init").text)
        if self.profile.limits.timeout is not None:
            where = self.layered.origin("limits", "timeout").text
            self._annotate("timeout", limits.seconds(self.profile.limits.timeout, where), where)
            where = self.layered.origin("limits", "timeout_grace").text
            self._annotate("timeoutGrace", limits.grace(self.profile.limits.timeout_grace, where), where)
        if self.profile.limits.strict:
            self._annotate("strict", "true", self.layered.origin("limits", "strict").text)
        self._report()
        self._notify()
        process = Process(
            terminal=section.tty is True,
            user=self._user(),
            cwd=self._cwd(rules),
            capabilities=capabilities(self.layered),
            no_new_privileges=self.profile.security.no_new_privs is not False,
        )
        self._note("process.noNewPrivileges", "security", "no_new_privs")
        self._note_capabilities()
        for limit, origin in limits.rlimits(self.layered):
            self.origins[f"process.rlimits[{len(process.rlimits)}]"] = origin
            process.rlimits.append(limit)
        if section.nice is not None:
            where = self._note("process.scheduler", "process", "nice").text
            if not -20 <= section.nice <= 19:
                raise ProfileError(f"{section.nice} is not a nice value", where=where, hint="write -20 to 19")
            process.scheduler = Scheduler(policy="SCHED_OTHER", nice=section.nice)
        return process

    def _detached(self) -> None:
        if self.request.replace:
            self._annotate("replace", "true", "--replace")
        size = limits.log_size(self.layered)
        if self.request.detached is None:
            return
        self._annotate("detached", "true", "--detach")
        self._name_filter()  # its result is a report
        self._annotate("interactive", _word(value=self.request.detached.interactive), "--interactive")
        self._annotate("remove", _word(value=self.request.detached.remove), "--rm")
        self._annotate("logSize", f"{size}", self.layered.origin("process", "log_size").text)

    def _report(self) -> None:
        for key, name, path in (
            ("file", "report", self.profile.report.file),
            ("page", "reportPage", self.profile.report.page),
        ):
            if path is None:
                continue
            origin = self.layered.origin("report", key)
            if path == "-":
                raise ProfileError(
                    "a report goes into a file", where=origin.text, hint="name one: --report report.json"
                )
            if key == "file" and is_page(path):
                raise ProfileError(
                    "a file of that name would be taken for a page", where=origin.text, hint=f'write page = "{path}"'
                )
            # Resolved when the run starts, in nsinit: the plan may be older than a symlink on the way.
            self._annotate(name, self.vocabulary.single(path, origin), origin.text)
            self._name_filter()

    def _name_filter(self) -> None:
        """Say for a report what it was that became the spec's filter."""
        name = self.profile.security.seccomp or "default"
        self._annotate("seccomp", name, self.layered.origin("security", "seccomp").text)

    def _asked(self) -> None:
        """Write down what was asked for as it was: to ask for it again (`sandbox generate`)."""
        options = [text for option in self.request.options for text in option]
        try:
            encoded = encode([self.request.cwd, self.request.project, *options]).decode()
        except UnicodeEncodeError:
            return  # a name that is no text: no unit could hold it
        self._annotate("asked", encoded, "the command line")

    def _notify(self) -> None:
        mode = self.profile.process.notify
        if mode is not None:
            self._annotate("notify", mode, self.layered.origin("process", "notify").text)

    def _note_capabilities(self) -> None:
        names = self.profile.security.capabilities
        origin = self.layered.origin("security", "capabilities", len(names) - 1) if names else None
        text = origin.text if origin else self.layered.origin("security", "capabilities").text
        for kind in ("", ".bounding", ".effective", ".inheritable", ".permitted", ".ambient"):
            self.origins[f"process.capabilities{kind}"] = text
        seen: list[str] = []
        for index, name in enumerate(names):
            if full_name(name) not in seen:
                origin = self.layered.origin("security", "capabilities", index)
                for kind in ("bounding", "effective", "inheritable", "permitted", "ambient"):
                    self.origins[f"process.capabilities.{kind}[{len(seen)}]"] = origin.text
                seen.append(full_name(name))

    def _user(self) -> User:
        self._note("process.user", "user", "uid")
        if self.profile.process.umask is not None:
            self._note("process.user.umask", "process", "umask")
        return User(
            uid=inside_id(self.layered, "uid", self.request.uid),
            gid=inside_id(self.layered, "gid", self.request.gid),
            umask=umask(self.layered),
        )

    def _cwd(self, rules: Policy) -> str:
        origin = self._note("process.cwd", "process", "cwd")
        text = self.profile.process.cwd
        path = self.request.cwd if text is None else self.vocabulary.single(text, origin)
        if self.profile.root.from_ not in (None, "host"):
            return path
        found = self.resolver.resolve(path)
        if _reachable(rules, found.real, directory=found.directory):
            return found.real
        raise ProfileError(
            f"the working directory {path} is not there inside",
            where="" if text is None else origin.text,
            hint="show it with --read . or --write ., or start elsewhere: --cwd /"
            if text is None
            else "show it in [filesystem], or start elsewhere: --cwd /",
        )

    def _linux(self) -> Linux:
        own_network = self.profile.network.mode != "host"
        self._note("linux.namespaces", "network", "mode")
        names = (*NAMESPACES, "network") if own_network else NAMESPACES
        user = self.layered.origin("user", "map").text
        self.origins["linux.uidMappings"] = self.origins["linux.gidMappings"] = user
        linux = Linux(
            namespaces=[Namespace(type=name) for name in names],
            resources=self._resources(),
            seccomp=self._seccomp(),
        )
        self._network()
        linux.uid_mappings = self._id_map("uid", self.request.uid)
        linux.gid_mappings = self._id_map("gid", self.request.gid)
        return linux

    def _resources(self) -> Resources | None:
        written = self.layered.values.get("limits", {})
        if not any(key in written for key in limits.SHARED):
            return None
        from sandbox.profile.resources import shared  # late: hardly any profile has one

        found = shared(self.layered, self.vocabulary, self.inputs)
        if found is None:
            return None
        self.origins.update({f"linux.resources.{place}": where for place, where in found.origins.items()})
        if found.optional:
            self._annotate("optional", encode(found.optional).decode(), "limits")
        return found.resources

    def _network(self) -> None:
        section = self.profile.network
        if section.mode in (None, "none", "host") and not (section.publish or section.loopback or section.dns):
            return
        from sandbox.profile import network  # late: most sandboxes have none

        for name, (value, origin) in network.wanted(self.layered, self.inputs).items():
            self._annotate(name, value if isinstance(value, str) else encode(value).decode(), origin)

    def _id_map(self, kind: Literal["uid", "gid"], own: int) -> list[IdMapping]:
        if self.profile.user.map != "range":
            return id_map(self.layered, kind, own, [])
        return id_map(self.layered, kind, own, self._subordinate(kind))

    def _subordinate(self, kind: Literal["uid", "gid"]) -> list[Range]:
        known = account(self.request.uid, self.inputs)
        try:
            return subordinate(kind, self.request.uid, known.name if known else "", self.inputs)
        except HostError as error:
            raise HostError(str(error), where=self.origins["linux.uidMappings"], hint=error.hint) from error

    def _seccomp(self) -> Seccomp | None:
        security = self.profile.security
        where = self._note("linux.seccomp", "security", "seccomp")
        nested = security.nested is True
        self._annotate("nested", _word(value=nested), self.layered.origin("security", "nested").text)
        name = security.seccomp or "default"
        if name == "off":
            return None
        from sandbox.profile import seccomp  # late: the tables of system calls are large

        if name in ("default", "strict"):
            granted = capabilities(self.layered).bounding
            return seccomp.policy(name, nested=nested, capabilities=frozenset(granted))
        if "/" not in name and not name.endswith(".json"):
            raise ProfileError(
                f'no filter is called "{name}"', where=where.text, hint='write "default", "strict", "off" or a path'
            )
        path = self.resolver.resolve(self.vocabulary.single(name, where)).real
        try:
            return seccomp.read_policy(self.inputs.read(path), path)
        except OSError as error:
            raise ProfileError(f"{path}: {error.strerror}", where=where.text) from error

    def _filesystem(self, spec: Spec, linux: Linux, rules: Policy) -> None:
        fresh = self.annotations[ANNOTATION + "root"] == "fresh"
        home = self.resolver.resolve(self.home).real
        placed = mounts.place(rules, home=home, fresh=fresh)
        own_network = self.profile.network.mode != "host"
        rows = [(mount, f"every sandbox has {mount.destination}") for mount in mounts.standard(own_network=own_network)]
        for index, (mount, origin) in enumerate([*rows, *placed.mounts]):
            spec.mounts.append(mount)
            self.origins[f"mounts[{index}]"] = origin
        standard = [(path, f"every sandbox hides {path}") for path in mounts.MASKED]
        for index, (path, origin) in enumerate([*standard, *placed.masked]):
            linux.masked_paths.append(path)
            self.origins[f"linux.maskedPaths[{index}]"] = origin
        for index, path in enumerate(mounts.READ_ONLY):
            linux.readonly_paths.append(path)
            self.origins[f"linux.readonlyPaths[{index}]"] = f"every sandbox has {path} read-only"
        links = {link: target for link, (target, _) in placed.links.items()}
        self._annotate("symlinks", encode(links).decode(), "filesystem")
        for link, (_, origin) in placed.links.items():
            self.origins[f"annotations.symlinks.{link}"] = origin
        if rules.absent:
            stubs = {path: kind for path, (kind, _) in rules.absent.items()}
            self._annotate("absent", encode(stubs).decode(), "filesystem.protect")
            for path, (_, origin) in rules.absent.items():
                self.origins[f"annotations.absent.{path}"] = origin

    def _environment(self, process: Process) -> list[str]:
        found = variables(self.layered, self.defaults(), self.inputs)
        for name, (value, origin) in found.set.items():
            self.origins[f"process.env[{len(process.env)}]"] = origin
            process.env.append(f"{name}={value}")
        self.origins["process.env"] = "environment"
        self._annotate("keep", encode(found.keep).decode(), "environment.keep")
        return found.keep


def _word(*, value: bool) -> str:
    return "true" if value else "false"


def _reachable(rules: Policy, path: str, *, directory: bool) -> bool:
    """Is there a directory at `path` inside?  `directory`: there is one on the host."""
    rule = rules.over(path)
    if rule is not None and rule.access in VISIBLE:
        return directory
    if path == "/" or (rule is not None and rule.access is Access.OWN):
        return True
    if rule is not None and rule.access is Access.TMP and rule.path == path:
        return True
    return any(entry.access is not Access.HIDE for entry in rules.inside(path))
