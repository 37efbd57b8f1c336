"""Says which tests use the processor most, with the processes that they start: `make test-cpu`.

A plugin of pytest: `pytest -p tests.cpu_times`.  Durations say how long tests wait; several
processes run the tests, so the run as a whole takes as long as the processors need.  A shared
fixture counts for the test that starts it.  A process whose parent was killed counts no longer.
"""

import os
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

#: The tests to list; of the files, all that use more than a second.
TESTS = 60
FILES_S = 1.0

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

#: The name of what a report says of its test.
_CPU = "cpu_s"


def cpu_of_tree(pid: int) -> float:
    """Return the processor time of a process, of all below it, and of those of them that ended."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            # The name of a program may have spaces.
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        seconds[int(name)] = sum(map(int, fields[11:15])) / _TICKS_PER_S
    total, below = 0.0, [pid]
    while below:
        one = below.pop()
        total += seconds.get(one, 0.0)
        below += children.get(one, [])
    return total


class _Clock:
    """In a process that runs tests: the processor time since the last look."""

    def __init__(self) -> None:
        self._last = 0.0

    def lap(self) -> float:
        now = cpu_of_tree(os.getpid())
        passed, self._last = now - self._last, now
        return max(passed, 0.0)

    def pytest_collection_finish(self) -> None:
        self.lap()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":
            report.user_properties.append((_CPU, self.lap()))
        return report


class _Summary:
    """In the process that reports: the tests and files that used most."""

    def __init__(self) -> None:
        self._tests: Counter[str] = Counter()
        self._began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = dict(report.user_properties).get(_CPU)
        if isinstance(seconds, float):
            self._tests[report.nodeid] += seconds  # type: ignore[assignment]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: Counter[str] = Counter()
        for test, seconds in self._tests.items():
            files[test.partition("::")[0]] += seconds
        write = terminalreporter.write_line
        terminalreporter.section("processor time")
        for name, seconds in self._tests.most_common(TESTS):
            write(f"{seconds:8.1f} s  {name}")
        write("")
        for name, seconds in files.most_common():
            if seconds >= FILES_S:
                write(f"{seconds:8.1f} s  {name}")
        passed = time.monotonic() - self._began
        write(f"{sum(self._tests.values()):8.1f} s  in {passed:.1f} s, collecting not counted")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Summary())
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.register(_Clock())
