"""The jobs API: an id, a key or a list says nothing of another team's jobs."""

import json

import pytest

from tests.queue_service.web.jobs.api import TAKEN, Answer
from tests.tenants.conftest import Tenants
from tests.tenants.team import Team

pytestmark = pytest.mark.leaves_entries


async def _result(team: Team, job_id: str) -> Answer:
    return await team.call("GET", f"/{job_id}/result", params={"wait": "20s"})


async def test_one_id_is_a_job_of_each_team_and_each_gets_its_own_result(tenants: Tenants) -> None:
    for team, data in ((tenants.own, b"own"), (tenants.red, b"red"), (tenants.blue, b"blue")):
        answer = await team.call("PUT", "/next", data=data)
        assert answer.status == 202, answer
        assert answer.headers["location"].endswith("/jobs/next")
        assert answer.json["id"] == "next"
    worker = await tenants.worker()
    for team, data in ((tenants.own, b"own"), (tenants.red, b"red"), (tenants.blue, b"blue")):
        answer = await _result(team, "next")
        assert (answer.status, answer.body) == (200, data)
    await worker.cut()
    assert {delivery.request_id for delivery in worker.handed} == {"next"}


@pytest.mark.parametrize("way", ["header", "line"])
async def test_one_idempotency_key_is_one_of_each_team(tenants: Tenants, way: str) -> None:
    async def put(team: Team, data: str) -> tuple[int, str]:
        if way == "header":
            answer = await team.call("POST", data=data, headers={"Idempotency-Key": "k"})
            return answer.status, answer.json.get("id", "")
        line = json.dumps({"input": data, "idempotency_key": "k"})
        headers = {"Content-Type": "application/x-ndjson"}
        said = json.loads((await team.call("POST", data=line, headers=headers)).body)
        return said["status"], said.get("id", "")

    first = await put(tenants.red, "secret")
    assert (await put(tenants.blue, "secret")) != first
    # Whether the key is taken depends on the team's own jobs alone.
    assert (await put(tenants.blue, "other"))[0] in (409, 422)
    assert (await put(tenants.red, "secret"))[1] == first[1]
    assert (await put(tenants.own, "third"))[0] == 202


async def test_no_verb_finds_another_teams_job(tenants: Tenants) -> None:
    for job_id, more in (("waits", {}), ("later", {"not_before": "1h"})):
        assert (await tenants.red.call("PUT", f"/{job_id}", data=b"x", params=more)).status == 202
        for name in (
            job_id,
            f"{tenants.red.token_id}%1E{job_id}",
            f"{job_id}@{tenants.red.token_id}",
        ):
            for method, path in (
                ("GET", f"/{name}"),
                ("GET", f"/{name}/result"),
                ("GET", f"/{name}/events"),
                ("POST", f"/{name}/cancel"),
                ("DELETE", f"/{name}"),
            ):
                answer = await tenants.blue.call(method, path)
                assert answer.status == 404, (method, path, answer)
        answer = await tenants.blue.call(
            "GET", f"/{job_id}", params={"owner": tenants.red.token_id}
        )
        assert answer.status == 403
        assert (await tenants.red.call("GET", f"/{job_id}")).json["state"] == "queued"


async def test_a_list_shows_a_team_its_own_jobs_however_many_others_there_are(
    tenants: Tenants,
) -> None:
    wanted: dict[str, set[str]] = {"red": set(), "blue": set()}
    for name, team in (("red", tenants.red), ("blue", tenants.blue)):
        for number in range(5):
            job_id = f"{name}-{number}" if number else "0"
            more = {"not_before": "1h"} if number % 2 else {}
            assert (await team.call("PUT", f"/{job_id}", data=b"x", params=more)).status == 202
            wanted[name].add(job_id)
        for job_id in ("0", f"{name}-1"):
            assert (await team.call("POST", f"/{job_id}/cancel")).status == 200
        await team.put(b"by EAS", f"{name}-eas")
        wanted[name].add(f"{name}-eas")
    for name, team in (("red", tenants.red), ("blue", tenants.blue)):
        for limit in ("1", "2", "100"):
            listed = await team.listed(limit=limit)
            assert sorted(listed) == sorted(wanted[name]), limit
        assert set(await team.listed(state="canceled", limit="1")) == {"0", f"{name}-1"}
        assert await team.listed(state="succeeded") == []
    everything = await tenants.own.call("GET", params={"limit": "1000"})
    assert {(job["owner"], job["id"]) for job in everything.json["jobs"]} == {
        (team.token_id, job_id)
        for team, name in ((tenants.red, "red"), (tenants.blue, "blue"))
        for job_id in wanted[name]
    }
    for team, after in ((tenants.own, "ended:=red-1"), (tenants.red, "ended:12")):
        answer = await team.call("GET", params={"after": after})
        assert answer.status == 400, answer


async def test_a_token_that_sees_everything_names_the_owner_where_a_job_is_ambiguous(
    tenants: Tenants,
) -> None:
    everything = await tenants.own.make("read", "cancel", "all")
    for team in (tenants.red, tenants.blue):
        assert (await team.call("PUT", "/same", data=team.token_id)).status == 202
    assert (await tenants.red.call("PUT", "/alone", data=b"x")).status == 202
    for team in (tenants.own, everything):
        answer = await team.call("GET", "/alone")
        assert (answer.status, answer.json["owner"]) == (200, tenants.red.token_id)
        answer = await team.call("GET", "/same")
        assert answer.status == 409
        assert "owner=" in answer.json["detail"]
        answer = await team.call("GET", "/same", params={"owner": tenants.blue.token_id})
        assert (answer.status, answer.json["owner"]) == (200, tenants.blue.token_id)
        listed = await team.call("GET", params={"owner": tenants.blue.token_id})
        assert [job["id"] for job in listed.json["jobs"]] == ["same"]
    answer = await everything.call("POST", "/same/cancel", params={"owner": tenants.blue.token_id})
    assert answer.status == 200
    assert (await tenants.red.call("GET", "/same")).json["state"] == "queued"
    # The service's own goes first: no team can put itself in front of it.
    assert (await tenants.own.call("PUT", "/alone", data=b"own")).status == 202
    assert (await tenants.own.call("GET", "/alone")).json["owner"] is None
    assert (await tenants.red.call("GET", "/alone")).json["owner"] == tenants.red.token_id


async def test_a_new_token_of_the_same_owner_goes_on_where_the_old_one_was(
    tenants: Tenants,
) -> None:
    old = await tenants.own.make(owner="team-a")
    new, joined = await tenants.own.make(owner="team-a"), await tenants.own.make(owner=old.token_id)
    assert (await old.call("PUT", "/mine", data=b"x")).status == 202
    assert (await new.call("PUT", "/mine", data=b"x")).status == 202
    assert (await new.call("GET", "/mine")).json["owner"] == "team-a"
    assert (await joined.call("GET", "/mine")).status == 404
    assert await new.listed() == ["mine"]
    assert (await new.call("POST", "/mine/cancel")).status == 200
    assert (await old.call("GET", "/mine")).json["state"] == "canceled"


async def test_a_token_that_may_only_submit_gets_no_result_of_a_repeated_put(
    tenants: Tenants,
) -> None:
    reader = await tenants.own.make("submit", "read", owner="team")
    submitter = await tenants.own.make("submit", owner="team")
    worker = await tenants.worker()
    assert (await reader.call("PUT", "/one", data=b"a secret")).status in TAKEN
    assert (await _result(reader, "one")).body == b"a secret"
    for headers in ({"Prefer": "wait=5"}, {"Accept": "text/event-stream"}):
        answer = await submitter.call("PUT", "/one", data=b"a secret", headers=headers)
        assert answer.status == 200
        assert answer.json["state"] == "succeeded"
        assert b"a secret" not in answer.body
    answer = await submitter.call("POST", data=b"new", headers={"Prefer": "wait=20"})
    assert answer.body == b"new"
    answer = await reader.call("PUT", "/one", data=b"a secret", headers={"Prefer": "wait=5"})
    assert answer.body == b"a secret"
    await worker.cut()


async def test_events_and_a_long_poll_are_of_the_teams_own_job(tenants: Tenants) -> None:
    for team in (tenants.red, tenants.blue):
        assert (await team.call("PUT", "/one", data=team.token_id)).status == 202
    worker = await tenants.worker()
    for team in (tenants.red, tenants.blue):
        assert (await _result(team, "one")).body.decode() == team.token_id
        answer = await team.call("GET", "/one/events")
        assert team.token_id.encode() in answer.body
        other = tenants.blue if team is tenants.red else tenants.red
        assert other.token_id.encode() not in answer.body
        assert (await team.call("DELETE", "/one")).status == 204
        assert (await team.call("GET", "/one")).status == 404
    await worker.cut()
