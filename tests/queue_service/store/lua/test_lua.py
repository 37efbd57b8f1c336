"""The store's scripts are clean Lua 5.1, and the check that says so finds what it should."""

from pathlib import Path

import pytest

from tests.queue_service.store.lua.check import SCRIPTS, check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prelude").mkdir()
    (tmp_path / "prelude" / "keys.lua").write_text(
        "local function now() return redis.call('TIME') end\n"
    )
    return tmp_path


def findings(folder: Path, script: str) -> list[str]:
    (folder / "verb.lua").write_text(script)
    return [str(finding) for finding in check(folder)]


def test_the_scripts_of_the_store_are_clean() -> None:
    assert [str(finding) for finding in check(SCRIPTS)] == []


def test_a_clean_verb_has_no_findings(folder: Path) -> None:
    script = """
        local count, total = tonumber(ARGV[1]), 0
        local seen = {}
        for i = 1, count do
            local function add(n) total = total + n end
            add(i)
            seen[KEYS[i]] = {name = total, [now()] = #seen}
        end
        repeat local done = total > 0; total = total - 1 until done
        for _, key in ipairs(KEYS) do redis.call('DEL', key) end
        return string.format('%s', seen[1]):upper()
    """
    assert findings(folder, script) == []


def test_a_syntax_error_is_found_at_its_line(folder: Path) -> None:
    assert findings(folder, "return 1\nlocal") == [
        "verb.lua:2: '<eof>' expected near 'local'",
    ]


def test_a_syntax_error_of_the_prelude_is_not_blamed_on_the_verb(folder: Path) -> None:
    (folder / "prelude" / "keys.lua").write_text("local = 1\n")
    assert findings(folder, "return 1") == [
        "prelude:1: '<name>' expected near '='",
    ]


def test_lua_that_redis_does_not_speak_is_refused(folder: Path) -> None:
    assert findings(folder, "return now() // 2") == ["verb.lua:1: unexpected symbol near '/'"]


def test_a_name_that_nobody_defines_is_found(folder: Path) -> None:
    assert findings(folder, "now()\nreturn os.time() + KEYS.os") == [
        "verb.lua:2: nobody defines 'os'"
    ]


def test_a_name_is_unknown_before_its_declaration_and_after_its_block(folder: Path) -> None:
    script = "do local a = now() return a end\nreturn a"
    assert findings(folder, script.replace("return a end", "redis.log(a) end")) == [
        "verb.lua:2: nobody defines 'a'"
    ]
    assert findings(folder, "local b = b or now()\nreturn b") == ["verb.lua:1: nobody defines 'b'"]


def test_a_global_that_a_script_sets_is_found(folder: Path) -> None:
    assert findings(folder, "result = now()\nfunction twice() end") == [
        "verb.lua:1: 'result' is set as a global",
        "verb.lua:2: 'twice' is set as a global",
    ]


def test_a_local_that_is_only_written_to_is_found(folder: Path) -> None:
    assert findings(folder, "local n = now()\nn = 2\nlocal _n = 3\nreturn 1") == [
        "verb.lua:1: the local 'n' is never read"
    ]


def test_a_prelude_local_may_idle_in_one_verb_but_not_in_all(folder: Path) -> None:
    assert findings(folder, "return 1") == ["prelude:1: no verb uses the local 'now'"]

    (folder / "other.lua").write_text("return now()")
    assert findings(folder, "return 1") == []
