"""Sentences about a backup and a restore."""

from deploy.backup.restore import Restored
from deploy.backup.save import Saved

_KB, _MB = 1_000, 1_000_000


def saved_line(saved: Saved) -> str:
    """Say what a backup has."""
    return (
        f"saved {saved.keys} keys ({_size(saved.stored_bytes)}) and {saved.files} files; "
        f"writes waited for {saved.paused_s:.2f} s"
    )


def restored_line(restored: Restored) -> str:
    """Say what was restored."""
    line = f"restored {restored.keys} keys and {restored.files} files, saved at {restored.made_at}"
    if restored.left_out:
        line += f"; {len(restored.left_out)} files have no place here"
    return line


def _size(count_bytes: int) -> str:
    is_small = count_bytes < _MB
    return f"{count_bytes / _KB:.1f} kB" if is_small else f"{count_bytes / _MB:.1f} MB"
