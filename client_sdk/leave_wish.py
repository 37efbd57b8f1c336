"""A worker's request to leave, sent once per connection if the service understands it."""


class LeaveWish:
    """Sent once on each connection to a service that understands it."""

    def __init__(self) -> None:
        self.is_understood = False
        self._is_made = False
        self._is_unsent = False

    def make(self) -> bool:
        """Wish to leave; False if the service does not understand it."""
        if self.is_understood:
            self._is_made = self._is_unsent = True
        return self.is_understood

    def connected(self, *, is_understood: bool) -> None:
        """Note a new connection, to which the wish was not sent."""
        self.is_understood, self._is_unsent = is_understood, self._is_made

    def take_unsent(self) -> bool:
        """Say whether the wish must be sent now; it is sent after that."""
        unsent, self._is_unsent = self._is_unsent and self.is_understood, False
        return unsent
