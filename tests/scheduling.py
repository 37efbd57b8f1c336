"""Which test files have the machine to themselves, when several processes run the tests.

A file runs as a whole in one process.  The files of ALONE come last: one process runs them, one
after the other, after the other processes have ended.
"""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

_ENGINE = "the containers and the signals of the machine's only Docker engine"
#: The files whose result depends on what else runs on the machine, and what they measure.
ALONE = {
    "tests/containers/test_compose.py": _ENGINE,
    "tests/containers/test_docker_driver.py": _ENGINE,
    "tests/containers/test_first_start.py": _ENGINE,
    "tests/containers/test_gpus.py": _ENGINE,
    "tests/containers/test_scaling.py": _ENGINE,
    "tests/containers/test_swarm_driver.py": _ENGINE,
    "tests/machines/test_guide.py": _ENGINE,
    "tests/faults/test_matrix.py": "how soon the service recovers from a kill",
    "tests/inference_worker/test_growth.py": "the memory of a worker after many jobs",
}


def is_alone(nodeid: str) -> bool:
    """Say whether a test, or a file, is one of ALONE."""
    return nodeid.partition("::")[0] in ALONE


class AloneLast(LoadFileScheduling):  # type: ignore[misc]
    """Gives files to processes; those of ALONE to the last process that is left."""

    def _reschedule(self, node: WorkerController) -> None:
        # The files of a process that crashed come back behind those of ALONE.
        for file in list(filter(is_alone, self.workqueue)):
            self.workqueue.move_to_end(file)
        if node.shutting_down or not self._only_alone_is_left():
            super()._reschedule(node)
        elif any(not other.shutting_down for other in self.nodes if other is not node):
            node.shutdown()
        elif self.nodes == [node]:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        # At the start xdist gives each process a file without a look at what is left.
        if self._only_alone_is_left() and self.nodes != [node]:
            self._reschedule(node)
        else:
            super()._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a process that has ended; it may have been what the last one waited for."""
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed

    def _only_alone_is_left(self) -> bool:
        return bool(self.workqueue) and is_alone(next(iter(self.workqueue)))
