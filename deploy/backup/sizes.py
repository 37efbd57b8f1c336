"""Sizes and numbers as people read them."""

_KB, _MB, _GB = 1_000, 1_000_000, 1_000_000_000


def size(count_bytes: int) -> str:
    """Return a number of bytes as text."""
    if count_bytes < _MB:
        return f"{count_bytes / _KB:.1f} kB"
    if count_bytes < _GB:
        return f"{count_bytes / _MB:.1f} MB"
    return f"{count_bytes / _GB:.1f} GB"


def counted(uploads: int) -> str:
    """Return a number of uploaded files as text."""
    return f"{uploads} upload{'' if uploads == 1 else 's'}"
