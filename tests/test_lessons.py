"""What went wrong in programs of this kind, and the test here that tries the same.

The table names a test for each; what needed one of its own stands in `test_lessons_tried`.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Sandbox
from hostile_world import SHIPPED, may_write, promises, spec_of, start_directory
from needs import CHECKOUT, needs

HOSTILE = "test_hostile::test_a_hostile_program_under_a_shipped_profile"
CONTAINER = "test_hostile::test_a_hostile_program_in_a_plain_container"

# Where it happened, the rule here, and what tries it: tests, and attacks of the catalogue.
LESSONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "the runtime's own binary overwritten through /proc/self/exe: runc CVE-2019-5736",
        "the image of nsinit is never reachable for writing from inside",
        (
            "test_holds::test_our_image_cannot_be_overwritten_from_inside",
            "test_holds::test_our_image_is_read_only_even_to_a_root_inside",
            f"{HOSTILE}: init-image",
        ),
    ),
    (
        "characters pushed into the caller's terminal: bubblewrap CVE-2017-5226, CVE-2019-10063",
        "a terminal or a session of its own, and a filter that looks at 32 bits of the request",
        (
            "test_terminal::test_tiocsti_is_refused",
            "test_terminal::test_without_a_terminal_nothing_of_the_callers_can_be_read",
            "test_seccomp::test_typing_into_the_terminal_is_refused_whatever_the_high_bits",
            f"{HOSTILE}: typed-into-the-terminal terminals-of-the-host call-by-int-0x80 call-by-x32",
            "test_hostile::test_on_a_terminal",
        ),
    ),
    (
        (
            "labels, sysctls and masks written to a file that the image put there: runc CVE-2019-19921, CVE-2023-27561,"
            " CVE-2023-28642, CVE-2025-52881"
        ),
        "they are written through a procfs of our own, by descriptor",
        (
            "test_op_attacks::test_a_sysctl_is_not_written_to_the_image",
            "test_op_attacks::test_nothing_is_mounted_in_procfs_by_a_symlink",
            "test_op_attacks::test_the_kernels_file_systems_are_not_mounted_by_a_symlink",
            "test_op_process::test_nothing_of_the_process_depends_on_the_images_proc",
        ),
    ),
    (
        "a mount's target exchanged while it is mounted: runc CVE-2021-30465, bubblewrap 2026",
        "targets are resolved below the root, once, and used by descriptor",
        (
            "test_op_attacks::test_a_symlink_that_leads_out",
            "test_op_attacks::test_a_directory_that_becomes_a_symlink_on_the_way",
            "test_op_attacks::test_a_mount_point_that_becomes_a_symlink_when_it_is_made",
            "test_hostile_outside::test_a_name_that_changes_while_a_second_sandbox_starts",
        ),
    ),
    (
        "a cgroup that can be written to without root: runc CVE-2023-25809",
        "a cgroup namespace always, and /sys/fs/cgroup read-only",
        (f"{HOSTILE}: cgroups-changed cgroup-name", f"{CONTAINER}: cgroups-changed cgroup-name"),
    ),
    (
        "a descriptor left open as a way out: runc CVE-2024-21626",
        "what is open is closed, and the working directory lies inside",
        (
            "test_op_attacks::test_a_descriptor_of_ours_is_no_working_directory",
            "test_op_attacks::test_nothing_of_ours_is_open_in_the_command",
            "test_holds::test_a_directory_is_not_handed_in",
            "test_lessons_tried::test_a_container_is_handed_no_directory",
            f"{HOSTILE}: descriptor-inherited descriptor-directory-on-stdio above-the-root",
            f"{CONTAINER}: descriptor-inherited above-the-root",
        ),
    ),
    (
        "a mount point made through a symlink: runc CVE-2024-45310",
        "making a mount point never leaves the root",
        (
            "test_op_attacks::test_a_mount_point_that_becomes_a_symlink_when_it_is_made",
            "test_holds::test_a_mount_target_that_is_a_symlink_does_not_lead_outside",
        ),
    ),
    (
        "the image's /dev/null bound in the place of the host's: runc CVE-2025-31133, CVE-2025-52565, crun 2026",
        "masks and devices come from nodes of the host's that were verified",
        (
            "test_op_attacks::test_a_device_that_is_another_file_is_refused",
            "test_op_attacks::test_a_mask_is_the_hosts_null_whatever_the_image_has",
            "test_op_attacks::test_the_console_is_not_bound_by_a_symlink",
            "test_op_attacks::test_a_terminal_that_is_another_file_is_refused",
        ),
    ),
    (
        "inheritable capabilities: crun CVE-2022-27650, podman 2022",
        "the inheritable and the ambient set are empty unless asked for",
        (
            "test_lessons_tried::test_capabilities_are_not_inherited_unless_asked_for",
            "test_holds::test_no_capability_no_new_privileges_and_a_filter",
            f"{HOSTILE}: capabilities program-in-memory privileged-programs",
        ),
    ),
    (
        "a user that was guessed: crun 2026",
        "ids are parsed strictly",
        (
            "test_exec_options::test_a_user_that_is_none_is_refused_never_guessed",
            "test_run_options::test_a_user_that_is_no_number_is_never_guessed",
            "test_ids::test_a_line_that_is_not_understood_is_refused_with_its_number",
        ),
    ),
    (
        "holes in setuid programs: firejail, bubblewrap",
        "no program of ours gives rights",
        (
            "test_lessons_tried::test_no_program_of_ours_gives_rights",
            "test_holds::test_a_helper_that_is_not_the_systems_is_not_executed",
        ),
    ),
    (
        "a user's word taken for an option: Flatpak CVE-2024-32462",
        "what follows the command is the command's; nothing from inside, or beside, is an option or a variable of ours",
        (
            "test_lessons_tried::test_a_command_that_looks_like_an_option_is_a_command",
            "test_lessons_tried::test_nothing_that_lies_about_is_executed_by_us",
            "test_run::test_arguments_of_the_command_are_its_own",
        ),
    ),
    (
        "what a program could write is mounted the next time: Flatpak 2024, agents' sandboxes 2026",
        "it is hostile then: its symlinks are not followed",
        (
            "test_holds::test_a_symlink_planted_by_an_earlier_run_is_refused",
            "test_profile_filesystem::test_a_symlink_that_could_have_been_planted_is_refused",
            "test_hostile_outside::test_a_name_that_changes_while_a_second_sandbox_starts",
            "test_profile_filesystem::test_a_directory_closed_by_an_earlier_run_is_hidden_whole",
        ),
    ),
    (
        "policies, git's hooks and shells' files written from inside: agents' sandboxes 2025 and 2026",
        "profiles and state are never writable; what is protected and not there yet cannot be made, and no stub stays behind",
        (
            "test_holds::test_what_we_read_next_time_cannot_be_written",
            "test_protect::test_what_is_protected_withstands_and_nothing_stays_behind",
            "test_protect::test_the_next_start_removes_what_a_killed_monitor_left",
            "test_lessons_tried::test_an_agent_leaves_nothing_that_is_executed_later",
        ),
    ),
    (
        "no sandbox, and no word of it: agents' sandboxes 2026",
        "the command runs inside or not at all",
        (
            "test_lessons_tried::test_where_no_sandbox_can_be_made_nothing_runs",
            "test_nested::test_without_leave_there_is_no_sandbox_inside",
            "test_op_listener::test_without_a_listener_nothing_runs",
        ),
    ),
    (
        "decisions by what a pointer points to, which then changes",
        "no filter of ours asks a listener, and none looks at memory",
        (
            "test_lessons_tried::test_no_filter_of_ours_asks_anybody",
            f"{HOSTILE}: namespaces-by-flags-that-change namespaces-by-clone3 call-clone3",
        ),
    ),
    (
        "credentials of the caller's inside",
        "nothing of the environment, the home or the sockets is there unless it was named",
        (
            "test_holds::test_no_secret_is_readable",
            "test_run_options::test_without_keep_env_nothing_is_passed_in",
            f"{HOSTILE}: environment hidden-by-name hidden-by-processes keyring-of-the-caller",
        ),
    ),
    (
        "slirp4netns CVE-2020-7039 and others of libslirp",
        "what gives the network is confined, and the host's loopback is out of reach unless asked for",
        (
            "test_network_user::test_the_hosts_loopback_is_out_of_reach",
            "test_network_user::test_what_gives_the_network_sees_nothing_of_yours",
            "test_network_user::test_what_gives_the_network_is_out_of_reach",
        ),
    ),
)

# Not here yet, and the part that will bring it.
NOT_YET = {
    "restore": "external mount keys are validated at restore, and read-only binds never writable for a moment",
    "image layers": "an extractor of our own, rooted, by descriptor, with limits on count, size, links and ratio",
    "registries": "digests are verified before a byte is used",
}


@functools.cache
def functions(module: str) -> set[str]:
    tree = ast.parse((CHECKOUT / f"tests/{module}.py").read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@functools.cache
def attacks() -> set[str]:
    text = "".join(path.read_text() for path in (CHECKOUT / "tests/programs").glob("hostile_*.c"))
    return set(re.findall(r'\{ "([\w-]+)", \w+, \w+ \}', text))


@pytest.mark.parametrize(
    "where, rule, tried", LESSONS, ids=[where.rpartition(":")[0] or where for where, _, _ in LESSONS]
)
def test_every_lesson_is_tried(where: str, rule: str, tried: tuple[str, ...]) -> None:
    assert where
    assert rule
    assert tried
    for place in tried:
        test, _, names = place.partition(": ")
        module, _, function = test.partition("::")
        assert function in functions(module), f"{test} is no test"
        assert set(names.split()) <= attacks(), f"{names}: not all in the catalogue"


def test_what_does_not_apply_yet_is_told() -> None:
    told = (CHECKOUT / "docs/security.md").read_text()

    assert [part for part in NOT_YET if part not in told] == []


# --- the document ---


def test_what_the_document_names_is_there() -> None:
    text = (CHECKOUT / "docs/security.md").read_text()
    tests = set(re.findall(r"`(test_\w+)::(test_\w+)`", text))
    emphasised = re.findall(r"(?<!\*)\*([a-z][\w -]+)\*(?!\*)", text)
    named = {word for words in emphasised if "-" in words or words in attacks() for word in words.split()}

    assert {f"{module}::{name}" for module, name in tests if name not in functions(module)} == set()
    assert len(named) > 60
    assert named - attacks() == set()
    assert {attack for attack in attacks() - named if not attack.startswith("call-")} == set()


@needs("userns")
@pytest.mark.parametrize("profile", SHIPPED)
def test_the_document_says_what_a_profile_promises(sandbox: Sandbox, project: Path, profile: str) -> None:
    spec = spec_of(sandbox, "-p", profile, *start_directory(profile), "true")
    given = promises(spec)
    seccomp = policy_of(spec)
    cells = [
        f"`{profile}`",
        writable(spec, project),
        *("yes" if promise in given else "no" for promise in ("network",)),
        seccomp,
        *("yes" if promise in given else "no" for promise in ("nested", "init")),
    ]
    row = f"| {' | '.join(cells)} |"

    assert {"powerless", "bare"} <= given
    assert spec["process"]["noNewPrivileges"]
    assert {space["type"] for space in spec["linux"]["namespaces"]} >= {"user", "mount", "pid", "ipc", "uts", "cgroup"}
    assert row in (CHECKOUT / "docs/security.md").read_text().splitlines(), f"docs/security.md has to say: {row}"


def writable(spec: dict[str, Any], project: Path) -> str:
    """Return what of the host's may be written, in a word."""
    caches = [
        mount
        for mount in spec["mounts"]
        if mount["type"] == "bind" and "rw" in mount["options"] and mount["source"].count("/.cache/sandbox/")
    ]
    if not may_write(spec, project):
        return "nothing" if not caches else "caches"
    return "the project, caches" if caches else "the project"


def policy_of(spec: dict[str, Any]) -> str:
    """Return the name of the filter: in the strict one nobody may trace."""
    if "seccomp" not in spec["linux"]:
        return "none"
    allowed = {
        name for rule in spec["linux"]["seccomp"]["syscalls"] if "ALLOW" in rule["action"] for name in rule["names"]
    }
    return "default" if "ptrace" in allowed else "strict"
