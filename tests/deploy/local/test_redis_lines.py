"""The log of a local mode shows those lines of Redis that an operator has to know."""

import pytest

from deploy.local.redis_server import is_worth_showing


@pytest.mark.parametrize(
    "line",
    [
        "81:M 21 Nov 2026 00:01:02.345 # Can't save in background: fork: Cannot allocate memory",
        "81:M 21 Nov 2026 00:01:02.345 # Error writing to the AOF file: No space left on device",
        "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***",
    ],
)
def test_warnings_and_what_no_logger_wrote_are_shown(line: str) -> None:
    assert is_worth_showing(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "81:M 21 Nov 2026 00:01:02.345 * Ready to accept connections",
        "81:M 21 Nov 2026 00:01:02.345 - Accepted 127.0.0.1:5000",
        "81:C 21 Nov 2026 00:01:02.345 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
        "81:C 21 Nov 2026 00:01:02.345 # Redis version=7.0.15, bits=64",
        "81:M 21 Nov 2026 00:01:02.345 # Server initialized",
        "81:M 21 Nov 2026 00:01:02.345 # WARNING Memory overcommit must be enabled!",
        "81:signal-handler (1795219262) Received SIGTERM scheduling shutdown...",
        "81:M 21 Nov 2026 00:01:02.345 # User requested shutdown...",
        "81:M 21 Nov 2026 00:01:02.345 # Redis is now ready to exit, bye bye...",
    ],
)
def test_greetings_and_small_talk_are_not(line: str) -> None:
    assert not is_worth_showing(line)
