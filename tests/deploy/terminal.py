"""A command of `penstock` on a terminal of its own, as a person has it."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading

from tests.waiting import wait_until

#: Seconds until something must have been shown, on a busy machine.
PATIENCE_S = 60.0


class Terminal:
    """One command; everything that it writes is in `shown`, escape sequences and all.

    What is read from standard output goes to the terminal too, as without a pipe.
    """

    def __init__(self, *words: str, token: str, columns: int = 100) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.entry", *words],
            env={**os.environ, "PENSTOCK_TOKEN": token, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # A session of its own, whose terminal sends Ctrl-C as a real one does.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(theirs)
        self.shown = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def until(self, text: str, *, count: int = 1) -> None:
        """Wait until this was shown this number of times."""

        def found() -> bool:
            assert self.shown.count(text) >= count, self.shown[-1500:]
            return True

        await wait_until(found, f"{text!r} is shown", PATIENCE_S)

    def type(self, text: str) -> None:
        """Type this; "\x03" is Ctrl-C, "\x04" Ctrl-D."""
        os.write(self._ours, text.encode())

    async def interrupt_prompt(self) -> int:
        """Press Ctrl-C at a prompt until the command has ended; return the exit code.

        Python's `input` with readline loses a signal that arrives after it has shown the prompt
        and before it waits; a person presses again.
        """

        def ended() -> bool:
            if self.process.poll() is None:
                self.type("\x03")
            return self.process.poll() is not None

        await wait_until(ended, "Ctrl-C at the prompt has ended it", PATIENCE_S, interval_s=3.0)
        return await self.end()

    async def end(self) -> int:
        """Wait for its end; return the exit code."""
        await wait_until(lambda: self.process.poll() is not None, "it has ended", PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return self.process.returncode

    def close(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE_S)
        os.close(self._ours)

    def _read(self) -> None:
        # The last writer's end is an error on Linux.
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65536):
                self.shown += data.decode(errors="replace")
