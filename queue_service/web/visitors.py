"""The rules for web pages, as the settings have them: which hosts are ours, which pages may ask."""

from client_sdk.wire.browsers import Hosts, Origins, read_hosts, read_origins
from queue_service.settings.process import Settings


class Visitors:
    """The rules for web pages, as the settings have them."""

    def __init__(self, settings: Settings) -> None:
        hosts = {*read_hosts(settings.allowed_hosts), *_named_by(settings)}
        self.hosts = Hosts(hosts)
        self.origins = Origins(read_origins(settings.allowed_origins))


def _named_by(settings: Settings) -> list[str]:
    """Names that other settings have given this service already."""
    endpoints = settings.direct_endpoints.split(",")
    told = [endpoint.strip().rpartition(":")[0] for endpoint in endpoints]
    return [name.strip("[]") for name in (settings.host, *told) if name]
