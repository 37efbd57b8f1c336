"""How long to wait before trying again: doubled each time, bounded, with full jitter."""

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays with full jitter: each is drawn between zero and a bound that doubles.

    All clients of a restarted service begin to wait at the same moment.  Without full jitter they
    would all come back at the same moment too.

    first_s: the bound of the first delay, in seconds.  most_s: the bound of any delay.
    """

    first_s: float = 0.1
    most_s: float = 5.0
    tries: int = 0

    def next_delay_s(self) -> float:
        """Return the seconds to wait before the next attempt, and count that attempt."""
        # The exponent is capped: after a weekend of attempts 2**tries would overflow a float.
        bound = min(self.most_s, self.first_s * 2.0 ** min(self.tries, 60))
        self.tries += 1
        return random.uniform(0.0, bound)

    def reset(self) -> None:
        """Start over with the first delay."""
        self.tries = 0
