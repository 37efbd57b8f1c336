"""Sentences about a backup and a restore."""

from deploy.backup.restore import Restored
from deploy.backup.save import Saved
from deploy.backup.sizes import counted, size


def saved_line(saved: Saved) -> str:
    """Say what a backup has."""
    line = f"saved {saved.keys} keys ({size(saved.stored_bytes)}) and {saved.files} files"
    contents = saved.contents
    if contents.copied:
        line += f", and the contents of {counted(contents.copied)} ({size(contents.copied_bytes)})"
    line += f"; writes waited for {saved.paused_s:.2f} s"
    if contents.missing:
        line += f"; the contents of {counted(contents.missing)} are not in PENSTOCK_FILES_DIR"
    elif contents.listed and not contents.copied:
        line += (
            f"; without the contents of {counted(contents.listed)}: --no-files is given, or "
            "PENSTOCK_FILES_DIR is not set"
        )
    return line


def restored_line(restored: Restored) -> str:
    """Say what was restored."""
    line = f"restored {restored.keys} keys and {restored.files} files"
    if restored.contents:
        line += f", and the contents of {counted(restored.contents)}"
    line += f", saved at {restored.made_at}"
    if restored.left_out:
        line += f"; {len(restored.left_out)} files have no place here"
    if restored.without_place:
        line += (
            f"; the contents of {counted(restored.without_place)} have no place here: set "
            "PENSTOCK_FILES_DIR, and restore again"
        )
    elif restored.missing:
        line += (
            f"; {counted(restored.missing)} without content get 404: copy the contents into "
            "PENSTOCK_FILES_DIR"
        )
    return line
