"""Programs of the host's that some need: user-mode networks and their device, and criu."""

from __future__ import annotations

import errno
import os

from sandbox.kernel.probe.attempt import find, run
from sandbox.kernel.probe.distribution import as_root, install
from sandbox.kernel.probe.finding import UNKNOWN, Cause, Finding, refused
from sandbox.kernel.probe.lacks import lack
from sandbox.kernel.probe.surroundings import allow, around

_TUN = "/dev/net/tun"
# What each is for, today.
_FOR = {
    "pasta": "`--network user` and podman give a network by it",
    "slirp4netns": "`--network user` and podman give a network by it, where there is no pasta",
    "criu": "checkpoints need it, which this version does not make yet",
}


def probe_program(name: str) -> Finding:
    """Let a program say its version: it is there, and it starts."""
    how = f"{name} --version"
    path = find(name)
    if not path:
        # What serves nobody yet is not to be asked for.
        state = "n/a" if name == "criu" else "warn"
        cause = Cause(why=_FOR[name], cure=install(name))
        return Finding(
            name=name, state="n/a" if state == "n/a" else "warn", found="not installed", cause=cause, how=how
        )
    said = run([path, "--version"])
    first = said.words.splitlines()[0] if said.words else ""
    if said.status != 0:
        # A new copy helps where this one is damaged, not where it is kept from running.
        damaged = not said.late and said.number in (0, errno.ENOEXEC, errno.ENOENT) and said.status > 0
        cause = lack(said.number) or Cause(why=_FOR[name], cure=install(name, again=True) if damaged else "")
        return refused(name, f"{path} does not start: {first or said.end}", cause, how=how, needed=False)
    return Finding(name=name, state="ok", found=f"{path}, {first}", how=how)


def probe_networks() -> list[Finding]:
    """Look for the programs that give a network without root; one of them is enough."""
    pasta, slirp = probe_program("pasta"), probe_program("slirp4netns")
    if pasta.state == "ok" and slirp.state != "ok":
        slirp = Finding(name=slirp.name, state="n/a", found=f"{slirp.found}; pasta does its work", how=slirp.how)
    return [pasta, slirp, probe_tun()]


def probe_tun() -> Finding:
    """Open the device by which both make a network interface."""
    how = f"open({_TUN})"
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        found = f"cannot be opened: {error.strerror}"
        return refused(_TUN, found, why_no_tun(error.errno or errno.EIO), how=how, needed=False)
    return Finding(name=_TUN, state="ok", found="opened", how=how)


def why_no_tun(number: int) -> Cause:
    """Return why the device cannot be opened."""
    # Root of a user namespace that we know nothing of may be at hand.
    outside = allow(_TUN, podman=f"--device {_TUN}") if around() != "container" else ""
    if number in (errno.EACCES, errno.EPERM):
        try:
            mode = os.stat(_TUN).st_mode & 0o777
        except OSError as error:
            return Cause(why=f"{os.path.dirname(_TUN)} is closed to you: {error.strerror}", cure=outside)
        if mode & 0o006 != 0o006:
            return Cause(
                why=f"its mode is {mode:04o}; udev makes it 0666", cure=outside or as_root(f"chmod 0666 {_TUN}")
            )
        return Cause(why="devices are forbidden to us", cure=outside)
    if number == errno.ENOENT:
        make = f"sh -c 'mkdir -p {os.path.dirname(_TUN)} && mknod -m 0666 {_TUN} c 10 200'"
        cure = outside or as_root("modprobe tun" if not os.path.isdir("/sys/class/misc/tun") else make)
        return Cause(why="there is no such device", cure=cure)
    if number in (errno.ENXIO, errno.ENODEV):
        return Cause(why="the kernel has no driver for it loaded", cure=outside or as_root("modprobe tun"))
    return UNKNOWN
