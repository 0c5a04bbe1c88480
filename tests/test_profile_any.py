"""Whatever a profile says, it becomes a plan that can be encoded, or an error that names its line; never a traceback."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs import needs

from sandbox.errors import HostError, ProfileError, SpecError
from sandbox.plan.encode import decode, encode
from sandbox.profile.expand import Request
from sandbox.profile.schema import Profile
from sandbox.runtime.compilation import compile_request

pytestmark = needs("userns")

PLAIN_WORDS = """/ . .. ~ ~/x /usr /nowhere ?/nowhere * /usr/* $HOME $NOTHING/x - none host default off all CAP_CHOWN nofile unlimited
1G 90s 0x7 1000 true ä a=b""".split()
WORDS = st.sampled_from([*PLAIN_WORDS, "", "a\nb", "\x1b[31m"])
SCALARS = st.one_of(WORDS, st.integers(-2, 1 << 33), st.booleans(), st.floats(allow_nan=True), st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=5,
)


def names(struct: type) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def section(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    """Tables of the keys that the section has, with anything as their values, and now and then a key that it has not."""
    keys = [key for key, inner in names(kind).items() if not is_section(inner)]
    return st.dictionaries(
        st.sampled_from([*keys, "unknown"]), st.one_of(WORDS.map(lambda word: [word]), VALUES), max_size=3
    )


SECTIONS = {name: section(kind) for name, kind in names(Profile).items() if is_section(kind)}
PLAIN = [name for name, kind in names(Profile).items() if not is_section(kind) and name != "extends"]
DOCUMENTS = st.tuples(
    st.fixed_dictionaries({}, optional=SECTIONS),
    st.dictionaries(st.sampled_from([*PLAIN, "unknown"]), VALUES, max_size=1),
).map(lambda pair: {"extends": "build", **pair[1], **pair[0]})


@given(document=DOCUMENTS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_profile_is_a_plan_or_an_error_with_its_line(
    document: dict[str, Any], home: Path, project: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    (project / "p.toml").write_text(tomli_w.dumps(document))
    request = Request(("./p.toml",), (), str(project), os.geteuid(), os.getegid())
    try:
        compilation = compile_request(request)
    except (ProfileError, SpecError) as error:
        assert re.match(r"(\./p|build|base)\.toml:\d+: ", str(error)), error
        assert str(error).isprintable(), "it could write to the terminal"
    except HostError as error:  # right by itself, and not to be had here
        assert str(error).isprintable()
    else:
        assert decode(encode(compilation.plan)).steps
