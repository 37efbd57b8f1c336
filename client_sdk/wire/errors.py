"""The exception for bytes or text that do not follow the protocol."""


class WireError(ValueError):
    """Bytes or text that do not follow the protocol.

    The sentence says what was expected and what arrived, so callers can pass it on unchanged.
    """

    code = "BAD_MESSAGE"

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, got {came}")
        self.expected = expected
        self.came = came
