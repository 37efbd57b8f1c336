"""The signals that ask a program to shut down gracefully."""

import signal


def stop_signals() -> list[signal.Signals]:
    """Return SIGTERM, SIGINT, and SIGHUP, which a terminal sends when it is closed.

    `nohup` starts a program with SIGHUP ignored; then it stays ignored.
    """
    stops = [signal.SIGTERM, signal.SIGINT]
    hang_up: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        stops.append(hang_up)
    return stops
