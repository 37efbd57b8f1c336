"""PENSTOCK_REDIS_URL: every form is understood, and a wrong one gets a sentence without secrets."""

import pytest
from pydantic import ValidationError

from queue_service.settings.process import Settings
from queue_service.settings.redis_address import BadRedisUrl, RedisAddress, read_redis_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://box", RedisAddress("server", (("box", 6379),))),
        (
            "rediss://me:p%40x@box:7000/3",
            RedisAddress("server", (("box", 7000),), db=3, username="me", password="p@x", tls=True),
        ),
        (
            "redis://:pw@[::1]:7000/",
            RedisAddress("server", (("::1", 7000),), password="pw"),
        ),
        ("redis://box?db=2", RedisAddress("server", (("box", 6379),), db=2)),
        (
            "unix://me:secret@/run/redis.sock?db=1",
            RedisAddress("socket", path="/run/redis.sock", db=1, username="me", password="secret"),
        ),
        (
            "redis+sentinel://:secret@one,two:27000,three/primary/4",
            RedisAddress(
                "sentinel",
                (("one", 26379), ("two", 27000), ("three", 26379)),
                master="primary",
                db=4,
                password="secret",
            ),
        ),
        (
            "rediss+cluster://one:7001,two",
            RedisAddress("cluster", (("one", 7001), ("two", 6379)), tls=True),
        ),
    ],
)
def test_a_url_is_read(url: str, address: RedisAddress) -> None:
    assert read_redis_url(url) == address


@pytest.mark.parametrize(
    ("url", "expected", "came"),
    [
        ("localhost:6379", "expected a URL like redis://", "got no scheme"),
        ("http://box", "expected a URL like redis://", "got 'http'"),
        ("redis+sentinels://box/x", "expected +sentinel or +cluster", "got +sentinels"),
        ("unix+cluster:///x", "expected a URL like redis://", "got 'unix+cluster'"),
        ("unix://run/redis.sock", "an absolute path", "got a relative one"),
        ("redis://", "expected a host", "got none"),
        ("redis://user:hunter2", "expected a port from 1 to 65535", "got something else"),
        ("redis://box:0", "expected a port from 1 to 65535", "got something else"),
        ("redis://box:70000", "expected a port from 1 to 65535", "got something else"),
        ("redis://:hunter2/x@box", "percent-encoded", ""),
        ("redis://box/one", "the number of a database", "got 'one'"),
        ("redis://box?socket_timeout=3", "no option but db", "got socket_timeout"),
        ("redis://one,two", "expected one host", "got 2"),
        ("redis+sentinel://one,two", "expected /master", "got none"),
        ("redis+cluster://one/3", "expected no database", "got 3"),
    ],
)
def test_a_wrong_url_is_refused_in_words(url: str, expected: str, came: str) -> None:
    with pytest.raises(BadRedisUrl) as caught:
        read_redis_url(url)
    assert expected in str(caught.value)
    assert came in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"redis_url": "redis://box:x"}, "expected a port from 1 to 65535"),
        ({"redis_ca_file": "/x"}, "expected a redis_url with rediss, got one without TLS"),
        (
            {"redis_url": "rediss://box", "redis_ca_file": "/is/not/there"},
            "expected a file that can be read, got '/is/not/there'",
        ),
        (
            {"redis_url": "rediss://box", "redis_key_file": __file__},
            "expected redis_cert_file with it, got none",
        ),
        (
            {"durability": "fsync", "durability_timeout_ms": 5000},
            r"expected less than store_timeout_s \(5000 ms\), got 5000",
        ),
        ({"durability": "disk"}, "expected.*memory.*fsync.*replicated|Input should be"),
    ],
)
def test_settings_of_redis_that_do_not_fit_are_refused(
    fields: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings.model_validate(fields)
