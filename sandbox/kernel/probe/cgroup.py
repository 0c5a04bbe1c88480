"""What of the cgroup hierarchy is the caller's, cgroups(7), "Cgroups delegation"; limits need it."""

from __future__ import annotations

import errno
import os
import socket
import time

from sandbox.kernel import cgroup, delegation
from sandbox.kernel.probe.attempt import Outcome, Refused, attempt
from sandbox.kernel.probe.distribution import as_root, root_shell
from sandbox.kernel.probe.finding import UNKNOWN, Cause, Finding, refused
from sandbox.kernel.probe.lacks import lack
from sandbox.kernel.probe.surroundings import allow, around, read

_FOR_LIMITS = ("cpu", "memory", "pids")
_TRIAL = "sandbox-probe-"
_WIDENED = "cpu cpuset io memory pids"
_DROP_IN = "/etc/systemd/system/user@.service.d/delegate.conf"


def _top() -> str:
    """Return the directory nearest to the root in which we may make cgroups, "" if there is none."""
    from sandbox.plan.inputs import Inputs

    root, own = delegation.mount_point(), delegation.own_cgroup()
    return delegation.delegated(root, own, own, Inputs())[0] if root and own else ""


def probe_hierarchy() -> Finding:
    """Look for cgroup v2."""
    name, how = "cgroup v2", "/proc/self/cgroup, /proc/self/mountinfo"
    root, own = delegation.mount_point(), delegation.own_cgroup()
    if root and own:
        return Finding(name=name, state="ok", found=f"{root}; we are in {own}", how=how)
    if own:
        mount = as_root("mount -t cgroup2 none /sys/fs/cgroup")
        cause = Cause(why="no cgroup2 is mounted here", cure=allow("cgroups") or mount)
        return refused(name, "not mounted", cause, how=how, needed=False)
    cause = Cause(
        why="this system runs cgroup v1 alone, which gives users nothing",
        cure="boot with systemd.unified_cgroup_hierarchy=1" if os.path.isdir("/run/systemd/system") else "",
    )
    return refused(name, "not there", cause, how=how, needed=False)


def probe_delegation() -> list[Finding]:
    """Make a cgroup and move a process there; see which controllers it has."""
    name, how = "delegated cgroup", "mkdir, cgroup.procs, and +CONTROLLER in cgroup.subtree_control of the new one"
    top = _top()
    if not top and manager_answers():
        return [Finding(name=name, state="ok", found="none; your user manager is asked for a scope", how=how)]
    if not top:
        return [refused(name, "none: limits cannot be set", why_none(), how=how, needed=False)]
    path = f"{top}/{_TRIAL}{os.getpid()}"
    try:
        _sweep(top)
        os.mkdir(path)
    except OSError as error:
        cause = why_none()
        return [refused(name, f"{top}: cannot make a cgroup: {error.strerror}", cause, how=how, needed=False)]
    try:
        outcome = attempt(lambda: _move(path))
        controllers, waiting = _controllers(top, path)
    finally:
        _remove(path)
    if not outcome.succeeded:
        return [refused(name, f"{top}: {outcome.words}", _why_not_moved(outcome), how=how, needed=False)]
    findings = [Finding(name=name, state="ok", found=f"{top}: made, and a process moved there", how=how)]
    return [*findings, _missing(top, controllers, waiting, how)]


def _move(path: str) -> dict[str, int]:
    try:
        cgroup.write(path, "cgroup.procs", "0")
    except OSError as error:
        raise Refused("cgroup.procs", error.errno or errno.EIO) from error
    return {}


def _sweep(top: str) -> None:
    """Remove what a doctor who was killed has left."""
    for name in os.listdir(top):
        if name.startswith(_TRIAL) and not os.path.exists(f"/proc/{name.removeprefix(_TRIAL)}"):
            _remove(f"{top}/{name}")


def _remove(path: str) -> None:
    # Who has just ended in it may be counted for a moment more.
    for _ in range(50):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.002)
        else:
            return


def _controllers(top: str, path: str) -> tuple[list[str], list[str]]:
    """Return the controllers that work in the new cgroup, and those that would, were they enabled at the top."""
    found = []
    for controller in read(f"{path}/cgroup.controllers").split():
        try:
            cgroup.write(path, "cgroup.subtree_control", f"+{controller}")
        except OSError:
            continue
        found.append(controller)
    # To enable them at the top would be seen by who lives there.  Whoever may write the file may do it.
    below = [name for name in read(f"{top}/cgroup.controllers").split() if name not in found]
    busy = bool(read(f"{top}/cgroup.procs"))
    return found, below if os.access(f"{top}/cgroup.subtree_control", os.W_OK) and not busy else []


def _missing(top: str, controllers: list[str], waiting: list[str], how: str) -> Finding:
    name = "controllers"
    usable = [*controllers, *waiting]
    missing = [controller for controller in _FOR_LIMITS if controller not in usable]
    found = f"usable: {', '.join(usable) or 'none'}"
    if not missing:
        return Finding(name=name, state="ok", found=found, how=how)
    return refused(name, f"{found}; missing: {', '.join(missing)}", why_missing(top, missing), how=how, needed=False)


def probe_granted() -> Finding:
    """See which controllers the user's manager has been given: it has no others to give."""
    name = "delegation"
    own, uid = delegation.own_cgroup(), os.geteuid()
    unit = f"user@{uid}.service"
    before, found, _ = own.partition(f"/{unit}")
    path = f"{delegation.mount_point()}{before if found else f'/user.slice/user-{uid}.slice'}/{unit}"
    how = f"cgroup.controllers of {path}"
    if not os.path.isdir(path):
        return Finding(name=name, state="n/a", found="there is no cgroup of a user manager of yours", how=how)
    given = read(f"{path}/cgroup.controllers").split()
    missing = [controller for controller in _WIDENED.split() if controller not in given]
    words = f"{unit} has {', '.join(given) or 'nothing'}"
    if not missing:
        return Finding(name=name, state="ok", found=words, how=how)
    return refused(name, f"{words}; not {', '.join(missing)}", why_missing(path, missing), how=how, needed=False)


def why_missing(top: str, missing: list[str]) -> Cause:
    """Return why these controllers cannot be used below `top`."""
    places = _places()
    for state, why, cure in (
        ("absent", "this kernel has no controller", "boot one that has it"),
        ("disabled", "switched off when the system was booted:", "boot without cgroup_disable="),
        ("v1", "hierarchies of cgroup v1 hold", "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all"),
    ):
        found = [controller for controller in missing if places.get(controller, "absent") == state]
        if found:
            return Cause(why=f"{why} {', '.join(found)}", cure=cure)
    if "user@" in top:
        return Cause(why=f"systemd gives its users no {', '.join(missing)}", cure=_widen())
    return Cause(
        why=f"{top} was given without {', '.join(missing)}", cure=allow(f"the controllers {', '.join(missing)}")
    )


def why_not_enabled(directory: str) -> Cause:
    """Return why controllers that `directory` has cannot be enabled in it."""
    if os.access(f"{directory}/cgroup.subtree_control", os.W_OK):
        return Cause(
            why=f"{directory} has processes in it, and so shares nothing out, cgroups(7), no internal processes",
            cure=f"move them one down: mkdir {directory}/main && for p in $(cat {directory}/cgroup.procs);"
            f" do echo $p >{directory}/main/cgroup.procs; done",
        )
    return Cause(
        why=f"{directory}/cgroup.subtree_control is not yours to write to",
        cure=f"as root: chown $USER {directory}/cgroup.subtree_control",
    )


def _places() -> dict[str, str]:
    """Return where each controller is, by /proc/cgroups (cgroups(7)): v1, v2 or disabled."""
    found = {}
    for line in read("/proc/cgroups").splitlines():
        fields = line.split()
        if line.startswith("#") or len(fields) != 4:
            continue
        name, hierarchy, _, enabled = fields
        found[name] = "disabled" if enabled == "0" else "v1" if hierarchy != "0" else "v2"
    return found


def _widen() -> str:
    script = (
        f"mkdir -p {os.path.dirname(_DROP_IN)} && printf '[Service]\\nDelegate={_WIDENED}\\n' >{_DROP_IN}"
        " && systemctl daemon-reload"
    )
    return f"{root_shell(script)}; then log in anew"


def _why_not_moved(outcome: Outcome) -> Cause:
    if outcome.call != "cgroup.procs":
        return lack(outcome.number)
    if outcome.number == errno.EACCES:
        return Cause(why="the cgroup that we are in is not below one of ours")
    return UNKNOWN


def why_none() -> Cause:
    """Return why no cgroup is the caller's."""
    own = delegation.own_cgroup()
    if around():
        return Cause(
            why="the cgroup that we are in belongs to what is around us",
            cure=allow("a cgroup of our own", podman="--security-opt unmask=/sys/fs/cgroup"),
        )
    if manager_answers():
        return Cause(
            why=f"we are in {own}, which is not yours; below your user manager you may make cgroups",
            cure="systemd-run --user --scope -p Delegate=yes -- sandbox run …",
        )
    if os.path.isdir("/run/systemd/system"):
        return Cause(
            why=f"we are in {own or 'no cgroup'}, and no user manager of yours is reached at {_bus()}",
            cure="log in anew (ssh, machinectl shell), not by su; for a service: loginctl enable-linger",
        )
    script = "d=/sys/fs/cgroup/$USER; mkdir $d; chown $USER $d $d/cgroup.procs $d/cgroup.subtree_control"
    return Cause(
        why=f"we are in {own or 'no cgroup'}, which is not yours, and no systemd is there to ask",
        cure=f"as root: {script}; move your shell there",
    )


def _bus() -> str:
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return f"{directory}/bus"


def manager_answers() -> bool:
    """Does somebody listen on the user's bus?"""
    try:
        with socket.socket(socket.AF_UNIX) as bus:
            bus.settimeout(1)
            bus.connect(_bus())
    except OSError:
        return False
    return os.path.isdir("/run/systemd/system")


def probe_manager() -> Finding:
    """Connect to the bus of the user's systemd."""
    name, how = "user manager", f"connect({_bus()})"
    if not os.path.isdir("/run/systemd/system"):
        return Finding(name=name, state="n/a", found="this system does not run systemd", how=how)
    if manager_answers():
        return Finding(name=name, state="ok", found=f"reached at {_bus()}", how=how)
    cause = Cause(
        why="there is no session of yours with a user manager, or XDG_RUNTIME_DIR is not set",
        cure="log in anew (ssh, machinectl shell), not by su; for a service: loginctl enable-linger",
    )
    return refused(name, f"not reached at {_bus()}", cause, how=how, needed=False)
