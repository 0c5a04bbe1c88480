"""On which block device a path lies: what is limited of input and output is limited of a whole device."""

from __future__ import annotations

import os
import stat

from sandbox.errors import HostError
from sandbox.kernel.paths import follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.inputs import Inputs


def whole_device(path: str, inputs: Inputs) -> tuple[int, int]:
    """Return major and minor number of the disk that `path` is, is a partition of, or lies on.

    Raises HostError where that is none: a file system in memory, of the network, or of several disks.
    """
    try:
        real, _ = follow(path, inputs)
        status = os.stat(real)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint="name a path or a device of this machine") from error
    if stat.S_ISBLK(status.st_mode):
        return _whole(status.st_rdev)
    number = status.st_dev
    if os.major(number) == 0:  # the file system's own, and no device's
        number = _mounted(real)
    if not number:
        raise HostError(f"{path} lies on no block device", hint="name the device: findmnt --target PATH; lsblk")
    return _whole(number)


def _whole(number: int) -> tuple[int, int]:
    """Return the disk that a partition is of; what is no partition is whole."""
    directory = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if os.path.exists(f"{directory}/partition"):
        try:
            with open(f"{directory}/../dev") as file:
                major, _, minor = file.read().strip().partition(":")
            return int(major), int(minor)
        except (OSError, ValueError):
            pass  # a /sys that shows a part: the kernel will say what it thinks of the partition
    return os.major(number), os.minor(number)


def _mounted(path: str) -> int:
    """Return the number of the device that is mounted where `path` lies, as of btrfs; 0 where none is."""
    best, source = "", ""
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            place = fields.split(" ")[4].replace("\\040", " ")
            if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= len(best):
                best, source = place, rest.split(" ")[1]
    try:
        status = os.stat(source) if source.startswith("/") else None
    except OSError:
        return 0
    return status.st_rdev if status is not None and stat.S_ISBLK(status.st_mode) else 0
