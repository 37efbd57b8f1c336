"""What a decoder raises when bytes from a socket are not what the protocol promises."""


class WireError(ValueError):
    """Bytes or text that do not follow the protocol.

    The sentence says what was expected and what came, so that a border can pass it on as it is.
    """

    code = "BAD_MESSAGE"

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, got {came}")
        self.expected = expected
        self.came = came
