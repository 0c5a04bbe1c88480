"""A plugin: show a failure when it happens, for a run that may not come to its end: PYTHONPATH=tests pytest -p at_once"""

from __future__ import annotations

import pytest


class AtOnce:
    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.terminal.ensure_newline()
            self.terminal.write_sep("_", report.nodeid)
            self.terminal.write_line(report.longreprtext)


def pytest_sessionstart(session: pytest.Session) -> None:
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    # A worker of xdist has none: whoever started it hears of its failures.
    if terminal and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(AtOnce(terminal))
