"""A user's model server, for tests: started by the worker; its jobs say what it does.

    subject_server.py <folder>

It listens on $PORT, once the file `start` is in the folder if the folder has a file `wait`.  Its
process id and that of a child, which has left its process group, are in the file `pids`.
"""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Subject(BaseHTTPRequestHandler):
    """Does what the body says."""

    def do_GET(self) -> None:
        self._answer(200, b"")

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"])).decode()
        match said.split():
            case ["die"]:
                os._exit(3)
            case ["die", "once"]:
                if self.headers["X-Penstock-Attempt"] == "1":
                    os._exit(3)
                self._answer(200, b"answered by the second")
            case ["hang"]:
                # In one piece: two threads that print mix their lines.
                os.write(1, b"hanging\n")
                threading.Event().wait()
            case ["status", status]:
                self._answer(int(status), f"a body of {status}".encode())
            case ["token"]:
                ours = [name for name in os.environ if name.startswith("PENSTOCK_")]
                self._answer(200, ",".join(ours).encode() or b"none")
            case _:
                self._answer(200, said.encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    folder = Path(sys.argv[1])
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", "import threading; threading.Event().wait()"],
        start_new_session=True,
    )
    with (folder / "pids").open("a") as pids:
        pids.write(f"{os.getpid()} {child.pid}\n")
    print("the weights are loading", flush=True)
    while (folder / "wait").exists() and not (folder / "start").exists():
        threading.Event().wait(0.02)
    if (folder / "cannot").exists():
        sys.exit("there is no such model")
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Subject).serve_forever()


if __name__ == "__main__":
    main()
