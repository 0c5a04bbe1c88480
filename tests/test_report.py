"""The report says what was asked, what was in force, and how it went; and nothing inside can lead it astray."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from conftest import Sandbox
from needs import needs

from sandbox.runtime.report import Report

pytestmark = needs("userns")

MIB = 1 << 20


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return where a report may be: nothing inside sees it."""
    return tmp_path / "report.json"


def read(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report, strict=True)


def setting(report: Report, name: str) -> tuple[str, str, bool, str]:
    (found,) = (entry for entry in report.settings if entry.name == name)
    return found.asked, found.origin, found.enforced, found.why


@pytest.mark.parametrize("init", ["--init", "--no-init"])
@pytest.mark.parametrize("start", ["cold", "kept"])
def test_a_report(sandbox: Sandbox, tmp_path: Path, out: Path, start: str, init: str) -> None:
    options = ("run", "--name", "job", init, "--report", out)
    if start == "kept":
        sandbox(*options, "true", check=True)
        out.unlink()
        # A launcher without a Python beside it can run a kept plan, and nothing else.
        sandbox.binary = Path(shutil.copy(sandbox.binary, tmp_path / "sandbox"))
    before = datetime.now(UTC)
    result = sandbox(*options, "sh", "-c", "sleep 0.5; exit 3")
    report = read(out)

    assert (result.returncode, result.stderr) == (3, "")
    assert report.command == ["sh", "-c", "sleep 0.5; exit 3"]
    assert (report.schema, report.id, report.profiles, report.cwd) == (1, "job", ["build"], str(sandbox.cwd))
    assert (report.exit.status, report.exit.code, report.exit.signal, report.exit.timed_out) == (3, 3, None, False)
    assert report.started
    started, ended = (datetime.fromisoformat(text) for text in (report.started, report.ended))
    assert before <= started < ended <= datetime.now(UTC)
    assert 0.3 <= report.usage.wall < 20  # by the time at which the monitor hears of the start
    assert report.usage.wall == pytest.approx((ended - started).total_seconds(), abs=0.001)
    assert report.error is None
    assert setting(report, "process.init")[0] == ("true" if init == "--init" else "false")


def test_what_everything_inside_used(sandbox: Sandbox, project: Path, out: Path) -> None:
    """A grandchild's memory and time, an orphan's too that process 1 has reaped."""
    burn = "import time\nx = b'x' * (100 << 20)\nwhile time.process_time() < 0.5: pass\nopen('done', 'w')\n"
    (project / "burn.py").write_text(burn)
    script = "(/usr/bin/python3 burn.py &); while [ ! -e done ]; do sleep 0.05; done; sleep 0.2"
    sandbox("run", "--report", out, "sh", "-c", script, check=True)
    usage = read(out).usage

    assert usage.user + usage.system >= 0.5
    assert usage.wall >= 0.5
    assert 100 * MIB < usage.largest_resident < 200 * MIB


@pytest.mark.parametrize(
    "script, status, code, number", [("kill -TERM $$", 143, None, 15), ("exit 143", 143, 143, None)]
)
def test_a_signal_is_no_status(
    sandbox: Sandbox, out: Path, script: str, status: int, code: int | None, number: int | None
) -> None:
    assert sandbox("run", "--report", out, "sh", "-c", script).returncode == status
    end = read(out).exit

    assert (end.status, end.code, end.signal) == (status, code, number)


def test_the_time_limit(sandbox: Sandbox, out: Path) -> None:
    options = ("--timeout", "300ms", "--timeout-grace", "0")
    assert sandbox("run", "--report", out, *options, "sh", "-c", "trap '' TERM; sleep 30").returncode == 124
    report = read(out)

    assert (report.exit.status, report.exit.signal, report.exit.timed_out) == (124, signal.SIGKILL, True)
    assert setting(report, "limits.timeout") == ("0.3", "--timeout 300ms", True, "")


WORDS = [
    *(b'"', b"\\", b'"],"exit":{"status":0},"x":["', b"\n\r\t\b\f\x01\x1f\x7f", b"</script>", b"\\u0041", b""),
    *("ä€😀\u2028\u00a0".encode(), "\U0010ffff\ufffd\ud7ff\ue000".encode()),
    b"a" * 4095 + "😀".encode() + b'"' * 5000,
]
BROKEN = [
    *(
        b"\xff",
        b"\x80",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
    ),
    *(
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xfe",
        b"\xe2\x82",
        b"\xe2\x28\xa1",
    ),
    *(b"\xf0\x9f\x98", b"a\xc3", b"\xc3(", b"\xe2\x82\xe2\x82\xac"),
]


def replaced(word: bytes) -> str:
    """Each byte that belongs to no character is one of its own."""
    text = ""
    while word:
        for length in (1, 2, 3, 4):
            try:
                text += word[:length].decode()
            except UnicodeDecodeError:
                continue
            word = word[length:]
            break
        else:
            text, word = text + "\ufffd", word[1:]
    return text


@pytest.mark.parametrize("start", ["cold", "kept"])
def test_the_words_of_the_command_are_never_more_than_words(sandbox: Sandbox, out: Path, start: str) -> None:
    if start == "kept":
        sandbox("run", "--report", out, "true", check=True)
    words = [b"true", *WORDS, *BROKEN]
    subprocess.run(
        [os.fsencode(sandbox.binary), b"run", b"--report", os.fsencode(out), *words],
        env=sandbox.environment,
        cwd=sandbox.cwd,
        check=True,
    )

    assert read(out).command == [replaced(word) for word in words]


def test_a_command_that_is_not_there(sandbox: Sandbox, out: Path) -> None:
    result = sandbox("run", "--report", out, "nosuchcommand")
    report = read(out)

    assert (result.returncode, report.exit.status, report.exit.code, report.started) == (127, 127, None, None)
    assert report.error
    assert report.error.message in result.stderr
    assert setting(report, "network.mode")[0] == "none"


def test_a_profile_that_cannot_be(sandbox: Sandbox, out: Path) -> None:
    result = sandbox("run", "--report", out, "--read", "/nosuch", "true")
    report = read(out)

    assert (result.returncode, report.exit.status) == (125, 125)
    assert report.error
    assert f"sandbox: {report.error.message}\n  hint: {report.error.hint}\n" == result.stderr


@pytest.mark.parametrize("mask", [0o022, 0o000, 0o077])
def test_it_is_the_callers_alone_and_leaves_nothing_beside_it(sandbox: Sandbox, out: Path, mask: int) -> None:
    sandbox.popen("run", "--report", out, "true", umask=mask).wait(20)

    assert stat.S_IMODE(out.stat().st_mode) == 0o600 & ~mask
    assert [path.name for path in out.parent.iterdir() if "report" in path.name] == ["report.json"]


def test_it_takes_the_place_of_the_one_before_whole(sandbox: Sandbox, out: Path) -> None:
    out.write_text("x" * 100_000)
    other = os.open(out, os.O_RDONLY)
    sandbox("run", "--report", out, "true", check=True)

    assert read(out).command == ["true"]
    assert os.pread(other, 10, 0) == b"x" * 10  # who reads the old one reads the old one
    os.close(other)


# --- the place ---


@pytest.mark.parametrize("kind", ["device", "directory", "symlink", "fifo", "absent", "closed", "slash", "dash"])
def test_a_place_that_cannot_be_is_refused_before_anything_runs(sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if kind == "directory":
        place.mkdir()
    elif kind == "symlink":
        place.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "closed":
        (tmp_path / "closed").mkdir(mode=0o500)
    name = {
        "device": "/dev/null",
        "absent": f"{place}/x/y",
        "closed": f"{tmp_path}/closed/x",
        "slash": "/",
        "dash": "-",
    }
    result = sandbox("run", f"--report={name.get(kind, place)}", "touch", "ran")

    assert result.returncode == 125
    assert result.stderr.startswith("sandbox: --report")
    assert "report" in result.stderr
    assert ("\n  cause: it is a symlink" in result.stderr) == (kind == "symlink")
    assert not (sandbox.cwd / "ran").exists()
    assert victim.read_text() == "precious"


def test_no_file_is_called_like_a_stream(sandbox: Sandbox, project: Path) -> None:
    done = sandbox("run", "--report", "-", "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith("sandbox: --report -: a report goes into a file\n")
    assert not (project / "-").exists()


def test_of_two_files_none_is_passed_over(sandbox: Sandbox, project: Path) -> None:
    done = sandbox("run", "--report", "../a.json", "--report", "../b.json", "--", "touch", "ran")
    assert done.returncode == 125
    assert done.stderr.startswith("sandbox: --report: one file and one page are written, and no more\n")
    assert not (project / "ran").exists()


def test_a_symlink_that_was_put_in_its_place_is_not_followed(sandbox: Sandbox, project: Path, home: Path) -> None:
    victim = home / ".profile"
    victim.write_text("precious")
    sandbox("run", "--report", "r.json", "ln", "-s", victim, "r.json", check=True)

    assert victim.read_text() == "precious"
    assert not (project / "r.json").is_symlink()
    assert read(project / "r.json").command[0] == "ln"


@pytest.mark.parametrize("end", ["", "; kill -KILL $$", "; exec nosuchcommand"])
def test_a_directory_that_was_moved_takes_the_report_with_it(
    sandbox: Sandbox, project: Path, home: Path, end: str
) -> None:
    """What lies where it was is somebody else's."""
    (project / "out").mkdir()
    victim = home / "other"
    victim.mkdir()
    sandbox("run", "--report", "out/r.json", "sh", "-c", f"mv out moved; ln -s {victim} out{end}")

    assert list(victim.iterdir()) == []
    assert read(project / "moved/r.json").command[0] == "sh"


@pytest.mark.parametrize(
    "script, why",
    [
        ("mkdir r.json", "Is a directory"),
        ("cd ..; rm -rf out", "No such file or directory"),
        ("chmod 500 .", "Permission denied"),
    ],
)
def test_a_report_that_cannot_be_written_is_said(sandbox: Sandbox, project: Path, script: str, why: str) -> None:
    """The exit status is the command's all the same."""
    (project / "out").mkdir()
    place = project / "out/r.json"
    result = sandbox("run", "--report", "out/r.json", "sh", "-c", f"cd out; {script}; exit 3")

    assert result.returncode == 3
    assert result.stderr == f"sandbox: the report cannot be written to {place}: {why}\n"
    if (project / "out").exists():
        (project / "out").chmod(0o700)
        assert not [path for path in (project / "out").iterdir() if path.name.startswith(".sandbox")]


def test_a_disk_that_is_full(sandbox: Sandbox, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = f"mount -t tmpfs -o size=4k none {full} && echo x > {full}/filler"
    script = f"{mount} && {sandbox.binary} run --report {full}/r.json true; echo $?; ls -A {full}"
    result = subprocess.run(
        ["unshare", "-Ur", "-m", "sh", "-c", script],
        env=sandbox.environment,
        cwd=sandbox.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr == f"sandbox: the report cannot be written to {full}/r.json: No space left on device\n"
    assert result.stdout == "0\nfiller\n"


def test_who_is_killed_leaves_the_report_before_as_it_was(sandbox: Sandbox, out: Path) -> None:
    out.write_text("old")
    process = sandbox.popen("run", "--report", out, "sh", "-c", "echo up; sleep 30")
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait(20)
    time.sleep(0.2)
    sandbox("run", "true", check=True)  # what the killed one has left is removed by the next

    assert out.read_text() == "old"
