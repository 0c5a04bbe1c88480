"""What a profile allows that is plainly weak, or says and takes back: no mistake, but worth knowing.

Warned of is what undoes the sandbox, or lets what is inside reach further than its author may think; not what every
profile of its kind needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from sandbox.profile.examine import Finding, finding
from sandbox.profile.load import Layered, shipped_directory
from sandbox.profile.policy import VISIBLE, Access, Policy, in_vain
from sandbox.profile.rules import PROJECT_FILE

# Below the home directory: a program of the host's executes what is written there.
_EXECUTED = (
    *(".bashrc", ".bash_profile", ".profile", ".zshrc", ".zshenv", ".config/fish/config.fish", ".ssh/authorized_keys"),
    *("bin", ".local/bin", ".cargo/bin", "go/bin", ".config/autostart", ".config/systemd", ".config/git/hooks"),
    *(".gitconfig", ".config/git/config", ".vimrc", ".config/nvim", ".config/Code"),
)
_SOCKETS = {
    "docker.sock": "who talks to docker is root",
    "podman/podman.sock": "who talks to podman runs programs as you, outside",
    ".X11-unix": "X11 is no boundary: what you type in any window is seen, and can be typed for you",
    "/bus": "through the session bus programs are started outside",
    "systemd/private": "through systemd programs are started outside",
}
_OPENING = {
    "mounts": "is mounted past the rules of [filesystem]",
    "hooks": "hooks are executed outside the sandbox",
    "linux.seccomp": "replaces parts of the filter",
    "linux.namespaces": "changes what is isolated",
    "linux.devices": "gives devices",
    "process.capabilities": "gives capabilities past security.capabilities",
    "process.noNewPrivileges": "may let a program gain rights",
}


def weaknesses(layered: Layered, policy: Policy, home: str, label: str) -> Iterator[Finding]:
    """Yield a warning for each; `label` names the profile as a whole."""
    yield from _contradictions(layered, policy)
    if os.path.basename(label) != PROJECT_FILE:  # which is laid over another, that hides them
        yield from _secrets(layered, label)
    yield from _network(layered, policy, home)
    yield from _executed(policy, home)
    yield from _sockets(policy)
    yield from _security(layered)
    yield from _fragment(layered)


def _warning(where: str, message: str, hint: str) -> Finding:
    return finding(where, message, hint, severity="warning")


def _contradictions(layered: Layered, policy: Policy) -> Iterator[Finding]:
    """What one profile says and takes back, or shows in vain, as another one hides it."""
    hidden = {(rule.path, rule.origin.layer): rule for rule in policy.rules if rule.access is Access.HIDE}
    for rule in policy.rules:
        other = hidden.get((rule.path, rule.origin.layer))
        if other is not None and rule.access is not Access.HIDE:
            yield _warning(
                rule.origin.text, f"{rule.path} is hidden by {other.origin.text}, which wins", "leave one of them out"
            )
    for rule, other in in_vain(policy):
        if rule.origin.layer > other.origin.layer:
            hint = f"name what is to be seen in it: {rule.path}/…" if rule.found.directory else "leave it out"
            yield _warning(rule.origin.text, f"{rule.path} is hidden by {other.origin.text}, which wins", hint)
    section = layered.profile.environment
    unset = {
        (name, layered.origin("environment", "unset", index).layer): layered.origin("environment", "unset", index)
        for index, name in enumerate(section.unset)
    }
    given = [(name, layered.origin("environment", "keep", index)) for index, name in enumerate(section.keep)]
    given += [(name, layered.origin("environment", "set", name)) for name in section.set]
    for name, origin in given:
        if (name, origin.layer) in unset:
            by = unset[name, origin.layer].text
            yield _warning(origin.text, f"{name} is taken out by {by}, which wins", "leave one of them out")


def _secrets(layered: Layered, label: str) -> Iterator[Finding]:
    if f"{shipped_directory()}/secrets.toml" not in layered.files:
        yield _warning(f"{label}:", "nothing hides your keys and tokens", 'extend "base", "build" or "secrets"')


def _network(layered: Layered, policy: Policy, home: str) -> Iterator[Finding]:
    rule = policy.over(home)
    if layered.profile.network.mode == "host" and rule is not None and rule.access in VISIBLE:
        verb = "written" if rule.access is Access.WRITE else "read"
        yield _warning(
            layered.origin("network", "mode").text,
            f"with the host's network, and your home directory to be {verb} ({rule.origin.text}), what lies there can be sent away",
            "show the directories that are needed, not all of it",
        )


def _executed(policy: Policy, home: str) -> Iterator[Finding]:
    for name in _EXECUTED:
        path = f"{home}/{name}"
        rule = policy.over(path)
        if rule is not None and rule.access is Access.WRITE:
            yield _warning(
                rule.origin.text,
                f"{path} is writable inside, and executed or obeyed outside",
                f'keep it as it is: protect = ["~/{name}"]',
            )


def _sockets(policy: Policy) -> Iterator[Finding]:
    for path, rule in policy.winners.items():
        for ending, why in _SOCKETS.items():
            if rule.access in VISIBLE and (path.endswith(ending) or f"{ending}/" in path):
                yield _warning(rule.origin.text, f"{path}: {why}", "leave it out, unless that is what you want")


def _security(layered: Layered) -> Iterator[Finding]:
    security = layered.profile.security
    if security.seccomp == "off":
        yield _warning(
            layered.origin("security", "seccomp").text,
            "without a filter every system call of the kernel can be attacked",
            'write "default", or a filter of your own that has what is missing',
        )
    if security.no_new_privs is False:
        yield _warning(
            layered.origin("security", "no_new_privs").text,
            "setuid programs of the tree work, with the rights that the sandbox has",
            "leave it out",
        )
    for index, name in enumerate(security.capabilities):
        origin = layered.origin("security", "capabilities", index)
        yield _warning(
            origin.text, f"{name} opens parts of the kernel that are closed otherwise", "leave it out if you can"
        )


def _fragment(layered: Layered) -> Iterator[Finding]:
    for name, why in _OPENING.items():
        key = ("oci", *name.split("."))
        origin = next((found for other, found in layered.origins.items() if other[: len(key)] == key), None)
        if origin is not None:
            yield _warning(origin.text, why, "say it in the profile's own words where there are any")
