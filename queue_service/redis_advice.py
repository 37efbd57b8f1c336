"""What an operator does about a Redis that takes no writes."""


def what_helps(reason: str) -> str:
    """Return a clause for the sentence with the reason that Redis gave; "" where none is known."""
    word = reason.removeprefix("-").partition(" ")[0]
    if word == "MISCONF" or "No space left on device" in reason:
        return (
            ": Redis cannot write to its disk; free space where its data is (the data directory of "
            "local mode), and it goes on by itself"
        )
    # The client library takes the word off the text of this one.
    if word == "OOM" or "used memory > 'maxmemory'" in reason:
        return ": Redis has reached its `maxmemory`; raise it, or let results be read or deleted"
    return ""
