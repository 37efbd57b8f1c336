"""The port of a local mode that starts programs, and web pages that look for it."""

import urllib.error
import urllib.request

from tests.deploy.local_mode import StartUp


def status(url: str, token: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers={"Authorization": token, **named})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_no_page_reaches_the_port_that_starts_programs_even_with_its_token(
    start_up: StartUp,
) -> None:
    running = start_up("--workers", "0").ready()
    url, token = f"{running.control_url}/services", running.control_token
    assert status(url, token) == 200
    assert status(url, token, Host="evil.example") == 421
    assert status(url, token, Origin="http://evil.example") == 403
    assert status(url, token, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate") == 403
