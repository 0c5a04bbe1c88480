"""How one helps oneself on this distribution: the package of a program, a kernel setting, a command for root."""

from __future__ import annotations

import functools
import os
import shlex
import shutil

# The family's command, and the ids of os-release(5) that belong to it.
_FAMILIES = {
    "apt": ("apt install", ("debian", "ubuntu")),
    "dnf": ("dnf install", ("fedora", "rhel", "centos")),
    "pacman": ("pacman -S", ("arch",)),
    "zypper": ("zypper install", ("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles")),
    "apk": ("apk add", ("alpine",)),
    "nix": ("", ("nixos",)),
}
_ORDER = ("apt", "dnf", "pacman", "zypper", "apk")
# What is called alike everywhere is not listed.
_PACKAGES = {
    "newuidmap": ("uidmap", "shadow-utils", "shadow", "shadow", "shadow-subids"),
    "libseccomp": ("libseccomp2", "libseccomp", "libseccomp", "libseccomp2", "libseccomp"),
    "pasta": ("passt", "passt", "passt", "passt", "passt"),
    "ps": ("procps", "procps-ng", "procps-ng", "procps", "procps-ng"),
}
_NIX = {
    "newuidmap": "security.shadow.enable = true;",
    "pasta": "environment.systemPackages = [ pkgs.passt ];",
}


@functools.cache
def release() -> dict[str, str]:
    """Return the variables of os-release(5), {} where the file is not there."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        return {name: _unquoted(value) for name, _, value in pairs}
    return {}


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:  # an open quote
        return value


def family() -> str:
    """Return the package manager that this distribution goes by, "" if it is not one that we know."""
    found = release()
    for name in (found.get("ID", ""), *found.get("ID_LIKE", "").split()):
        for key, (_, ids) in _FAMILIES.items():
            if name in ids:
                return key
    return ""


def as_root(command: str) -> str:
    """Return what to type so that root executes `command`."""
    if os.geteuid() == 0:
        return command
    for program in ("sudo", "doas"):
        if shutil.which(program):
            return f"{program} {command}"
    return f"as root: {command}"


def root_shell(script: str) -> str:
    """Return the same for a line that needs a shell."""
    return script if os.geteuid() == 0 else as_root(f"sh -c {shlex.quote(script)}")


def install(program: str, *, again: bool = False) -> str:
    """Return how the package with `program` is installed here; `again`: it is there and damaged."""
    manager = family()
    if manager == "nix":
        return f"in configuration.nix: {_NIX.get(program, f'environment.systemPackages = [ pkgs.{program} ];')}"
    if not manager:
        return f"install {program}"
    names = _PACKAGES.get(program)
    name = names[_ORDER.index(manager)] if names else program
    command = _FAMILIES[manager][0]
    if again:
        command = {
            "apt": "apt install --reinstall",
            "dnf": "dnf reinstall",
            "zypper": "zypper install --force",
            "apk": "apk fix",
        }.get(manager, command)
    return as_root(f"{command} {name}")


def set_sysctl(name: str, value: int | str) -> str:
    """Return how a kernel setting is changed here."""
    if family() == "nix":
        return f'in configuration.nix: boot.kernel.sysctl."{name}" = {value};'
    return as_root(f"sysctl {name}={value}")
