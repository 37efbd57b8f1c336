"""Reports of what tokens have used: rows added up by service, token, owner and time.  Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from queue_service.settings.usage import UsageSettings
from queue_service.store.usage import COLUMNS, HOUR_MS, UsageRow

#: The names of the numbers in a report, in the order of COLUMNS.
FIGURES = (
    *("succeeded", "failed", "canceled", "expired"),
    *("deliveries", "worker_ms", "gpu_ms"),
    *("wasted_deliveries", "wasted_worker_ms", "wasted_gpu_ms"),
    *("started", "wait_ms"),
    *("bytes_in", "bytes_out", "prompt_tokens", "completion_tokens"),
)
_GPU_MS, _PROMPT, _COMPLETION = map(
    COLUMNS.index, ("counted_gpu_ms", "prompt_tokens", "completion_tokens")
)


class By(StrEnum):
    """What a report has separate rows for."""

    SERVICE = "service"
    TOKEN = "token"
    OWNER = "owner"
    HOUR = "hour"
    DAY = "day"


class TooManyRows(Exception):
    """A report would have more rows than its reader may ask for."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a GPU second and a thousand tokens cost; 0 is nothing."""

    gpu_second: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0

    @classmethod
    def of(cls, settings: UsageSettings) -> "Prices":
        """Read them from the settings."""
        return cls(
            settings.price_gpu_second,
            settings.price_1k_prompt_tokens,
            settings.price_1k_completion_tokens,
        )

    def cost(self, numbers: Sequence[int]) -> float:
        """Return what these numbers cost: runs that were wasted cost nothing."""
        return (
            numbers[_GPU_MS] * self.gpu_second
            + numbers[_PROMPT] * self.prompt_tokens
            + numbers[_COMPLETION] * self.completion_tokens
        ) / 1000


class Report:
    """Adds up rows.  most: of the report; one more raises TooManyRows."""

    def __init__(self, by: Sequence[By], prices: Prices, *, most: int) -> None:
        self._by = by
        self._prices = prices
        self._most = most
        self._sums: dict[tuple[str, ...], list[int]] = {}

    def add(self, service: str, rows: Iterable[UsageRow]) -> None:
        """Add rows of a service; raises TooManyRows."""
        for row in rows:
            key = tuple(_value(by, service, row) for by in self._by)
            if (sums := self._sums.get(key)) is None:
                if len(self._sums) == self._most:
                    raise TooManyRows
                sums = self._sums[key] = [0] * len(COLUMNS)
            for place, number in enumerate(row.numbers):
                sums[place] += number

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each value of what the report is by, in their order."""
        return [
            {**dict(zip(self._by, key, strict=True)), **self._described(sums)}
            for key, sums in sorted(self._sums.items())
        ]

    def total(self) -> dict[str, object]:
        """Return the sums of all rows."""
        columns = zip(*self._sums.values(), strict=True)
        return self._described([sum(column) for column in columns] or [0] * len(COLUMNS))

    def _described(self, sums: Sequence[int]) -> dict[str, object]:
        named: dict[str, object] = dict(zip(FIGURES, sums, strict=True))
        return named | {"cost": round(self._prices.cost(sums), 6)}


def _value(by: By, service: str, row: UsageRow) -> str:
    match by:
        case By.SERVICE:
            return service
        case By.TOKEN:
            return row.token
        case By.OWNER:
            return row.owner
        case By.HOUR:
            return moment(row.hour * HOUR_MS)
        case By.DAY:
            return moment(row.hour * HOUR_MS)[:10]


def moment(at_ms: int) -> str:
    """Return a time as a report shows it, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
