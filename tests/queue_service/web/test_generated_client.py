"""A client that `openapi-python-client` makes from a service's OpenAPI document submits a job.

The generator requires an older typer than constraints.txt has, so it is in a separate environment:
`make openapi-client`, a part of `make test`.
"""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest

from client_sdk.wire.worker import Completion, Delivery, Result
from tests.conftest import Serve
from tests.queue_service.web.test_declared_inputs import PAINTER, worker
from tests.running import TOKEN

GENERATOR = os.environ.get("PENSTOCK_TEST_OPENAPI_CLIENT") or shutil.which(
    "openapi-python-client", path=f"{sys.prefix}/openapi/bin:{os.environ['PATH']}"
)
pytestmark = [
    pytest.mark.leaves_entries,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        GENERATOR is None,
        reason="needs `make openapi-client`, or PENSTOCK_TEST_OPENAPI_CLIENT",
    ),
]
#: What its user writes.
PROGRAM = """
import sys
from made import AuthenticatedClient
from made.api.default import post_v1_services_svc_jobs
from made.models import Input, Job

client = AuthenticatedClient(sys.argv[1], sys.argv[2])
job = post_v1_services_svc_jobs.sync(client=client, body=Input(prompt="a cat", steps=3))
assert isinstance(job, Job), job
print(job.id, job.state)
"""


async def run(*words: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_generated_client_submits_a_job(serve: Serve, tmp_path: Path) -> None:
    assert GENERATOR is not None
    url = await serve({"name": "svc"})
    async with worker(url, PAINTER) as connection:
        async with (
            aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
            session.get(f"{url}/v1/services/svc/openapi.json") as answer,
        ):
            (tmp_path / "openapi.json").write_bytes(await answer.read())
        await run(
            *(GENERATOR, "generate", "--path", "openapi.json"),
            *("--output-path", "made", "--meta", "none"),
            folder=tmp_path,
        )
        # Its own Python has the libraries that the made client needs.
        said = await run(
            str(Path(GENERATOR).with_name("python")), "-c", PROGRAM, url, TOKEN, folder=tmp_path
        )
        job_id, _ = said.split()
        delivery = await anext(connection)
        assert isinstance(delivery, Delivery)
        assert delivery.request_id == job_id
        assert json.loads(delivery.data) == {"prompt": "a cat", "steps": 3}
        await connection.complete(Completion(delivery.index, delivery.attempt, Result(b"{}")))
