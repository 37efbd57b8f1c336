"""A model server of its own, with nothing but the standard library: it counts words.

Any HTTP server does; what Penstock needs is a port and a POST that answers with the result.
The job's id comes as a header, its tags as the query, and an error status sends it out again.
"""

import json
import os
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Words(BaseHTTPRequestHandler):
    """POST /words?most=3 with a text, and get its most frequent words."""

    def do_GET(self):
        self.answer(200 if self.path == "/ready" else 404, {})

    def do_POST(self):
        where = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if where.path != "/words":
            self.answer(404, {"error": f"there is no {where.path} here"})
            return
        most = int(parse_qs(where.query).get("most", ["1"])[0])
        job = self.headers["X-Eas-Queueservice-Request-Id"]
        self.log_message("counting the words of job %s", job)
        self.answer(200, dict(Counter(text.lower().split()).most_common(most)))

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        """One line for each job is enough."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Words).serve_forever()
