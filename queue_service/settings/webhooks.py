"""The settings of webhooks: allowed networks and times."""

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from client_sdk.wire.browsers import read_networks


class WebhookSettings(BaseSettings):
    """Settings for the webhooks of every service."""

    webhook_networks: str = Field(
        "",
        description=(
            "Private networks that webhooks may reach, such as `10.0.0.0/8`, separated "
            "by commas; only there a URL may be plain http."
        ),
    )
    webhook_timeout_s: float = Field(
        15.0, gt=0, le=20, description="Longest time for a webhook's receiver to respond."
    )
    webhook_schedule_scale: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor of the pauses between attempts of a webhook, for tests.",
    )

    @field_validator("webhook_networks")
    @classmethod
    def _parses_as_networks(cls, text: str) -> str:
        read_networks(text)
        return text
