"""Sizes, shares and times, as they are written."""

from __future__ import annotations

import pytest

from sandbox.quantities import moment, percent, seconds_of, size, span, stopwatch


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (512 << 20, "512 MiB"),
        (11 << 19, "5.5 MiB"),
        (1300 << 20, "1.27 GiB"),
        (123456789, "118 MiB"),
        (2**64 - 1, "16 EiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_lengths_of_time() -> None:
    assert [span(n) for n in (-1, 0, 59, 60, 61, 3600, 90061, 86400)] == [
        "0s", "0s", "59s", "1m", "1m 1s", "1h", "1d 1h", "1d",
    ]  # fmt: skip
    assert [stopwatch(n) for n in (0, 1.5, 59.999, 61.25, 3600, 7384.5)] == [
        "0:00.00", "0:01.50", "1:00.00", "1:01.25", "1:00:00", "2:03:04",
    ]  # fmt: skip


def test_shares() -> None:
    assert [percent(n) for n in (0, 0.04, 12.34, 99.94, 99.96, 100, 213.7)] == [
        "0.0%", "0.0%", "12.3%", "99.9%", "100%", "100%", "214%",
    ]  # fmt: skip


def test_moments_are_read_as_they_are_written() -> None:
    assert moment(0) == "1970-01-01T00:00:00.000000Z"
    assert moment(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert seconds_of("2023-11-14T22:13:20.5Z") == 1_700_000_000.5
    assert seconds_of("2023-11-14T22:13:20Z") == 1_700_000_000
    assert seconds_of("yesterday") == 0
