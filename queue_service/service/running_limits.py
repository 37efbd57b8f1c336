"""How many jobs of each account may run at once, as far as tokens limit it."""

import math
from collections.abc import Callable, Iterable, Mapping

from queue_service.service.access import Token


class RunningLimits:
    """The limits of the tokens of this moment, by account.  Accounts without one are left out."""

    def __init__(self, tokens: Callable[[], Mapping[str, Token]]) -> None:
        """tokens: returns another mapping after a change."""
        self._tokens = tokens
        self._of: Mapping[str, Token] = {}
        self._limits: Mapping[str, int] = {}

    def __call__(self) -> Mapping[str, int]:
        """Return them; they are computed once for each change of the tokens."""
        tokens = self._tokens()
        if tokens is not self._of:
            self._of, self._limits = tokens, running_limits(tokens.values())
        return self._limits


def running_limits(tokens: Iterable[Token]) -> dict[str, int]:
    """Return how many jobs may run at once, by account; accounts without a limit are left out.

    Of several tokens of one account the largest limit counts.  If one has none, none counts: the
    waiting jobs of both are counted together.
    """
    found: dict[str, float] = {}
    for token in tokens:
        most = token.limits.running or math.inf
        found[token.account] = max(found.get(token.account, 0), most)
    return {account: int(most) for account, most in found.items() if most != math.inf}
