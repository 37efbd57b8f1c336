"""The settings for web pages: which hosts are ours, and which origins may send requests."""

from client_sdk.wire.browsers import Hosts, Origins, read_hosts, read_origins
from queue_service.settings.process import Settings


class Visitors:
    """The hosts and origins that the settings allow."""

    def __init__(self, settings: Settings) -> None:
        hosts = {*read_hosts(settings.allowed_hosts), *_named_by(settings)}
        self.hosts = Hosts(hosts)
        self.origins = Origins(read_origins(settings.allowed_origins))


def _named_by(settings: Settings) -> list[str]:
    """Return the names of this service in other settings."""
    endpoints = settings.direct_endpoints.split(",")
    hosts = [endpoint.strip().rpartition(":")[0] for endpoint in endpoints]
    return [name.strip("[]") for name in (settings.host, *hosts) if name]
