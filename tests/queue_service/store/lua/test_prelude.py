"""Scripts are composed of what they declare; what does not fit together is not loaded."""

import re
from pathlib import Path

import pytest
from lupa import lua51
from redis.asyncio import Redis

from queue_service.store.prelude import BadScript, Composer, read_sources
from tests.queue_service.store.lua.check import SCRIPTS

KEYS = """local SEP = '|'
"""
OWNERS = """-- owners
local function name(x) return x .. SEP end
return { name = name }
"""
RECORDS = """-- records
-- uses: owners
local changed = {}
local function write(x, text) changed[Owners.name(x)] = text end
local function flush()
    for x, text in pairs(changed) do redis.call('SET', x, text) end
end
return { write = write, flush = flush }
"""
EPILOGUE = """local function flush()
    for _, module in pairs(modules) do
        if not rawget(module, 'make') and module.flush then module.flush() end
    end
end
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prelude").mkdir()
    made = (SCRIPTS / "prelude" / "modules.lua").read_text()
    for name, text in {
        "keys": KEYS,
        "modules": made,
        "epilogue": EPILOGUE,
        "owners": OWNERS,
        "records": RECORDS,
    }.items():
        (tmp_path / "prelude" / f"{name}.lua").write_text(text)
    return tmp_path


def compose(folder: Path, script: str) -> str:
    (folder / "verb.lua").write_text(script)
    composer = Composer(folder)
    return composer.compose(composer.scripts["verb"])


def test_a_script_has_what_it_uses_and_what_that_uses_and_no_more(folder: Path) -> None:
    text = compose(folder, "-- verb\n-- uses: records\n-- writes\nRecords.write('a', 'b')\n")
    assert text.index("local Owners") < text.index("local Records")
    assert "local Records" not in compose(folder, "-- verb\n-- uses: owners\nOwners.name('a')\n")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("-- uses: groups\n", "verb.lua uses unknown modules: groups"),
        ("return Owners.name(1)\n", "verb.lua does not declare that it uses Owners"),
        ("return Qwners.name(1)\n", "verb.lua does not declare that it uses Qwners"),
        ("-- uses: owners\nreturn 'Owners.name'\n", "verb.lua declares and does not use Owners"),
        ("-- uses: owners\n-- Owners.name()\n", "verb.lua declares and does not use Owners"),
        ("-- uses: owners, owners\nOwners.name(1)\n", "verb.lua declares a module twice"),
        ("redis.call('SET', 'a', 1)\n", "verb.lua runs SET and lacks `-- writes`"),
    ],
)
def test_wrong_declarations_are_not_loaded(folder: Path, script: str, said: str) -> None:
    with pytest.raises(BadScript, match=re.escape(said)):
        compose(folder, f"-- verb\n{script}")


def test_modules_that_use_each_other_are_not_loaded(folder: Path) -> None:
    (folder / "prelude" / "owners.lua").write_text(
        "-- owners\n-- uses: records\nreturn { name = Records.write }\n"
    )
    with pytest.raises(BadScript, match="modules use each other"):
        compose(folder, "return 1\n")


async def test_what_a_script_puts_off_is_written_however_it_returns(
    folder: Path, redis_url: str, key_prefix: str
) -> None:
    script = compose(
        folder,
        "-- verb\n-- uses: records\n-- writes\nRecords.write(KEYS[1], ARGV[1])\n"
        "if ARGV[1] == 'early' then\n    return 'early'\nend\nreturn 'late'\n",
    )
    key = f"{key_prefix}:{{x}}:a"
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        for word in ("early", "late"):
            assert await redis.eval(script, 1, key, word) == word
            assert await redis.get(f"{key}|") == word
        await redis.delete(f"{key}|")


def test_every_script_compiles_and_a_small_one_is_small() -> None:
    lua = lua51.LuaRuntime()
    sources = read_sources()
    for source in sources.values():
        lua.compile(source)
    assert len(sources["renew"]) < len(sources["deliver"]) / 10
