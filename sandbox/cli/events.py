"""`sandbox events`: what happens to a sandbox until it ends, as lines of JSON."""

from __future__ import annotations

import sys
from json import dumps

from sandbox.cli.each import container, ended
from sandbox.cli.stats import interval_of
from sandbox.cli.verb_line import Values
from sandbox.errors import NoSuchContainer, UsageError, WrongStatus, say_notes
from sandbox.runtime.state import state_root
from sandbox.runtime.watching import watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

INTERVAL = 5.0  # as of sandbox-oci, and runc


def events(values: Values, operands: Sequence[str]) -> int:
    """Print them; with --stats once what it uses."""
    if len(operands) != 1:
        raise UsageError("exactly one sandbox has to be given", where="events", hint="sandbox events ID")
    interval = interval_of(values.get("interval"), "events", INTERVAL)
    found = container(state_root(), operands[0])
    try:
        if values.get("stats"):
            _say({"type": "stats", **found.usage().document()})
            return 0
        for event in watch(found, interval, lambda message: say_notes((message,))):
            _say(event)
    except (NoSuchContainer, WrongStatus) as error:
        raise ended(found.id) from error
    except KeyboardInterrupt:
        return 0
    return 0


def _say(event: dict[str, object]) -> None:
    print(dumps(event))
    sys.stdout.flush()
