"""What to say to whom."""

from __future__ import annotations


def greeting(name: str = "") -> str:
    """Return a greeting for `name`, or for the world."""
    return f"Hello, {name.strip() or 'world'}!"
