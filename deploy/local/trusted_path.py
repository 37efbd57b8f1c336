"""Check that only we can change a directory, because its files start programs and hold tokens.

The rules are those of ssh and sudo: every directory from the root down, and everything inside,
belongs to us or to root, and only its owner can write to it.  Others may write to a parent that is
sticky, such as /tmp, because they cannot rename or remove our files there.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from deploy.errors import UntrustedPath


def check_trusted(path: Path) -> None:
    """Raise UntrustedPath when another user can change this directory; it need not exist yet."""
    to_look_at, seen = [path], set()
    while to_look_at:
        one = to_look_at.pop()
        ways = (one.absolute(), one.resolve())
        if ways in seen:
            continue
        seen.add(ways)
        for part in dict.fromkeys(part for way in ways for part in (*reversed(way.parents), way)):
            _check(part, above=part not in ways)
        to_look_at += _check_inside(one.resolve())


def _check_inside(top: Path) -> list[Path]:
    """Check everything in a directory; return where its symbolic links lead."""
    links = []
    # If others cannot enter the directory, the modes inside do not matter; a umask may be 002.
    is_shut = top.is_dir() and not top.stat().st_mode & 0o077
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder) / name
            _check(path, above=False, owner_only=is_shut)
            if path.is_symlink():
                links.append(path.resolve())
    return links


def check_secret(path: Path) -> None:
    """Raise UntrustedPath when others can read this file."""
    mode = path.stat().st_mode
    if mode & (stat.S_IRGRP | stat.S_IROTH) and not _is_private(path.stat()):
        raise UntrustedPath(path, f"which others can read ({_octal(mode)})", "chmod go-rwx")


def _check(path: Path, *, above: bool, owner_only: bool = False) -> None:
    """above: a directory on the way, which may be sticky."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        # It does not exist yet, or was a temporary file.
        return
    if found.st_uid not in (0, os.geteuid()):
        raise UntrustedPath(path, f"which belongs to {_name(found.st_uid)}", "")
    # The mode of a link means nothing; its target is checked separately.
    if owner_only or stat.S_ISLNK(found.st_mode) or (above and found.st_mode & stat.S_ISVTX):
        return
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_mine(found)):
        what = f"to which others can write ({_octal(found.st_mode)})"
        raise UntrustedPath(path, what, "chmod go-w")


def _is_private(found: os.stat_result) -> bool:
    return not found.st_mode & stat.S_IROTH and _is_mine(found)


def _is_mine(found: os.stat_result) -> bool:
    """Say whether the group is private to its user, as on many systems."""
    try:
        owner, group = pwd.getpwuid(found.st_uid), grp.getgrgid(found.st_gid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def _name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (user {uid})"
    except KeyError:
        return f"user {uid}"


def _octal(mode: int) -> str:
    return f"mode {stat.S_IMODE(mode):04o}"
