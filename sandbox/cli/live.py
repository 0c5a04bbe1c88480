"""A picture on the terminal that is drawn anew again and again, until one has seen enough."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty

from rich.console import Console
from rich.live import Live

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType


def show(draw: Callable[[Console], RenderableType | None], interval: float) -> None:
    """Show what `draw` returns, at once and then each `interval` seconds, until that is None, by Ctrl-C, or by q."""
    console = Console(highlight=False, markup=False, emoji=False)
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
    # In the background nobody is to be asked, and who changes the terminal is stopped.
    if keyboard >= 0 and os.tcgetpgrp(keyboard) != os.getpgrp():
        keyboard = -1
    before = termios.tcgetattr(keyboard) if keyboard >= 0 else None
    try:
        if keyboard >= 0:
            tty.setcbreak(keyboard, termios.TCSADRAIN)
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
            while (picture := draw(console)) is not None:
                live.update(picture, refresh=True)
                if _enough(keyboard, interval):
                    return
    except KeyboardInterrupt:
        return
    finally:
        if before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _enough(keyboard: int, seconds: float) -> bool:
    """Wait, and say whether q was typed meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if keyboard < 0:
            time.sleep(left)
        elif select.select([keyboard], [], [], left)[0]:
            typed = os.read(keyboard, 64)
            if b"q" in typed or b"Q" in typed or not typed:
                return True
    return False
