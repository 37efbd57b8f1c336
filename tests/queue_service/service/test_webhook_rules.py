"""The pure rules of webhooks: where they may go, when they are tried again, what they say."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address, ip_network

import pytest

from queue_service.service.webhooks.address import Allowed, Refused, is_public, read_url
from queue_service.service.webhooks.endpoints import Endpoint, Endpoints, new_secret
from queue_service.service.webhooks.schedule import PAUSES_S, asked_pause_s, next_try_ms

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "192.0.0.1",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "64:ff9b:1:a00:0:100:808:808",
        "2002:7f00:1::",
        "2001::1",
        "fec0::1",
        "::127.0.0.1",
        "2001:db8::1",
    ],
)
def test_an_inner_address_is_refused_unless_an_operator_lists_it(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Allowed().takes(ip_address(address))
    assert Allowed((ip_network("0.0.0.0/0"), ip_network("::/0"))).takes(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert Allowed().takes(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https:///hook",
        "https://example.com:99999/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://exämple.com/",
        "https://example.com/" + "x" * 3000,
    ],
)
def test_a_url_that_is_no_receiver_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="expected"):
        read_url(url)


def test_pauses_follow_the_schedule_with_a_tenth_of_jitter() -> None:
    for attempts, pause_s in enumerate(PAUSES_S, start=1):
        least = next_try_ms(attempts, asked_s=None, chance=0.0)
        most = next_try_ms(attempts, asked_s=None, chance=1.0)
        assert (least, most) == (round(pause_s * 900), round(pause_s * 1100))
    assert next_try_ms(len(PAUSES_S) + 1, asked_s=None) is None


def test_a_receiver_may_ask_for_more_time_and_for_a_day_at_most() -> None:
    assert next_try_ms(1, asked_s=60.0) == 60_000
    assert next_try_ms(1, asked_s=1e9) == 24 * 3600 * 1000
    assert next_try_ms(4, asked_s=1.0, chance=0.5) == 2 * 3600 * 1000


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (429, "120", 120.0),
        (503, format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (503, format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        (429, "-5", None),
        (429, "soon", None),
        (429, "1e9", None),
        (500, "120", None),
        (429, "", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    status: int, said: str, expected: float | None
) -> None:
    assert asked_pause_s(status, {"Retry-After": said}, NOW) == expected


def test_the_old_secret_signs_for_a_day() -> None:
    first = Endpoint("mine", "https://example.com/", ("job.failed",), new_secret(), 0)
    second = first.rotated(1000)
    assert second.secrets(1000) == [second.secret, first.secret]
    assert second.secrets(1000 + 24 * 3600 * 1000) == [second.secret]


def test_endpoints_of_another_version_are_read_as_far_as_they_are_known() -> None:
    text = (
        '{"endpoints": [{"name": "mine", "url": "https://example.com/", "events": ["job.failed", '
        '"job.new"], "secret": "whsec_AAAA", "created_at_ms": 5, "later": true}], "more": 1}'
    )
    endpoints = Endpoints.from_text(text)
    assert endpoints.states == {"failed"}
    assert [one.name for one in endpoints.wanting("failed")] == ["mine"]
    with pytest.raises(ValueError, match="cannot be read"):
        Endpoints.from_text('{"endpoints": [{}]}')
