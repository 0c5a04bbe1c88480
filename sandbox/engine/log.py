"""The log of `sandbox-oci`, in the formats of runc (that is, of logrus).

    text                time="2026-11-25T10:25:57Z" level=error msg="container does not exist"
    text, on a terminal ERRO[0000] container does not exist
    json                {"level":"error","msg":"container does not exist","time":"2026-11-25T10:25:57Z"}

With `--log` it goes to that file, and the bare message of a failure to stderr besides.  A hint, where
there is one, is a further field.  On the start path of a failure: nothing heavy is imported.
"""

from __future__ import annotations

import os
import time

from sandbox.engine.command_line import quote
from sandbox.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.errors import SandboxError

_COLOURS = {"error": 31, "warning": 33, "info": 36, "debug": 37}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")
_PAD = 44


class Log:
    """Where messages go, and how they look."""

    def __init__(self, path: str = "", form: str = "text", *, debug: bool = False, alone: bool = False) -> None:
        """Open the log.  Raises UsageError for a format that there is not, HostError if `path` cannot be written."""
        if form not in ("", "text", "json"):
            raise UsageError(f"invalid log-format: {form}")
        self._json = form == "json"
        self._debug = debug
        self._alone = alone  # a failure is not on stderr besides: the streams are the command's
        self._started = time.monotonic()
        self._file = 2
        if path:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise HostError(f"open {path}: {reason(error)}") from error

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> Log:
        """Return the log that the options of all verbs ask for.  Raises UsageError, HostError."""
        return cls(
            str(settings.get("log", "")),
            str(settings.get("log_format", "")),
            debug=settings.get("debug") is True,
            alone=settings.get("log_alone") is True,
        )

    def fail(self, error: SandboxError, prefix: str = "") -> None:
        """Log the failure that ends the program, and see that it is on stderr too."""
        message = prefix + str(error)
        hint = ": ".join(filter(None, (error.cause, error.hint)))
        self._write("error", message, hint)
        if self._file != 2 and not self._alone:
            _write(2, printable(message).rstrip("\n") + "\n")
            for line in hint.splitlines() if os.isatty(2) else ():
                _write(2, f"  hint: {printable(line)}\n")

    def warning(self, message: str) -> None:
        self._write("warning", message)

    def debug(self, message: str) -> None:
        """Log `message` if --debug was given."""
        if self._debug:
            self._write("debug", message)

    def _write(self, level: str, message: str, hint: str = "") -> None:
        if self._json:
            text = _as_json({"hint": hint, "level": level, "msg": message, "time": _now()})
        elif os.isatty(self._file):
            seconds = int(time.monotonic() - self._started)
            body = printable(message).rstrip("\n")
            text = f"\x1b[{_COLOURS[level]}m{level.upper()[:4]}\x1b[0m[{seconds:04d}] {body:<{_PAD}} "
            text += "".join(f"\n  hint: {printable(line)}" for line in hint.splitlines())
        else:
            text = f'time="{_now()}" level={level} msg={_value(message)}'
            if hint:
                text += f" hint={_value(hint)}"
        _write(self._file, text + "\n")


def reason(error: OSError) -> str:
    """Return the kernel's reason as Go words it."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _value(text: str) -> str:
    return text if text and _PLAIN.issuperset(text) else quote(text)


def _as_json(members: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{_json_text(value)}' for name, value in members.items() if value) + "}"


def _json_text(text: str) -> str:
    """Return a JSON string as Go writes it: `<`, `>` and `&` escaped."""
    parts = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            parts.append("\\" + character)
        elif character in _JSON_ESCAPES:
            parts.append(_JSON_ESCAPES[character])
        elif code < 0x20 or character in "<>&\u2028\u2029":
            parts.append(f"\\u{code:04x}")
        elif 0xD800 <= code <= 0xDFFF:  # a byte that is no UTF-8
            parts.append("\\ufffd")
        else:
            parts.append(character)
    return f'"{"".join(parts)}"'


_JSON_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """Return `text` without what a terminal would take for a command: names come from where others write."""
    return "".join(c if c.isprintable() or c == "\n" else quote(c)[1:-1] for c in text)


def _now() -> str:
    """Return the local time as RFC 3339 has it."""
    now = time.localtime()
    zone = "Z"
    if now.tm_gmtoff:
        minutes = abs(now.tm_gmtoff) // 60
        zone = f"{'+' if now.tm_gmtoff > 0 else '-'}{minutes // 60:02d}:{minutes % 60:02d}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", now) + zone


def _write(file: int, text: str) -> None:
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError:
        return  # nobody is left to be told
