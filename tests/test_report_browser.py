"""A page in a browser without a network: it asks for nothing, and what is drawn is looked at by its pixels."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from collections import Counter
from pathlib import Path

import pytest
from needs import needs
from report_world import HOSTILE, Outline, full

from sandbox.cli.page import page

PAPER, FIRST = (
    {"light": (255, 255, 255), "dark": (0x14, 0x17, 0x1A)},
    {
        "light": (0x1F, 0x6F, 0xC4),
        "dark": (0x6C, 0xB2, 0xFF),
    },
)


# --- in a browser ---


def browse(path: Path, *options: str, dark: bool = False) -> subprocess.CompletedProcess[str]:
    """Load a page in a browser that has no network."""
    return subprocess.run(
        [
            *("unshare", "--user", "--map-current-user", "--net", "--"),
            *(
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--enable-logging=stderr",
            ),
            *(f"--user-data-dir={path.parent}/browser", f"--log-net-log={path.parent}/net.json"),
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            *options,
            f"file://{path}",
        ],
        env={"HOME": str(path.parent), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def requests(path: Path) -> set[str]:
    """Return what was asked for by a page, and not by the browser for itself."""
    parameters = [event.get("params", {}) for event in json.loads(path.read_text())["events"]]
    return {entry["url"] for entry in parameters if entry.get("initiator", "not an origin") != "not an origin"}


def pixels(path: Path) -> tuple[tuple[int, ...], Counter[tuple[int, ...]]]:
    """Return the first pixel of a PNG and how many there are of each; RFC 2083."""
    content = path.read_bytes()
    width, _, depth, kind = struct.unpack(">IIBB", content[16:26])
    size = {2: 3, 6: 4}[kind]
    assert depth == 8
    packed, at = b"", 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + length]
        at += length + 12
    rows, stride = zlib.decompress(packed), width * size
    above = bytearray(stride)
    found: Counter[tuple[int, ...]] = Counter()
    first: tuple[int, ...] = ()
    for start in range(0, len(rows), stride + 1):
        row = bytearray(rows[start + 1 : start + 1 + stride])
        _unfilter(rows[start], row, above, size)
        found.update(zip(*(row[channel::size] for channel in range(3)), strict=True))
        first = first or tuple(row[:3])
        above = row
    return first, found


def _unfilter(kind: int, row: bytearray, above: bytearray, size: int) -> None:
    for index in range(len(row) if kind else 0):
        left = row[index - size] if index >= size else 0
        corner = above[index - size] if index >= size else 0
        up = above[index]
        if kind == 4:
            guess = left + up - corner
            predicted = min((left, up, corner), key=lambda value: abs(guess - value))
        else:
            predicted = {1: left, 2: up, 3: (left + up) // 2}[kind]
        row[index] = (row[index] + predicted) & 0xFF


@needs("chromium", "userns")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser_without_a_network(tmp_path: Path, scheme: str, width: int) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "page.png"
    path.write_text(page(full(HOSTILE)))
    result = browse(path, f"--window-size={width},1400", f"--screenshot={picture}", dark=scheme == "dark")

    assert picture.exists(), result.stderr
    assert "CONSOLE" not in result.stderr, result.stderr
    first, found = pixels(picture)
    assert first == PAPER[scheme]
    assert found[FIRST[scheme]] > 500  # the lines of the plots
    assert not requests(tmp_path / "net.json")


@needs("chromium", "userns")
def test_what_a_page_asks_for_is_seen(tmp_path: Path) -> None:
    """Or the test above would say nothing."""
    path = tmp_path / "page.html"
    path.write_text('<!DOCTYPE html><img src="http://example.invalid/x.png">')
    browse(path, "--dump-dom")

    assert requests(tmp_path / "net.json") == {"http://example.invalid/x.png"}


@needs("chromium", "userns")
def test_a_browser_finds_the_plots_and_no_markup_of_a_strangers(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(full(HOSTILE)))
    outline = Outline(browse(path, "--dump-dom").stdout)
    tags = Counter(tag for tag, _ in outline.elements)

    assert tags["figure"] == tags["svg"] == 4
    assert tags["path"] > 20
    assert not tags["img"]
    assert not tags["b"]
