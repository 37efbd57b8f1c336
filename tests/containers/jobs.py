"""Jobs over plain HTTP, as curl would send and fetch them."""

import json
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

#: Frames of one read of the sink.
READ_LENGTH = 100


def counted(metrics: str, name: str, label: str) -> int:
    """Return the sum of a metric over the lines that carry this label."""
    lines = [line for line in metrics.splitlines() if line.startswith(name + "{")]
    return int(sum(float(line.split()[-1]) for line in lines if f'"{label}"' in line))


class Jobs:
    """What was put into a service, and what came out of its sink.

    Every read deletes what it got, so each result is counted as often as it was in the sink.
    """

    def __init__(self, url: str, *, service: str, token: str, admin_token: str) -> None:
        self.url = f"{url}/api/predict/{service}"
        self.service_url = f"{url}/v1/services/{service}"
        self.metrics_url = f"{url}/metrics"
        self.token = token
        self.admin_token = admin_token
        self.accepted: list[str] = []
        self.answered: Counter[str] = Counter()

    def put(self, count: int) -> None:
        """POST as many jobs, and keep the request id of each that was accepted."""
        for number in range(count):
            with self._open("POST", self.url, f"job {number}".encode()) as answer:
                self.accepted.append(answer.headers["X-Eas-Queueservice-Request-Id"])

    def put_at_once(self, count: int) -> None:
        """Put as many jobs while the service is paused, so that workers find all of them."""
        self._operate("pause")
        self.put(count)
        self._operate("resume")

    def read(self) -> bool:
        """Take what is in the sink now; say whether every accepted job has been answered."""
        sink = f"{self.url}/sink?_index_=0&_length_={READ_LENGTH}&_raw_=false&_auto_delete_=true"
        while True:
            try:
                with self._open("GET", f"{sink}&_timeout_=0s") as answer:
                    frames: list[dict[str, Any]] = json.load(answer) if answer.status == 200 else []
            except (urllib.error.URLError, ConnectionError):
                frames = []  # Redis or the queue service is away for a moment.
            self.answered.update(frame["tags"]["requestId"] for frame in frames)
            if not frames:
                return set(self.accepted) <= set(self.answered)

    def attributes(self, queue: str = "") -> dict[str, str]:
        """Return the attributes of the input queue, or of `/sink`."""
        with self._open("GET", f"{self.url}{queue}?_attrs_=true") as answer:
            found: dict[str, str] = json.load(answer)
            return found

    def counted(self, what: str) -> int:
        """Return what the queue service has counted for the input queue since it started."""
        with self._open("GET", self.metrics_url, token=self.admin_token) as answer:
            return counted(answer.read().decode(), f"penstock_queue_{what}_total", "input")

    def workers(self) -> list[dict[str, Any]]:
        """Return what the connected workers say about themselves."""
        with self._open("GET", self.service_url, token=self.admin_token) as answer:
            subscribers = json.load(answer)["input"]["subscribers"]
        about = [one["about"] for one in subscribers if one["connected"]]
        return [one for one in about if one.get("kind") == "worker"]

    def _operate(self, verb: str) -> None:
        url = f"{self.service_url}/{verb}"
        with self._open("POST", url, b"", token=self.admin_token):
            pass

    def _open(
        self, method: str, url: str, body: bytes | None = None, *, token: str | None = None
    ) -> Any:
        headers = {"Authorization": token or self.token, "Accept": "application/json"}
        request = urllib.request.Request(url, body, headers, method=method)
        return urllib.request.urlopen(request, timeout=30)
