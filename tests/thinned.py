"""A plugin: of each file's tests keep one in SANDBOX_THIN, at least one, and all of those that the guest is for.

    PYTHONPATH=tests SANDBOX_THIN=20 pytest -p thinned

With SANDBOX_THIN=0 it is those alone that nothing but the guest can run: a user manager is there on other machines, too.

Which, a checksum of their names decides: a choice that is the same everywhere and at any time, that nobody has made, and that
spreads over the parameters of a test.  Files that SANDBOX_WHOLE names stay whole.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection
from itertools import groupby

import pytest
from needs import OF_THE_GUEST

# The user manager of the other tests is one of their own.
WANTED = OF_THE_GUEST | {"user_manager"}


def _checksum(item: pytest.Item) -> int:
    return zlib.crc32(item.nodeid.encode())


def _needs(item: pytest.Item, wanted: Collection[str]) -> bool:
    return any(fact in wanted for marker in item.iter_markers("needs") for fact in marker.args)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part = int(os.environ.get("SANDBOX_THIN", "1"))
    whole = os.environ.get("SANDBOX_WHOLE", "").split()
    kept: set[pytest.Item] = set()
    for name, group in groupby(items, key=lambda item: item.nodeid.partition("::")[0]):
        tests = list(group)
        if name in whole:
            kept.update(tests)
            continue
        kept.update(test for test in tests if _needs(test, WANTED if part else OF_THE_GUEST))
        others = sorted((test for test in tests if test not in kept), key=_checksum)
        kept.update(others[: -(-len(others) // part)] if part else ())
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
