"""Tests do not fail for the load of the machine, and those that need it to themselves run last."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.scheduling import ALONE, AloneLast

ROOT = Path(__file__).parents[1]
FIRST, SECOND, *_ = sorted(ALONE)
OTHERS = [f"tests/test_{letter}.py" for letter in "abcd"]


class Node:
    """A process of xdist: the tests that it got, and whether it is to end."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Run:
    """A run of some files with two tests each; a test ends when this class says so."""

    def __init__(self, files: list[str], processes: int) -> None:
        self.tests = [f"{file}::test_{number}" for file in files for number in (1, 2)]
        self.nodes = [Node(f"gw{number}") for number in range(processes)]
        config: Any = SimpleNamespace(
            getvalue=lambda _: ["popen"] * processes,
            option=SimpleNamespace(loadscopereorder=False),
        )
        self.scheduler = AloneLast(config)
        for node in self.nodes:
            self.add(node)
        self.scheduler.schedule()
        self.done: list[tuple[str, str]] = []

    def add(self, node: Any) -> None:
        self.scheduler.add_node(node)
        self.scheduler.add_node_collection(node, self.tests)

    def step(self, node: Any) -> bool:
        """Let a process end one test, or end; False if it waits for something."""
        ended = [test for name, test in self.done if name == node.gateway.id]
        left = [index for index in node.given if self.tests[index] not in ended]
        # A process knows what comes next before it runs a test, or that nothing does.
        if len(left) > 1 or (left and node.shutting_down):
            running = [other for other in self.scheduler.nodes if other is not node]
            if self.tests[left[0]].partition("::")[0] in ALONE:
                assert not running
            self.done.append((node.gateway.id, self.tests[left[0]]))
            self.scheduler.mark_test_complete(node, left[0])
            return True
        if node.shutting_down and node in self.scheduler.nodes:
            self.scheduler.remove_node(node)
            return True
        return False

    def finish(self, *, last: int = 0) -> list[str]:
        """Run to the end; processes take turns, and `last` is the slowest."""
        while any([self.step(node) for node in self._by_pace(last)]):
            pass
        if self.scheduler.tests_finished:
            for node in self.nodes:
                node.shutdown()
            while any([self.step(node) for node in self.nodes]):
                pass
        return [test for _, test in self.done]

    def _by_pace(self, last: int) -> list[Node]:
        return [
            node for number, node in enumerate(self.nodes) for _ in range(1 + 2 * (number != last))
        ]


@pytest.mark.parametrize("file", ALONE)
def test_a_file_that_runs_alone_exists(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_they_run_after_all_others_when_no_other_process_runs(processes: int, last: int) -> None:
    run = Run([*OTHERS, FIRST, SECOND], processes)
    done = run.finish(last=last)
    assert sorted(done) == sorted(run.tests)


@pytest.mark.parametrize("files", [[FIRST], [FIRST, SECOND], [OTHERS[0], FIRST], OTHERS])
def test_any_selection_runs_to_its_end(files: list[str]) -> None:
    run = Run(files, 3)
    assert sorted(run.finish()) == sorted(run.tests)


def test_what_a_process_that_crashed_leaves_still_runs_before_them() -> None:
    run = Run([*OTHERS, FIRST, SECOND], 2)
    run.step(run.nodes[0])
    crashed = run.scheduler.remove_node(run.nodes.pop(0))
    assert crashed
    done = run.finish()
    files = [test.partition("::")[0] for test in done]
    assert files.index(FIRST) > max(files.index(file) for file in OTHERS)
    assert sorted(done) == sorted(run.tests)


def test_a_generated_case_may_take_as_long_as_it_takes() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
