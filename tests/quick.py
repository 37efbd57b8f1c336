"""The quick run, `make quick`: what needs no other process.

Collecting every test takes twenty seconds of processor time, so the quick run chooses files by
their path before Python imports them.  The store's scripts run on fakeredis (fake_redis.py).
"""

import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

#: The files and folders of the quick run, below this folder.
PATHS = (
    "client_sdk/test_calls.py",
    "client_sdk/test_errors.py",
    "client_sdk/test_growing_text.py",
    "client_sdk/test_job_error.py",
    "client_sdk/test_parity.py",
    "client_sdk/test_respawn.py",
    "client_sdk/test_watch.py",
    "client_sdk/test_work.py",
    "client_sdk/test_unanswered_hellos.py",
    "client_sdk/wire",
    "deploy/demo/test_demo_report.py",
    "deploy/commands/test_map_output.py",
    "deploy/local/test_own_service.py",
    "deploy/service_json/test_processor_entry.py",
    "deploy/local/test_redis_lines.py",
    "deploy/service_json/test_service_file.py",
    "documents/test_architecture.py",
    "documents/test_errors.py",
    "documents/test_links.py",
    "documents/test_models.py",
    "documents/test_setting_names.py",
    "documents/test_settings.py",
    "documents/test_words.py",
    "fair/test_fair_line.py",
    "fair/test_limits.py",
    "fair/test_places.py",
    "faults/test_bugs.py",
    "faults/test_checker.py",
    "faults/test_contents.py",
    "faults/test_growth.py",
    "faults/test_recovery.py",
    "faults/test_report.py",
    "faults/test_retry_rules.py",
    "fuzz/test_paths.py",
    "fuzz/test_wire.py",
    "inference_worker/test_answers.py",
    "inference_worker/test_bad_settings.py",
    "inference_worker/engines/test_classify.py",
    "inference_worker/engines/test_job_log.py",
    "inference_worker/test_start_queue.py",
    "inference_worker/test_reporter.py",
    "inference_worker/test_log_messages.py",
    "inference_worker/transformers/test_request.py",
    "inference_worker/transformers/test_scheduler.py",
    "inference_worker/transformers/test_stops.py",
    "queue_service/delivery",
    "queue_service/service/test_activity.py",
    "queue_service/settings",
    "queue_service/store/lua",
    "queue_service/store/test_scripts.py",
    "queue_service/web/jobs/test_estimate.py",
    "test_layout.py",
    "test_scheduling.py",
)

#: The mark of a test that starts a process without one of the fixtures below.
PROCESS = "process"
#: The mark of a test for which fakeredis will not do; its argument says why.
REAL_REDIS = "real_redis"

#: The fixtures that start processes, or a whole queue service in this one.
_STARTERS = frozenset(
    {
        "redis_server",
        "start_service",
        "start_worker",
        "start_up",
        "make_node",
        "processes",
        "serve",
        "storage_url",
    }
)

#: What Python reports when a process is about to start.
_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})


_CHOSEN = frozenset(TESTS / name for name in PATHS)
_ABOVE = frozenset(folder for path in _CHOSEN for folder in path.parents)


def is_quick_path(path: Path) -> bool:
    """Say whether a file is of the quick run, or a folder has such a file."""
    return path in _CHOSEN or path in _ABOVE or not _CHOSEN.isdisjoint(path.parents)


def keep_quick(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of these files that start a process, or need a real Redis."""
    dropped = [item for item in items if not _is_quick(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in set(dropped)]


def _is_quick(item: pytest.Item) -> bool:
    if any(item.get_closest_marker(mark) for mark in (PROCESS, REAL_REDIS, "slow", "containers")):
        return False
    return _STARTERS.isdisjoint(getattr(item, "fixturenames", ()))


def refuse_processes() -> None:
    """Let every attempt to start a process fail, for the rest of the run."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTS:
            raise AssertionError(f"a quick test starts a process: give it the mark `{PROCESS}`")

    sys.addaudithook(refuse)
