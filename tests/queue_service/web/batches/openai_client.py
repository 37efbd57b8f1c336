"""A client of the Batch API in a process of its own, with the `openai` that its path has.

    python -m tests.queue_service.web.batches.openai_client URL TOKEN LINES OUT RUN

It makes a batch of the file LINES, waits for its end, writes the answers to OUT, and prints the
outcome as JSON.  It may be killed at any point: started again with the same words, it goes on.
"""

import json
import sys
from pathlib import Path

import openai
from openai.types import Batch

from tests.waiting import wait_until_blocking

FINAL = ("completed", "failed", "expired", "cancelled")
#: How long a batch may take, and the time between two looks, in seconds.
LONGEST_S, LOOK_S = 3600.0, 0.5


def main(url: str, token: str, lines: Path, out: Path, run: str) -> None:
    """Run one batch to its end; `run` tells it from others."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=20, timeout=120)
    listed = client.batches.list(limit=100)
    batch = next((one for one in listed if (one.metadata or {}).get("run") == run), None)
    if batch is None:
        file = client.files.create(file=lines, purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"run": run},
        )
    batch_id = batch.id

    def ended() -> Batch | None:
        now = client.batches.retrieve(batch_id)
        return now if now.status in FINAL else None

    batch = wait_until_blocking(ended, "the batch has ended", LONGEST_S, interval_s=LOOK_S)
    assert batch is not None
    if batch.output_file_id is not None:
        with client.files.with_streaming_response.content(batch.output_file_id) as response:
            response.stream_to_file(out)
    counts = batch.request_counts.model_dump() if batch.request_counts else {}
    print(json.dumps({"openai": openai.__version__, "status": batch.status, "counts": counts}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])
