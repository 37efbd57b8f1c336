"""Sentences about a backup and a restore."""

from deploy.backup.restore import Restored
from deploy.backup.save import Saved

_MB = 1_000_000


def saved_line(saved: Saved) -> str:
    """Say what a backup has."""
    return (
        f"saved {saved.keys} keys ({saved.stored_bytes / _MB:.1f} MB) and {saved.files} files; "
        f"writes waited for {saved.paused_s:.2f} s"
    )


def restored_line(restored: Restored) -> str:
    """Say what was restored."""
    line = f"restored {restored.keys} keys and {restored.files} files of {restored.made_at}"
    if restored.left_out:
        line += f"; {len(restored.left_out)} files have no place here"
    return line
