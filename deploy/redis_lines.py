"""Which lines of a Redis server are worth a reader's time in the log of a local mode.

Redis has four levels, of which `#` is the highest, and uses it for its greetings too.
"""

import re

_LINE = re.compile(r"^\d+:[A-Z] .*? ([-.*#]) (.*)$")

#: What it says with its highest level at every start and every end.  The memory overcommit is
#: a setting of the machine that matters to a Redis that forks with gigabytes.
_EVERY_TIME = re.compile(
    r"Reading config from stdin|oO0OoO0OoO0Oo|(Redis|Valkey) version=|Configuration loaded"
    r"|Server initialized"
    r"|WARNING:? [Mm]emory overcommit|User requested shutdown"
    r"|(Redis|Valkey) is now ready to exit"
)
_SIGNAL = re.compile(r"^\d+:signal-handler ")


def is_worth_showing(line: str) -> bool:
    """Say whether this line is a warning or worse, or nothing that Redis' logger wrote."""
    match = _LINE.match(line)
    if match is None:
        return bool(line.strip()) and not _SIGNAL.match(line)
    level, text = match.groups()
    return level == "#" and not _EVERY_TIME.match(text)
