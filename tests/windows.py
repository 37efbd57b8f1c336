"""Time windows for tests that have no clock of their own."""

from datetime import UTC, datetime


def closed_now() -> str:
    """Return a window that is closed for some hours, by the clock of the machine and of Redis."""
    hour = datetime.now(UTC).hour
    return f"{(hour + 3) % 24:02}:00-{(hour + 4) % 24:02}:00"
