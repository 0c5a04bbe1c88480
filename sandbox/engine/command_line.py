"""What was asked of `sandbox-oci`: the arguments, read by the rules of runc.

Those are the rules of Go's package flag and of urfave/cli, and no others' (argparse bundles short
options, abbreviates long ones, refuses values that begin with a dash, and takes 7 ms to import):

- `-bundle`, `--bundle`, `--bundle=…` and `-b` are one; nothing is bundled or abbreviated;
- an option that takes a value takes the next word, whatever it is; a flag takes one by `=` alone;
- the first word that is no option ends them for `exec` and `ps`; for the others known options may follow.

On the start path, as `compile.py` needs the same answers.
"""

from __future__ import annotations

from sandbox.engine.options import DURATION, FLAG, GLOBAL, NUMBER, NUMBERS, VERBS, Option, Verb
from sandbox.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Value = bool | str | int | float | list[str] | list[int]
    Values = dict[str, Value]

HELP = ("h", "help")
VERSION = ("v", "version")

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_LARGEST = 2**63 - 1


class CommandLine:
    """A verb, the options of all verbs (`settings`), its own (`values`), and its arguments.

    The keys are `Option.field`; what was not given is absent.
    """

    __slots__ = ("operands", "settings", "values", "verb")

    def __init__(self, verb: Verb, settings: Values, values: Values, operands: list[str]) -> None:
        self.verb = verb
        self.settings = settings
        self.values = values
        self.operands = operands

    def text(self, field: str) -> str:
        """Return the text given by an option of the verb, "" without it."""
        return _text(self.values, field)

    def setting(self, field: str) -> str:
        """Return the text given by an option of all verbs, "" without it."""
        return _text(self.settings, field)

    def flag(self, field: str) -> bool:
        """Was the flag given?"""
        return self.values.get(field) is True

    def number(self, field: str) -> int:
        """Return the number given, 0 without it."""
        value = self.values.get(field, 0)
        assert isinstance(value, int)
        return value

    def texts(self, field: str) -> list[str]:
        """Return what a repeatable option was given, in order."""
        value = self.values.get(field, [])
        assert isinstance(value, list)
        return [str(item) for item in value]

    def numbers(self, field: str) -> list[int]:
        """Return the numbers that a repeatable option was given, in order."""
        value = self.values.get(field, [])
        assert isinstance(value, list)
        return [int(item) for item in value]


class GlobalPart:
    """The command line up to the verb."""

    __slots__ = ("help", "rest", "settings", "version")

    def __init__(self) -> None:
        self.settings: Values = {}
        self.rest: list[str] = []  # the verb and what follows
        self.help = False
        self.version = False


class WrongUsage(UsageError):  # noqa: N818 (it is one of those)
    """The command line is not understood: `verb` knows no better, or None where no verb was reached."""

    exit_code = 1

    def __init__(self, message: str, *, verb: Verb | None = None, count: bool = False) -> None:
        super().__init__(message)
        self.verb = verb
        self.count = count  # the options are right, the number of arguments is not


class HelpWanted(Exception):  # noqa: N818 (no error)
    """The help of `verb` was asked for."""

    def __init__(self, verb: Verb) -> None:
        super().__init__(verb.name)
        self.verb = verb


def parse(arguments: Sequence[str], program: str = "sandbox-oci") -> CommandLine:
    """Read a whole command line that is meant to be right.  Raises WrongUsage, HelpWanted."""
    part = parse_global(arguments)
    if not part.rest or part.rest[0] not in VERBS:
        raise WrongUsage(f"No help topic for '{part.rest[0] if part.rest else ''}'")
    return parse_verb(VERBS[part.rest[0]], part.rest[1:], part.settings, program)


def parse_global(arguments: Sequence[str]) -> GlobalPart:
    """Read what stands before the verb.  Raises WrongUsage."""
    part = GlobalPart()
    found, part.settings, part.rest = _read(arguments, GLOBAL, (*HELP, *VERSION), interspersed=False, verb=None)
    part.help = any(name in HELP for name in found)
    part.version = any(name in VERSION for name in found)
    return part


def parse_verb(verb: Verb, arguments: Sequence[str], settings: Values, program: str) -> CommandLine:
    """Read what stands behind the verb.  Raises WrongUsage, HelpWanted."""
    found, values, operands = _read(arguments, verb.options, HELP, interspersed=verb.interspersed, verb=verb)
    if found:
        raise HelpWanted(verb)
    count = len(operands)
    if count < verb.least or (verb.most is not None and count > verb.most):
        if verb.least == verb.most:
            wanted = f"exactly {verb.least}"
        elif count < verb.least:
            wanted = f"a minimum of {verb.least}"
        else:
            wanted = f"a maximum of {verb.most}"
        raise WrongUsage(f'{program}: "{verb.name}" requires {wanted} argument(s)', verb=verb, count=True)
    return CommandLine(verb, settings, values, operands)


def plain(line: CommandLine) -> list[str]:
    """Return the one spelling of a command line that nsinit takes: `--name value`, options before arguments."""
    words = list(_spell(line.settings, GLOBAL))
    words.append(line.verb.name)
    words += _spell(line.values, line.verb.options)
    return [*words, *line.operands]


def _spell(values: Values, options: Iterable[Option]) -> Iterable[str]:
    for option in options:
        if option.field not in values:
            continue
        value = values[option.field]
        if option.kind == FLAG:
            if value:
                yield f"--{option.long}"
            continue
        for item in value if isinstance(value, list) else [value]:
            yield f"--{option.long}"
            yield f"{item}s" if option.kind == DURATION else str(item)


def _read(
    arguments: Sequence[str],
    options: Iterable[Option],
    extra: Sequence[str],
    *,
    interspersed: bool,
    verb: Verb | None,
) -> tuple[list[str], Values, list[str]]:
    """Return which of the flags `extra` were given, the values of `options`, and the words that are neither."""
    spelled = {name: option for option in options for name in (option.long, option.short) if name}
    found: list[str] = []
    values: Values = {}
    names: dict[str, str] = {}  # the spelling by which an option was given
    operands: list[str] = []
    waiting = list(arguments)
    waiting.reverse()
    while waiting:
        word = waiting.pop()
        if word == "--":
            if operands:
                operands.append(word)
            break
        if len(word) < 2 or word[0] != "-":
            operands.append(word)
            if not interspersed:
                break
            continue
        name, given, value = word[2 if word.startswith("--") else 1 :].partition("=")
        option = spelled.get(name)
        if option is None and name not in extra:
            if operands:
                operands.append(word)
                continue
            if not name or name[0] in "-=":
                raise WrongUsage(f"bad flag syntax: {word}", verb=verb)
            raise WrongUsage(f"flag provided but not defined: -{name}", verb=verb)
        if option is None:
            found.append(name)
            continue
        if names.setdefault(option.long, name) != name:
            raise WrongUsage(f"Cannot use two forms of the same flag: {option.short} {option.long}", verb=verb)
        if option.takes_value and not given:
            if not waiting:
                raise WrongUsage(f"flag needs an argument: -{name}", verb=verb)
            value = waiting.pop()
        _take(values, option, name, value if given or option.takes_value else "true", verb)
    waiting.reverse()
    return found, values, operands + waiting


def _take(values: Values, option: Option, name: str, value: str, verb: Verb | None) -> None:
    if option.kind == FLAG:
        if value not in _TRUE + _FALSE:
            raise WrongUsage(f"invalid boolean value {quote(value)} for -{name}: parse error", verb=verb)
        values[option.field] = value in _TRUE
        return
    wrong = f"invalid value {quote(value)} for flag -{name}: "
    if option.kind in (NUMBER, NUMBERS):
        number = parse_number(value)
        if number is None or abs(number) > _LARGEST:
            if option.kind == NUMBERS:
                wrong += f"strconv.ParseInt: parsing {quote(value)}: "
                reason = "invalid syntax" if number is None else "value out of range"
            else:
                reason = "parse error" if number is None else "value out of range"
            raise WrongUsage(wrong + reason, verb=verb)
        if option.kind == NUMBER:
            values[option.field] = number
        else:
            values[option.field] = [*values.get(option.field, ()), number]  # type: ignore[misc]
    elif option.kind == DURATION:
        seconds = parse_duration(value)
        if seconds is None:
            raise WrongUsage(wrong + "parse error", verb=verb)
        values[option.field] = seconds
    elif option.repeatable:
        values[option.field] = [*values.get(option.field, ()), value]  # type: ignore[misc]
    else:
        values[option.field] = value


def parse_number(text: str) -> int | None:
    """Read a number as Go's strconv.ParseInt(text, 0, …) does: 10, -1, 0x1f, 0o17, 017, 1_000."""
    if not text or text.strip() != text or not text.isascii():
        return None
    digits = text.lstrip("+-")
    if len(text) - len(digits) > 1:
        return None
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
        digits = "0o" + digits[1:]
    try:
        number = int(digits, 0)
    except ValueError:
        return None
    return -number if text[0] == "-" else number


def parse_duration(text: str) -> float | None:
    """Read a duration as Go's time.ParseDuration does, 1h30m, 1.5s, 100ms; in seconds."""
    rest = text.lstrip("+-")
    if len(text) - len(rest) > 1 or not rest:
        return None
    sign = -1 if text[0] == "-" else 1
    if rest == "0":
        return 0.0
    total = 0.0
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsuµμn"))]
        rest = rest[len(unit) :]
        if digits in ("", ".") or digits.count(".") > 1 or unit not in _UNITS:
            return None
        total += float(digits) * _UNITS[unit]
    return sign * total


def quote(text: str) -> str:
    """Return `text` as Go's %q writes it: quoted, with escapes, in one line."""
    parts = ['"']
    for character in text:
        code = ord(character)
        if character in _ESCAPES:
            parts.append(_ESCAPES[character])
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (surrogateescape)
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif character.isprintable():
            parts.append(character)
        elif code < 0x80:
            parts.append(f"\\x{code:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    parts.append('"')
    return "".join(parts)


_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"
}  # fmt: skip


def _text(values: Values, field: str) -> str:
    value = values.get(field, "")
    assert isinstance(value, str)
    return value
