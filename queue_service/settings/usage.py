"""The settings of usage and of the audit log: how long they are kept, and prices."""

from pydantic import Field
from pydantic_settings import BaseSettings

_DAY_MS = 86_400_000


class UsageSettings(BaseSettings):
    """Settings of usage and of the audit log."""

    usage_days: int = Field(
        90, ge=1, le=3660, description="How long the usage of each hour is kept, in days."
    )
    price_gpu_second: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="Price of a GPU second, in a currency of your choice; see Usage.",
    )
    price_1k_prompt_tokens: float = Field(
        0.0, ge=0, le=1e9, description="Price of a thousand tokens of prompts."
    )
    price_1k_completion_tokens: float = Field(
        0.0, ge=0, le=1e9, description="Price of a thousand tokens of outputs."
    )

    audit_days: int = Field(
        90, ge=1, le=3660, description="How long entries of the audit log are kept, in days."
    )
    audit_entries: int = Field(
        10_000, ge=1, le=10_000_000, description="Maximum number of entries of the audit log."
    )

    @property
    def audit_ms(self) -> int:
        """How long entries of the audit log are kept, in ms."""
        return self.audit_days * _DAY_MS

    @property
    def usage_ms(self) -> int:
        """How long the usage of each hour is kept, in ms."""
        return self.usage_days * _DAY_MS
