"""`penstock usage`: a table, CSV or JSON of what was used."""

import csv
import io
import json
import os
import subprocess
import sys

import aiohttp
import pytest

from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess


def _usage(
    service: QueueServiceProcess, *arguments: str, columns: int = 120
) -> subprocess.CompletedProcess[str]:
    where = ["--url", service.url, "--admin-token", ADMIN_TOKEN]
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "usage", *arguments, *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": str(columns)},
    )


@pytest.mark.leaves_entries
async def test_an_operator_sees_what_was_used(start_service: StartService) -> None:
    service = await start_service()
    none = _usage(service)
    assert none.returncode == 0
    assert "nothing was used" in none.stderr
    jobs = f"{service.url}/v1/services/svc/jobs/a"
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.put(jobs, data=b"12") as answer:
            assert answer.status in (200, 202)
        async with session.post(f"{jobs}/cancel") as answer:
            assert answer.status == 200
    found = json.loads(_usage(service, "--json").stdout)
    assert found["total"]["canceled"] == 1
    (row,) = csv.DictReader(io.StringIO(_usage(service, "--csv", "--by", "service").stdout))
    assert (row["service"], row["canceled"], row["bytes_in"]) == ("svc", "1", "2")
    shown = _usage(service, "--by", "service,day", "--service", "svc").stdout
    assert [line.split()[0] for line in shown.splitlines() if line.strip()][-2:] == ["svc", "total"]
    wrong = _usage(service, "--by", "month")
    assert wrong.returncode == 1
    assert "by" in wrong.stderr
