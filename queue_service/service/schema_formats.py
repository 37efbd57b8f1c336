"""The formats of texts that the service checks: with pydantic, as workers do."""

import datetime
import decimal
import fractions
import ipaddress
import uuid
from collections.abc import Callable
from typing import Any

from pydantic import AnyUrl, TypeAdapter, ValidationError

_TYPES: dict[str, Any] = {
    "date-time": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "duration": datetime.timedelta,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "fraction": fractions.Fraction,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uri": AnyUrl,
}
#: The longest text that is checked; longer ones are left to the worker.
MAX_CHARACTERS = 4096


def _check_of(kind: Any) -> Callable[[str], bool]:
    adapter = TypeAdapter(kind)

    def is_valid(text: str) -> bool:
        if len(text) > MAX_CHARACTERS:
            return True
        try:
            adapter.validate_python(text)
        except ValidationError:
            return False
        return True

    return is_valid


FORMAT_CHECKS = {name: _check_of(kind) for name, kind in _TYPES.items()}
