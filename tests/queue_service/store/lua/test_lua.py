"""The store's scripts are clean Lua 5.1, and the check that says so finds what it should."""

from pathlib import Path

import pytest

from queue_service.store.prelude import STANDING_ALONE
from tests.queue_service.store.lua.check import SCRIPTS, check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prelude").mkdir()
    for name, text in {
        "keys": "local function now() return redis.call('TIME') end\n",
        "modules": "local unmade = {}\n",
        "epilogue": "local function flush() return modules end\n",
        "records": RECORDS,
        "gaps": "-- gaps\nlocal notes = {}\nfunction notes.of(x) return x end\nreturn notes\n",
    }.items():
        (tmp_path / "prelude" / f"{name}.lua").write_text(text)
    (tmp_path / "all.lua").write_text(
        "-- all\n-- uses: gaps, records\n-- writes\n"
        "return Records.read(Gaps.of(now())) .. Records.write(1)\n"
    )
    return tmp_path


RECORDS = """-- records: what is known.
local changed, known = {}, {}

local function read(x)
    known[x] = known[x] or redis.call('GET', x)
    return known[x]
end

local function write(x)
    changed[x] = read(x)
    return x
end

local function flush()
    for x, text in pairs(changed) do
        redis.call('SET', x, text)
    end
    changed = {}
end

return { read = read, write = write, flush = flush }
"""


def findings(folder: Path, script: str) -> list[str]:
    (folder / "verb.lua").write_text(script)
    return [str(finding) for finding in check(folder)]


def test_the_scripts_of_the_store_are_clean() -> None:
    assert [str(finding) for finding in check(SCRIPTS)] == []
    for name in STANDING_ALONE:
        assert [str(finding) for finding in check(SCRIPTS / name)] == []


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
        for _, key in ipairs(KEYS) do redis.call('GET', key) end
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
        "prelude/keys.lua:1: '<name>' expected near '='",
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


def test_a_name_that_every_script_has_may_idle_in_one_but_not_in_all(folder: Path) -> None:
    assert findings(folder, "return 1") == []
    (folder / "all.lua").unlink()
    assert "prelude/keys.lua:1: no script reads the local 'now'" in findings(folder, "return 1")


def test_a_function_that_a_module_does_not_have_and_one_that_nobody_calls_are_found(
    folder: Path,
) -> None:
    assert findings(folder, "-- verb\n-- uses: gaps\nreturn Gaps.at(now())") == [
        "verb.lua:3: 'Gaps' has no 'at'"
    ]
    (folder / "all.lua").write_text("-- all\n-- uses: records\nreturn Records.read(now())")
    assert findings(folder, "return 1") == [
        "prelude/gaps.lua:1: nobody calls 'of'",
        "prelude/records.lua:1: nobody calls 'write'",
    ]


@pytest.mark.parametrize(
    "script",
    [
        "redis.call(ARGV[1], KEYS[1])",
        "local function put(key) redis.call(ARGV[1], key) end\nput(KEYS[1])",
        # It puts a write off, which nothing would write.
        "Records.write(KEYS[1])",
    ],
)
def test_a_script_that_writes_has_to_say_so(folder: Path, script: str) -> None:
    uses = "-- uses: records\n" if "Records" in script else ""
    found = ["verb.lua:1: it writes, and lacks `-- writes`"]
    assert findings(folder, f"-- verb\n{uses}{script}\nreturn 1") == found
    assert findings(folder, f"-- verb\n{uses}-- writes\n{script}\nreturn 1") == []


def test_a_script_that_only_reads_may_not_say_that_it_writes(folder: Path) -> None:
    script = "-- verb\n-- uses: records\n{}return Records.read(KEYS[1])"
    assert findings(folder, script.format("")) == []
    assert findings(folder, script.format("-- writes\n")) == [
        "verb.lua:1: it says `-- writes`, and writes nothing"
    ]


def test_what_the_loader_refuses_is_found(folder: Path) -> None:
    assert findings(folder, "return Gaps.of(now())") == [
        "declarations:1: verb.lua does not declare that it uses Gaps"
    ]
