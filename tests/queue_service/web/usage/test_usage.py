"""What `/v1/usage` reports: every job once, by the way it ended, for its token."""

import csv
import io
import time

import pytest
from redis.asyncio import Redis

from client_sdk.wire.delivery import Delivery
from client_sdk.wire.worker import Completion, Rejection, Result
from tests.queue_service.web.usage.conftest import Shop
from tests.running import ADMIN_TOKEN, TOKEN

pytestmark = pytest.mark.leaves_entries

FAR = str(2**62)


def _with_tokens(delivery: Delivery) -> Completion:
    result = Result(b"yes")
    return Completion(
        delivery.index, delivery.attempt, result, prompt_tokens=1000, completion_tokens=500
    )


async def test_a_job_counts_for_its_token_with_its_time_tokens_and_bytes(shop: Shop) -> None:
    anna, anna_id = await shop.make_token("submit", "read", owner="team")
    ben, ben_id = await shop.make_token("submit", owner="team")
    await shop.put_job("a", token=anna, data=b"12345")
    await shop.put_job("b", token=ben)
    await shop.put_job("c")
    async with shop.worker(_with_tokens, gpus=2):
        await shop.wait_for("succeeded", 3)
    found = await shop.usage(by="token,owner")
    by_token = {row["token"]: row for row in found["rows"]}
    assert set(by_token) == {anna_id, ben_id, ""}
    assert {row["owner"] for row in found["rows"]} == {"team", ""}
    row = by_token[anna_id]
    assert (row["succeeded"], row["deliveries"], row["started"]) == (1, 1, 1)
    assert (row["bytes_in"], row["bytes_out"]) == (5, 3)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (1000, 500)
    assert row["gpu_ms"] == 2 * row["worker_ms"]
    assert row["cost"] == pytest.approx(2.0 + row["gpu_ms"] / 1000 * 3.6)
    # The worker's time is what the jobs API says.
    _, job = await shop.ask("GET", "/v1/services/svc/jobs/a", token=anna)
    assert job["state"] == "succeeded"


async def test_each_end_counts_once(shop: Shop) -> None:
    for job in ("canceled", "deleted", "late"):
        await shop.put_job(job)
    await shop.put_job("not-begun", not_before="1h")
    await shop.ask("POST", "/v1/services/svc/jobs/canceled/cancel")
    await shop.ask("POST", "/v1/services/svc/jobs/canceled/cancel")
    await shop.ask("POST", "/v1/services/svc/jobs/not-begun/cancel")
    assert await shop.total() == {"canceled": 2, "bytes_in": 8}
    # What waits is deleted through the EAS protocol.
    await shop.ask("DELETE", f"/api/predict/svc?_trunc_=true&_index_={FAR}")
    assert (await shop.total())["canceled"] == 4
    # A worker that speaks EAS: it takes the entry.
    await shop.ask("POST", "/api/predict/svc", data=b"1234")
    await shop.ask("GET", "/api/predict/svc?_length_=1&_auto_delete_=true")
    await shop.wait_for("succeeded", 1)
    assert await shop.total() == {"canceled": 4, "succeeded": 1, "bytes_in": 20}
    await shop.put_job("too-late", start_by="2s")
    await shop.wait_for("expired", 1)


async def test_attempts_without_an_answer_are_wasted(shop: Shop) -> None:
    def failing(delivery: Delivery) -> Rejection:
        return Rejection(delivery.index, delivery.attempt, "500", "it failed")

    await shop.put_job("bad")
    async with shop.worker(failing):
        await shop.wait_for("failed", 1)
    total = await shop.total()
    assert total.get("deliveries") is None
    assert (total["failed"], total["wasted_deliveries"], total["started"]) == (1, 2, 1)
    # A dead letter that is replayed is another end.
    letters = "/v1/services/svc/dead-letters"
    status, answer = await shop.ask("POST", f"{letters}/replay?all=true", token=ADMIN_TOKEN)
    assert status == 200, answer
    async with shop.worker():
        await shop.wait_for("succeeded", 1)
    total = await shop.total()
    assert (total["failed"], total["deliveries"], total["wasted_deliveries"]) == (1, 1, 2)


async def test_an_error_that_a_worker_answers_counts_as_failed_and_as_an_answer(
    shop: Shop,
) -> None:
    def refusing(delivery: Delivery) -> Completion:
        result = Result(b"wrong input", {"errorCode": "BadInput", "errorType": "bad_input"})
        return Completion(delivery.index, delivery.attempt, result)

    await shop.put_job("bad")
    async with shop.worker(refusing):
        await shop.wait_for("failed", 1)
    total = await shop.total()
    assert (total["failed"], total["deliveries"]) == (1, 1)
    assert "wasted_deliveries" not in total


async def test_each_token_sees_its_own(shop: Shop) -> None:
    anna, anna_id = await shop.make_token("submit", services=["svc"])
    other, _ = await shop.make_token("read")
    await shop.put_job("a", token=anna)
    await shop.put_job("b")
    async with shop.worker():
        await shop.wait_for("succeeded", 2)
    assert [row["token"] for row in (await shop.usage(token=anna))["rows"]] == [anna_id]
    assert (await shop.usage(token=other))["rows"] == []
    assert (await shop.usage(token=TOKEN))["total"]["succeeded"] == 2
    assert (await shop.usage(service="none"))["rows"] == []
    assert (await shop.ask("GET", "/v1/usage", token="wrong"))[0] == 401


async def test_a_report_is_by_hour_or_day_and_as_csv(shop: Shop) -> None:
    await shop.put_job("a")
    async with shop.worker():
        await shop.wait_for("succeeded", 1)
    hour = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime())
    (row,) = (await shop.usage(by="hour,service"))["rows"]
    # An hour may have ended in between.
    assert row["hour"] <= hour
    assert row["service"] == "svc"
    (row,) = (await shop.usage(by="day"))["rows"]
    assert row["day"] == hour[:10] or row["day"] < hour
    status, text = await shop.ask("GET", "/v1/usage?format=csv&by=service", token=ADMIN_TOKEN)
    assert status == 200
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["service"], line["succeeded"], line["cost"]) == ("svc", "1", "0.0")
    early = {"from": "2020-01-01", "to": "2020-01-02T03:04:05+01:00"}
    assert (await shop.usage(**early))["rows"] == []


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("by=month", "by"),
        ("from=yesterday", "from"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("to=99999-01-01", "to"),
        ("format=xml", "format"),
    ],
)
async def test_a_wrong_parameter_is_named(shop: Shop, query: str, word: str) -> None:
    status, text = await shop.ask("GET", f"/v1/usage?{query}", token=ADMIN_TOKEN)
    assert status == 400
    assert word in str(text)


async def test_rows_of_a_deleted_service_stay_for_the_operator(
    shop: Shop, redis: Redis, key_prefix: str
) -> None:
    settings = {"token": "of-its-own-0123456789"}
    path = "/v1/services/gone"
    await shop.ask("PUT", path, token=ADMIN_TOKEN, json=settings)
    await shop.ask("POST", "/api/predict/gone", token=settings["token"], data=b"x")
    await shop.ask(
        "GET", "/api/predict/gone?_length_=1&_auto_delete_=true", token=settings["token"]
    )
    assert (await shop.ask("DELETE", path, token=ADMIN_TOKEN))[0] == 200

    await shop.wait_for("succeeded", 1)
    rows = (await shop.usage(by="service"))["rows"]
    assert [(row["service"], row["succeeded"]) for row in rows] == [("gone", 1)]
    # They expire by themselves.
    keys = [key async for key in redis.scan_iter(f"{key_prefix}:{{gone}}:*:usage")]
    assert [await redis.pttl(key) > 0 for key in keys] == [True]


async def test_old_rows_go_when_a_new_one_comes(shop: Shop, redis: Redis, key_prefix: str) -> None:
    base = f"{key_prefix}:{{svc}}:usage"
    await redis.hset(base, "1000 - -", " ".join(["7"] * 16))
    await redis.zadd(f"{base}_hours", {"1000 - -": 1000})
    old = {"from": "1970-01-01", "to": "1971-01-01"}
    assert (await shop.usage(**old))["total"]["succeeded"] == 7
    await shop.put_job("a")
    await shop.ask("POST", "/v1/services/svc/jobs/a/cancel")
    assert (await shop.usage(**old))["rows"] == []
    assert len(await redis.hkeys(base)) == 1


async def test_a_row_of_an_older_version_has_fewer_numbers(
    shop: Shop, redis: Redis, key_prefix: str
) -> None:
    """A newer version adds numbers at the end of the row of this hour."""
    hour = int(time.time() // 3600)
    base = f"{key_prefix}:{{svc}}:usage"
    for at in (hour, hour + 1):
        await redis.hset(base, f"{at} - -", "1 2 3 4")
        await redis.zadd(f"{base}_hours", {f"{at} - -": at})
    await shop.put_job("a")
    await shop.ask("POST", "/v1/services/svc/jobs/a/cancel")
    texts = sorted(await redis.hvals(base))
    assert texts[0] == "1 2 3 4"
    assert str(texts[1]).startswith("1 2 4 4 0 0")
    await redis.delete(base, f"{base}_hours")


async def test_a_token_sees_its_rows_among_many(shop: Shop, redis: Redis, key_prefix: str) -> None:
    token, token_id = await shop.make_token("submit")
    await shop.put_job("job", token=token)
    async with shop.worker():
        await shop.wait_for("succeeded", 1)
    usage, hours = f"{key_prefix}:{{svc}}:usage", f"{key_prefix}:{{svc}}:usage_hours"
    hour = int(time.time() / 3600)
    numbers = " ".join(["1"] + ["0"] * 15)
    # Of others, one of them with an owner of that name; and of this one, one too old.
    others = [f"{hour - number % 20} {number:012x} -" for number in range(12_000)]
    others += [f"{hour - 1} {'f' * 12} {token_id}", f"{hour - 30} {token_id} -"]
    own = [f"{hour - number} {token_id} o{number}" for number in range(1, 20)]
    rows = others + own
    await redis.hset(usage, mapping=dict.fromkeys(rows, numbers))
    await redis.zadd(hours, {field: int(field.split()[0]) for field in rows})
    found = await shop.usage(token=token, by="owner,token")
    assert {row["token"] for row in found["rows"]} == {token_id}
    assert len(found["rows"]) == 20
    assert found["total"]["succeeded"] == 20
