"""`penstock tokens`: made, listed and revoked from the command line."""

import json
import os
import subprocess
import sys

from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, QueueServiceProcess
from tests.waiting import wait_until


def _penstock(
    service: QueueServiceProcess,
    *arguments: str,
    admin_token: str = ADMIN_TOKEN,
    columns: int = 80,
) -> subprocess.CompletedProcess[str]:
    where = ["--url", service.url, "--admin-token", admin_token]
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "tokens", *arguments, *where],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": str(columns)},
    )


async def test_an_operator_makes_lists_and_revokes_a_token(start_service: StartService) -> None:
    service = await start_service()
    limits = ("--rate-per-s", "2.5", "--burst", "9", "--in-line", "100", "--running", "4")
    made = _penstock(
        service, "create", "the web shop", "--scope", "submit", "--scope", "read", *limits
    )
    assert made.returncode == 0, made.stderr
    text = made.stdout.strip()
    assert text.startswith("pst_")
    said, warned = made.stderr.splitlines()
    listed = json.loads(_penstock(service, "ls", "--json").stdout)
    assert [(token["name"], token["scopes"]) for token in listed] == [
        ("the web shop", ["read", "submit"])
    ]
    assert said == f"Its id, for `revoke`, is {listed[0]['id']}."
    assert warned == "Store it now: it cannot be shown again."
    assert listed[0]["limits"] == {"rate_per_s": 2.5, "burst": 9, "in_line": 100, "running": 4}
    assert listed[0]["owner"] == listed[0]["id"]
    team = _penstock(service, "create", "--scope", "read", "--owner", "team-a", "--json")
    assert json.loads(team.stdout)["owner"] == "team-a"
    assert _penstock(service, "revoke", "--yes", json.loads(team.stdout)["id"]).returncode == 0
    assert "running=4" in _penstock(service, "ls").stdout.replace("\n", "")
    assert _penstock(service, "revoke", "--yes", listed[0]["id"]).returncode == 0
    early = _penstock(service, "create", "--scope", "read", "--service", "svc", "--service", "svx")
    assert early.returncode == 0
    assert early.stderr.splitlines()[2:] == ["note: there is no service svx yet"]
    early_id = early.stderr.splitlines()[0].split()[-1].rstrip(".")
    assert _penstock(service, "revoke", "--yes", early_id).returncode == 0
    assert json.loads(_penstock(service, "ls", "--json").stdout) == []


async def test_a_refusal_is_reported_with_its_reason(start_service: StartService) -> None:
    service = await start_service()
    refused = _penstock(service, "create", "--scope", "everything")
    assert refused.returncode == 1
    assert "400" in refused.stderr
    assert "scopes" in refused.stderr
    stranger = _penstock(service, "ls", admin_token="wrong")
    assert (stranger.returncode, "expected the admin token" in stranger.stderr) == (1, True)
    gone = _penstock(service, "revoke", "--yes", "000000000000")
    assert (gone.returncode, "there is no token" in gone.stderr) == (1, True)


async def test_a_token_whose_time_is_over_is_listed_as_expired(start_service: StartService) -> None:
    service = await start_service()
    for name, ends in (("short", "1"), ("long", "3600")):
        made = _penstock(service, "create", name, "--scope", "read", "--expires-in-s", ends)
        assert made.returncode == 0, made.stderr

    def marked() -> list[str]:
        rows = _penstock(service, "ls").stdout.splitlines()
        return [rows[at - 1].split()[1] for at, row in enumerate(rows) if "(expired)" in row]

    assert await wait_until(marked, "the short one has expired") == ["short"]
