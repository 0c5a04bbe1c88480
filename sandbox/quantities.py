"""How sizes, shares, lengths of time and moments are written for people, and moments for programs.

In one place, so that a number looks the same in a table, a message and a report.
"""

from __future__ import annotations

import time

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MOMENT = "%Y-%m-%dT%H:%M:%S"
UNKNOWN = "-"
"""What stands for a number that nobody knows."""


def size(count: int) -> str:
    """Return bytes in the largest unit of which there is one: 512 MiB, 1.5 GiB; three digits are enough."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_SIZES) - 1:
        value /= 1024
        unit += 1
    if unit == 0 or value.is_integer() or value >= 100:
        return f"{value:.0f} {_SIZES[unit]}"
    return f"{value:.{1 if value >= 10 else 2}f}".rstrip("0").rstrip(".") + f" {_SIZES[unit]}"


def percent(value: float) -> str:
    """Return per cent, with a digit behind the point where that says something."""
    return f"{value:.0f}%" if value >= 99.95 else f"{value:.1f}%"


def span(length: float) -> str:
    """Return a length of time, in seconds, in its two largest units: 3h 20m."""
    left = max(0, int(length))
    parts: list[str] = []
    for unit, seconds in _SPANS:
        if left >= seconds or (unit == "s" and not parts):
            parts.append(f"{left // seconds}{unit}")
            left %= seconds
    return " ".join(parts[:2])


def length(text: str) -> float | None:
    """Return a length of time as it is given, 90s, 500ms, 1.5h, a bare number, in seconds; None for what is none."""
    number = text.strip().rstrip("smhd")
    unit = text.strip()[len(number) :]
    number = number.strip()
    if unit not in _UNITS or not number.isascii() or not number.replace(".", "", 1).isdigit():
        return None
    return float(number) * _UNITS[unit] if number[0] != "." and number[-1] != "." else None


def stopwatch(length: float) -> str:
    """Return time that was used, in seconds, as top(1) does: 1:02.50, 2:03:04."""
    hundredths = round(length * 100)
    minutes, rest = divmod(hundredths, 6000)
    if minutes < 60:
        return f"{minutes}:{rest // 100:02d}.{rest % 100:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 100:02d}"


def moment(nanoseconds: int) -> str:
    """Return a time since the epoch as RFC 3339 has it, in UTC, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime(_MOMENT, time.gmtime(seconds))}.{rest // 1000:06d}Z"


def seconds_of(text: str) -> float:
    """Return a time of RFC 3339, in UTC, in seconds since the epoch; 0 for what is none."""
    from calendar import timegm  # late: hardly anybody reads one

    try:
        whole = float(timegm(time.strptime(text[:19], _MOMENT)))
    except ValueError:
        return 0.0
    fraction = text[19:].rstrip("Z")
    return whole + (float(fraction) if fraction[:1] == "." and fraction[1:].isdigit() else 0.0)
