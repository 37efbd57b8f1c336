"""The rules of `Host` and `Origin`, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.browsers import (
    Hosts,
    Origins,
    Verdict,
    Visit,
    is_same_origin,
    judge,
    read_hosts,
    read_networks,
    read_origins,
)
from client_sdk.wire.errors import WireError


@pytest.mark.parametrize(
    "authority",
    [
        *("", "localhost", "LOCALHOST:8080", "localhost.", "penstock.localhost:1", "127.0.0.1"),
        *("127.0.0.1:8080", "[::1]:8080", "[::1]", "10.1.2.3:80", "[fe80::1]:9", "0.0.0.0:8080"),
    ],
)
def test_loopback_names_and_addresses_are_ours(authority: str) -> None:
    assert Hosts().allows(authority)


@pytest.mark.parametrize(
    "authority",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "evillocalhost", "evil"),
        *("127.0.0.1.evil.example", "127.0.0.1,evil.example", "localhost:8080@evil.example"),
        *("user@localhost", "localhost:", "localhost:port", "local host", "[::1", "::1", "[evil]"),
        *("127.0.0.1:8080:1", "/localhost", "localhost/", "xn--lcalhost-n2a", ".", "..", "127.1"),
        *("localhost..", "localhost\x00", "\u017flocalhost", "\uff4cocalhost"),
    ],
)
def test_other_names_and_what_is_no_name_are_not(authority: str) -> None:
    assert not Hosts().allows(authority)


def test_names_are_added_one_by_one_with_what_lies_below_them_or_all() -> None:
    hosts = Hosts(read_hosts("gpu-box, .Example.com, *.corp.test"))
    for ours in ("gpu-box:8080", "example.com", "a.b.EXAMPLE.com:1", "corp.test", "x.corp.test"):
        assert hosts.allows(ours), ours
    for foreign in ("gpu-box.example.org", "notexample.com", "example.com.evil.test", "box"):
        assert not hosts.allows(foreign), foreign
    assert Hosts(read_hosts("*")).allows("anything.example")


def test_a_flood_of_names_takes_no_memory() -> None:
    hosts = Hosts()
    for number in range(5000):
        assert not hosts.allows(f"{number}.evil.example")
    assert hosts.allows("localhost:8080")
    assert len(hosts._known) <= 1024


@pytest.mark.parametrize("text", ["http://x", "x:80", "a b", "x/", "**", "a..b", "[x]"])
def test_what_is_no_list_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(WireError, match="without a port"):
        read_hosts(text)


@pytest.mark.parametrize("text", ["example.com", "https://x/", "https://x/path", "https://*.x"])
def test_what_is_no_list_of_origins_is_refused(text: str) -> None:
    with pytest.raises(WireError, match="without a path"):
        read_origins(text)


def test_what_is_no_list_of_networks_is_refused() -> None:
    assert len(read_networks("127.0.0.1, 10.0.0.0/8,fd00::/8 ")) == 3
    with pytest.raises(WireError, match=r"10\.0\.0\.0/8"):
        read_networks("proxy.example")


@pytest.mark.parametrize(
    ("origin", "authority", "is_same"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://LOCALHOST:8080", "localhost:8080", True),
        ("https://penstock.example", "penstock.example", True),
        ("https://penstock.example", "penstock.example:443", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:3000", "localhost:8080", False),
        ("http://localhost", "localhost:8080", False),
        ("https://penstock.example", "penstock.example:80", False),
        ("https://penstock.example.evil.test", "penstock.example", False),
        ("null", "localhost:8080", False),
        ("null", "null", False),
        ("", "", False),
        ("file://", "localhost", False),
        ("http://localhost:8080/api/predict/demo", "localhost:8080", True),
        ("http://localhost:8080@evil.test", "localhost:8080", False),
        ("http://localhost:8080/@evil.test", "localhost:8080", False),
        ("http://evil.test/localhost:8080", "localhost:8080", False),
    ],
)
def test_a_page_is_ours_by_host_and_port(origin: str, authority: str, is_same: bool) -> None:
    assert is_same_origin(origin, authority) is is_same


def test_allowed_origins_are_compared_in_one_form() -> None:
    origins = Origins(read_origins("https://App.example.com:443, http://localhost:3000, null"))
    for allowed in ("https://app.example.com", "http://localhost:3000", "null"):
        assert origins.allows(allowed)
    for foreign in ("http://app.example.com", "https://app.example.com:8443", "https://x.test"):
        assert not origins.allows(foreign)
    assert not Origins().allows("null")
    assert Origins(read_origins("*")).allows("https://x.test")


_SITES = st.sampled_from(["", "none", "same-origin", "same-site", "cross-site", "new-word"])


@given(
    origin=st.sampled_from(["", "null", "https://evil.test", "http://localhost:8080", "x"]),
    site=_SITES,
    mode=st.sampled_from(["", "navigate", "cors", "no-cors", "websocket"]),
    destination=st.sampled_from(["", "document", "iframe", "image", "script"]),
    opens_page=st.booleans(),
)
def test_nothing_of_another_site_is_admitted_but_a_link_to_a_page(
    origin: str, site: str, mode: str, destination: str, opens_page: bool
) -> None:
    visit = Visit("localhost:8080", origin, site, mode, destination, opens_page)
    verdict = judge(visit, Hosts(), Origins())
    if origin:
        admitted = origin == "http://localhost:8080"
    elif site in ("", "none", "same-origin"):
        admitted = True
    else:
        admitted = opens_page and (mode, destination) == ("navigate", "document")
    assert (verdict is Verdict.ADMITTED) is admitted
