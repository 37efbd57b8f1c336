"""Sentences about a backup and a restore."""

from deploy.backup.restore import Restored
from deploy.backup.save import Saved
from deploy.backup.sizes import size


def saved_line(saved: Saved) -> str:
    """Say what a backup has."""
    line = f"saved {saved.keys} keys ({size(saved.stored_bytes)}) and {saved.files} files"
    contents = saved.contents
    if contents.copied:
        line += f", and the contents of {contents.copied} uploads ({size(contents.copied_bytes)})"
    line += f"; writes waited for {saved.paused_s:.2f} s"
    if contents.missing:
        line += f"; the contents of {contents.missing} uploads are not in PENSTOCK_FILES_DIR"
    elif contents.listed and not contents.copied:
        line += (
            f"; without the contents of {contents.listed} uploads: --no-files is given, or "
            "PENSTOCK_FILES_DIR is not set"
        )
    return line


def restored_line(restored: Restored) -> str:
    """Say what was restored."""
    line = f"restored {restored.keys} keys and {restored.files} files"
    if restored.contents:
        line += f", and the contents of {restored.contents} uploads"
    line += f", saved at {restored.made_at}"
    if restored.left_out:
        line += f"; {len(restored.left_out)} files have no place here"
    if restored.without_place:
        line += (
            f"; the contents of {restored.without_place} uploads have no place here: set "
            "PENSTOCK_FILES_DIR, and restore again"
        )
    elif restored.missing:
        line += (
            f"; {restored.missing} uploads have no content and get 404: copy their contents into "
            "PENSTOCK_FILES_DIR"
        )
    return line
