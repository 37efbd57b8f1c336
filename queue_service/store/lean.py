"""Leaves out of a verb's script what it does not use of the prelude.

Redis makes every function of a script anew at each call.  Most verbs need a few of the prelude's,
so the rest would be most of what a small call costs.

It relies on how the prelude is written: a piece begins at the first column and ends before the
next one that does; what a piece defines are its `local`s, or the function that it assigns.
"""

import re
from dataclasses import dataclass
from functools import cached_property

_PIECE = re.compile(r"^(?=[a-z])(?!end\b)", re.MULTILINE)
_LOCALS = re.compile(r"local ([A-Za-z_][\w, ]*?)\s*(?:=|--|$)", re.MULTILINE)
_FUNCTION = re.compile(r"(?:local )?function ([A-Za-z_]\w*)\s*\(")
_COMMENT = re.compile(r"^\s*--.*\n|(?<=\S)\s+-- .*$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Piece:
    """A statement of the prelude that stands at its first column."""

    text: str

    @cached_property
    def defines(self) -> frozenset[str]:
        """The names that it is there for; none when it is there for what it does."""
        if function := _FUNCTION.match(self.text):
            return frozenset((function[1],))
        if names := _LOCALS.match(self.text):
            return frozenset(name.strip() for name in names[1].split(","))
        return frozenset()

    @cached_property
    def names(self) -> frozenset[str]:
        """Every word in it that may be a name."""
        return frozenset(_NAME.findall(self.text))


def pieces_of(prelude: str) -> list[Piece]:
    """Take the prelude apart; what stands before its first piece are comments."""
    return [Piece(text) for text in _PIECE.split(_COMMENT.sub("", prelude)) if text.strip()]


def lean(prelude: list[Piece], verb: str) -> str:
    """Return the verb's text behind those pieces of the prelude that it needs, in their order.

    A piece is needed when something needed says a name that it defines, and always when it
    defines none.  A word in a text or a field of the same name keeps a piece too many, no harm.
    """
    kept = {number for number, piece in enumerate(prelude) if not piece.defines}
    names = set(_NAME.findall(_COMMENT.sub("", verb)))
    names.update(*(prelude[number].names for number in kept))
    while True:
        more = {
            number
            for number, piece in enumerate(prelude)
            if number not in kept and not names.isdisjoint(piece.defines)
        }
        if not more:
            break
        kept |= more
        names.update(*(prelude[number].names for number in more))
    return "".join(prelude[number].text for number in sorted(kept)) + "\n" + verb
