"""The port of a local mode that starts programs, and web pages that look for it."""

from tests.deploy.local_mode import StartUp, status


def test_no_page_reaches_the_port_that_starts_programs_even_with_its_token(
    start_up: StartUp,
) -> None:
    running = start_up("--workers", "0").ready()
    url, token = f"{running.control_url}/services", running.control_token
    assert status(url, token) == 200
    assert status(url, token, Host="evil.example") == 421
    assert status(url, token, Origin="http://evil.example") == 403
    assert status(url, token, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate") == 403
