"""How long to wait before trying again: doubling, bounded, and spread out by chance."""

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays of full jitter: each is drawn between zero and a bound that doubles.

    Full jitter, because the many clients of a restarted service all begin to wait at the same
    moment, and only chance keeps them from all coming back at the same moment.

    first_s: the bound of the first delay, in seconds.  most_s: the bound of any delay.
    """

    first_s: float = 0.1
    most_s: float = 5.0
    tries: int = 0

    def next_delay_s(self) -> float:
        """Return the seconds to wait before the next try, and count that try."""
        # The exponent is capped: after a weekend of tries 2**tries would no longer be a float.
        bound = min(self.most_s, self.first_s * 2.0 ** min(self.tries, 60))
        self.tries += 1
        return random.uniform(0.0, bound)

    def reset(self) -> None:
        """Begin anew with the first delay."""
        self.tries = 0
