"""subuid(5), subgid(5), passwd(5), and maps made from them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import HostError
from sandbox.kernel.ids import Account, Range, account, parse, subordinate
from sandbox.kernel.probe.ids import give
from sandbox.plan.inputs import InputKind, Inputs
from sandbox.profile.identity import fill


class Files(Inputs):
    """An eye that sees these files and no others."""

    def __init__(self, **files: str) -> None:
        super().__init__()
        self.files = {f"/etc/{name}": text for name, text in files.items()}

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path].encode()


def test_ranges_are_found_by_name_and_by_number_in_the_order_of_the_file():
    files = Files(subuid="# c\nann:100000:65536\n\nbob:1:2\n1000:300000:10\nann:500000:5\n")

    assert subordinate("uid", 1000, "ann", files) == [Range(100000, 65536), Range(300000, 10), Range(500000, 5)]


def test_a_subgid_line_names_the_user():
    files = Files(subgid="ann:7:1\nstaff:9:1\n")

    assert subordinate("gid", 1000, "ann", files) == [Range(7, 1)]


@pytest.mark.parametrize("files", [{}, {"subuid": ""}, {"subuid": "bob:100000:65536\n"}])
def test_who_has_no_range_learns_the_command_that_gives_one(files):
    with pytest.raises(HostError, match=r"^/etc/subuid: gives no uids to ann") as caught:
        subordinate("uid", 1000, "ann", Files(**files))
    assert caught.value.hint == give("uid", "ann")


@pytest.mark.parametrize(
    "line",
    [
        "ann",
        "ann:1",
        "ann:1:2:3",
        ":1:2",
        "ann:+1:2",
        "ann: 1:2",
        "ann:1_0:2",
        "ann:0x10:2",
        "ann:-1:2",
        "ann:٣:2",
        "ann:1:",
        "ann:1:0",
        "ann:4294967295:1",
        "ann:1:4294967295",
        "ann:99999999999:1",
    ],
)
def test_a_line_that_is_not_understood_is_refused_with_its_number(line):
    with pytest.raises(HostError, match=r"^/etc/subuid:2: ") as caught:
        subordinate("uid", 1000, "ann", Files(subuid=f"bob:1:1\n{line}\n"))
    assert caught.value.hint


def test_the_last_id_that_exists_may_be_given():
    assert parse("f", b"ann:4294967294:1") == [("ann", Range(4294967294, 1))]


def test_the_absence_of_the_file_is_written_down(tmp_path):
    inputs = Inputs()
    with pytest.raises(FileNotFoundError):
        inputs.read(str(tmp_path / "none"))
    assert (InputKind.ABSENT, str(tmp_path / "none")) in inputs.seen


def test_an_account_is_found_by_its_number():
    assert account(7, Files(passwd="x:x:77:7::/x:/x\nann:x:7:7:A,,:/home/ann:/bin/sh\n")) == Account("ann", "/home/ann")


def test_nobody_has_this_number():
    assert account(2**31 - 7, Files(passwd="broken\n")) is None


@given(
    st.integers(0, 70000),
    st.lists(st.tuples(st.integers(2**20, 2**30), st.integers(1, 70000)), max_size=4),
)
def test_a_map_gives_every_id_inside_once(inside, ranges):
    entries = fill(1000, inside, [Range(*entry) for entry in ranges])

    ids = sorted((entry.container_id, entry.size, entry.host_id) for entry in entries)
    assert sum(size for _, size, _ in ids) == 1 + sum(size for _, size in ranges)
    assert (inside, 1, 1000) in ids
    assert all(first + size <= second for (first, size, _), (second, _, _) in itertools.pairwise(ids))
    others = [entry for entry in ids if entry[2] != 1000]
    assert not others or others[0][0] == (0 if inside else 1)
