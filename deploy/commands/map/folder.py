"""A folder as the input of `penstock map`: its files, and the names of their results.

A result has the name of its file, with the extension of what it is.  Where two files would have one
result, such as `cat.png` and `cat.jpg`, each result keeps the whole name: `cat.png.json`.
"""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deploy.errors import BadInputFile


@dataclass(frozen=True, slots=True)
class FolderFile:
    """One version of a file.  name: its path below the folder, with slashes."""

    name: str
    size_bytes: int
    mtime_ns: int


def files_in(folder: Path, *, without: Path) -> Iterator[FolderFile]:
    """Yield the files of a folder and its subfolders, in order; raises BadInputFile.

    without: a folder that is left out.  Names that begin with a dot are left out too, as is what is
    no file, such as a pipe.  A link to nothing is yielded: reading it fails.
    """

    def fail(error: OSError) -> None:
        raise BadInputFile(f"cannot read {error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(
            one
            for one in folders
            if not one.startswith(".") and not _is_same(Path(place, one), without)
        )
        for name in sorted(names):
            if not name.startswith("."):
                yield from _file(folder, Path(place, name))


def _file(folder: Path, path: Path) -> Iterator[FolderFile]:
    name = path.relative_to(folder).as_posix()
    try:
        found = path.stat()
    except OSError:
        yield FolderFile(name, 0, 0)
        return
    if stat.S_ISREG(found.st_mode):
        yield FolderFile(name, found.st_size, found.st_mtime_ns)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def result_names(new: Iterable[str], taken: Mapping[str, str]) -> dict[str, str]:
    """Return, by the name of each new file, that of its result without an extension.

    taken: by the names of other files, the whole names of their results, which stay.
    """
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in new:
        by_folder[str(PurePosixPath(name).parent)].append(name)
    # Two names that differ in case are one file on some systems.
    results = {_stem(result).casefold() for result in taken.values()}
    results |= {result.casefold() for result in taken.values()}
    stems = Counter(_stem(name).casefold() for name in {*taken, *(one for one in new)})
    found: dict[str, str] = {}
    for names in by_folder.values():
        found |= _names_of_folder(names, results, stems)
    return found


def _names_of_folder(names: list[str], taken: set[str], stems: Counter[str]) -> dict[str, str]:
    short = {
        name
        for name in names
        if stems[_stem(name).casefold()] == 1 and _stem(name).casefold() not in taken
    }
    while True:
        bases = {name: _stem(name) if name in short else name for name in names}
        count = Counter(base.casefold() for base in bases.values())
        clashing = {name for name in short if count[bases[name].casefold()] > 1}
        if not clashing:
            break
        # Such as `a.png.txt` beside `a.png` and `a.jpg`.
        short -= clashing
    used = set(taken)
    for name in names:
        base, number = bases[name], 2
        while base.casefold() in used:
            base, number = f"{bases[name]}-{number}", number + 1
        bases[name] = base
        used.add(base.casefold())
    return bases


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.stem))
