"""What the commands print: without control characters on a terminal, and complete or not at all.

Standard output carries results.  A function that writes there returns when everything is written,
and raises CannotPrint otherwise; a command that consumes a result deletes it only afterwards.
Standard error carries notes; a note that cannot be written is dropped.
"""

import json
import os
import sys
import textwrap
from contextlib import suppress
from typing import TextIO

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from client_sdk.plain_text import harmless, one_line, safe_json
from client_sdk.steady_output import steady
from deploy.errors import CannotPrint, ReaderLeft

#: Columns of a table that goes to a file: wide enough to cut nothing off.
_WIDTH = 200


def say(text: object = "") -> None:
    """Print a line for people."""
    _write(f"{harmless(str(text))}\n")


def say_json(document: object) -> None:
    """Print a document as one line of JSON, in ASCII where the encoding has not every character."""
    line = json_line(document)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(document)
    _write(f"{line}\n")


def show_parts(*parts: RenderableType) -> None:
    """Print tables and texts; cuts nothing off when standard output is not a terminal."""
    # Clients wrote some of these texts: they must not act as markup or as emoji codes.
    console = Console(markup=False, emoji=False, highlight=False, width=columns())
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    _write(captured.get())


def new_table(*heads: str) -> Table:
    """Return a table that fits narrow terminals: only its last column wraps."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in heads[:-1]:
        table.add_column(name, no_wrap=True, overflow="fold")
    table.add_column(heads[-1], overflow="fold")
    return table


def say_wrapped(text: str, *, indent: int) -> None:
    """Print a text that a client wrote, indented, in lines that fit the terminal."""
    for line in textwrap.wrap(one_line(text), max(20, columns() - indent), break_on_hyphens=False):
        say(" " * indent + line)


def cells(*values: object) -> list[str]:
    """Return the cells of a row, each of them one line."""
    return [one_line(str(value)) for value in values]


def write_text(text: str) -> None:
    """Print a piece of text: as it is, or harmless on a terminal."""
    _write(harmless(text) if is_terminal() else text)


def write_payload(data: bytes, *, between: bool = False) -> None:
    """Print a result: exactly its bytes, but harmless text on a terminal.

    between: end it with a line end in a pipe too, because it is one of several.
    """
    if is_terminal():
        text = data.decode(errors="replace")
        write_text(text if text.endswith("\n") else f"{text}\n")
    else:
        _write(data + b"\n" if between else data)


def note(text: str, *, colour: str | None = None) -> bool:
    """Print a line on standard error; return whether it was written."""
    # A note that fails must not end the command.
    try:
        typer.secho(harmless(text), fg=colour, err=True)
    except (OSError, ValueError):
        return False
    return sys.stderr is not None


def note_console() -> Console:
    """Return a console for progress, on standard error, whose failures are ignored."""
    file = sys.stderr
    # Tests replace standard error by a file without a descriptor.
    with suppress(OSError, ValueError, AttributeError):
        file = steady(sys.stderr, sys.stderr.fileno())
    return Console(file=file, markup=False, emoji=False, highlight=False)


def columns() -> int:
    """Return how wide a line may be."""
    return Console().width if is_terminal() else _WIDTH


def is_terminal() -> bool:
    """Say whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def json_line(document: object) -> str:
    """Return a document as one line of JSON without control characters."""
    return safe_json(json.dumps(document, ensure_ascii=False))


def _write(text: str | bytes) -> None:
    stream = sys.stdout
    if stream is None:
        raise CannotPrint("it is closed")
    try:
        stream.flush()
        stream.buffer.write(text if isinstance(text, bytes) else _encoded(text, stream))
        stream.buffer.flush()
    except BrokenPipeError as error:
        _drop_the_rest(stream)
        raise ReaderLeft from error
    except (OSError, ValueError) as error:
        _drop_the_rest(stream)
        raise CannotPrint(getattr(error, "strerror", None) or str(error)) from error


def _encoded(text: str, stream: TextIO) -> bytes:
    # The encoding, such as that of a Windows console, may lack a character; escape it.
    return text.encode(stream.encoding or "utf-8", "backslashreplace")


def _drop_the_rest(stream: TextIO) -> None:
    """Discard further output: Python would fail again when it closes the stream."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
