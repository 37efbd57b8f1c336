"""What is left out of a script is nothing that it needs."""

from luaparser import ast, astnodes
from lupa import lua51

from queue_service.store.lean import lean, pieces_of
from queue_service.store.scripts import read_prelude, read_sources

PRELUDE = """-- prelude: what everybody needs
local SEP = '|'
local A, B = 1, 2 -- two at once

-- Says b.
local function b()
    return B
end

local function c()
    return b() .. SEP
end

local table = {
    field = 1,
}
redis.call('PING')
"""


def _kept(verb: str) -> str:
    return lean(pieces_of(PRELUDE), verb)


def test_a_piece_stays_with_whatever_needs_it() -> None:
    text = _kept("return c()\n")
    assert all(name in text for name in ("function c", "function b", "local A, B", "local SEP"))
    assert "local table" not in text


def test_what_nobody_names_goes_and_what_only_acts_stays() -> None:
    text = _kept("return 1\n")
    assert text.split() == ["redis.call('PING')", "return", "1"]


def test_pieces_stay_in_their_order() -> None:
    text = _kept("return c() .. table.field\n")
    places = [text.index(name) for name in ("SEP =", "A, B", "function b", "function c", "table =")]
    assert places == sorted(places)


def test_a_name_in_a_comment_keeps_nothing() -> None:
    assert "function b" not in _kept("-- b() would be too much\nreturn 1 -- b\n")


def test_a_piece_is_known_by_every_name_that_it_defines() -> None:
    prelude = read_prelude()
    body = ast.parse(prelude).body.body
    defined = {
        name.id
        for statement in body
        for name in (
            [statement.name]
            if isinstance(statement, astnodes.LocalFunction)
            else statement.targets
            if isinstance(statement, astnodes.LocalAssign)
            else []
        )
    }
    assert {name for piece in pieces_of(prelude) for name in piece.defines} == defined


def test_every_script_compiles_and_a_small_verb_is_small() -> None:
    lua = lua51.LuaRuntime()
    sources = read_sources()
    for source in sources.values():
        lua.compile(source)
    assert len(sources["renew"]) < len(read_prelude()) / 3
