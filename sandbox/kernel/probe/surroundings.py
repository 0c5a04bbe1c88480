"""What is around us: a container or another sandbox, its filter, its limits; and who could change that."""

from __future__ import annotations

import os

from sandbox.kernel.probe.distribution import release
from sandbox.kernel.probe.finding import Cause, Finding

_WHOLE_MAP = ["0", "0", "4294967295"]


def read(path: str) -> str:
    """Return the text of a file of the kernel's, "" where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def sysctl(name: str) -> str:
    """Return the value of a kernel setting, "" where this kernel has none of that name."""
    return read(f"/proc/sys/{name.replace('.', '/')}")


def status(key: str) -> str:
    """Return a line of our own /proc/self/status."""
    for line in read("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return ""


def mount_of(path: str) -> str:
    """Return the mount point above `path`."""
    path = os.path.realpath(path)
    if os.path.ismount(path):
        return path
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        points = [line.split(" ")[4] for line in file]
    return max((point for point in points if f"{path}/".startswith(f"{point.rstrip('/')}/")), key=len, default="/")


def around() -> str:
    """Return what we are in: sandbox, podman, docker, another program's name, container; "" where nothing is seen."""
    if os.path.exists("/run/.containerenv"):
        return "podman"
    # The file alone may have come with an image that was unpacked; docker itself mounts these, too.
    if os.path.exists("/.dockerenv") and os.path.ismount("/etc/hosts"):
        return "docker"
    if os.path.exists("/.flatpak-info"):
        return "flatpak"
    manager = read("/run/host/container-manager") or read("/run/systemd/container")
    if manager:
        return manager.split()[0]
    first = read("/proc/1/cmdline").split("\0")[0].rpartition("/")[2]
    if first == "sandbox-init":
        return "sandbox"
    if first in ("bwrap", "firejail"):
        return first
    return "container" if read("/proc/self/uid_map").split() != _WHOLE_MAP else ""


_NAMES = {
    "sandbox": "a sandbox of this program",
    "podman": "a podman container",
    "docker": "a docker container",
    "bwrap": "a sandbox of bubblewrap",
    "container": "a container (the user namespace has not all ids)",
}


def name(kind: str) -> str:
    """Return what `around()` found, in words."""
    return _NAMES.get(kind, f"a container of {kind}")


def allow(what: str, *, podman: str = "", docker: str = "", profile: str = "") -> str:
    """Return what whoever started it has to do so that we may do `what` in it; "" where nothing is around us."""
    kind = around()
    if kind == "sandbox" and profile:
        return f"outside, in the profile: {profile}"
    if kind == "podman" and podman:
        return f"outside: podman run {podman}"
    if kind == "docker" and (docker or podman):
        return f"outside: docker run {docker or podman}"
    the = name(kind).partition(" (")[0].replace("a ", "the ", 1)
    return f"whoever started {the} has to allow {what} there" if kind else ""


def probe_system() -> Finding:
    """Say which system this is; nothing is tried."""
    system = os.uname()
    words = f"Linux {system.release} on {system.machine}; {release().get('PRETTY_NAME', 'an unknown distribution')}"
    return Finding(name="system", state="ok", found=words, how="uname(2), /etc/os-release")


def probe_around() -> Finding:
    """Say what we are in, and what that takes from whatever we start."""
    how = "/run/.containerenv, /.dockerenv, /proc/1/cmdline, /proc/self/uid_map, /proc/self/status"
    kind = around()
    limits = []
    if status("Seccomp") == "2":
        limits.append("a seccomp filter is in force")
    if status("NoNewPrivs") == "1":
        limits.append("no_new_privs is set: setuid programs do not work")
    found = f"{name(kind)}" if kind else "the host itself" if not limits else "no container"
    if limits:
        found += f"; {'; '.join(limits)}"
    return Finding(name="surroundings", state="ok", found=found, how=how)


def probe_lsm() -> Finding:
    """Name the security modules; whether they refuse is found out by the others' trying."""
    modules = read("/sys/kernel/security/lsm")
    restricted = sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1"
    found = modules.replace(",", ", ") or "not to be seen"
    if restricted:
        found += "; AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)"
    how = "/sys/kernel/security/lsm, /proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    return Finding(name="security modules", state="ok" if modules or restricted else "n/a", found=found, how=how)


def no_new_privileges() -> Cause:
    """Return why no setuid program works here, if so."""
    if status("NoNewPrivs") != "1":
        return Cause()
    return Cause(
        why="no_new_privs is set on us, and setuid programs do not work",
        cure=allow("setuid programs", podman="--security-opt no-new-privileges=false")
        or "start it from a process on which no_new_privs is not set",
    )
