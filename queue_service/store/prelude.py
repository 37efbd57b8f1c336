"""Composes each Lua script of the modules that it declares.

A script says at its top what it uses, and so does each module of the folder `prelude`:

    -- uses: entries, records
    -- writes

A file calls what it uses by a capitalized name: `records.lua` is `Records`, `request_ids.lua` is
`RequestIds`.  `keys.lua` and `modules.lua` are in front of every script.  A script that writes
says so, and `epilogue.lua` then runs behind it, however it returns.

What does not fit together raises BadScript when the scripts are loaded.
tests/queue_service/store/lua/check.py checks what needs a parser: names that nobody defines,
functions that a module does not have, and writes of a script that does not declare them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from importlib.resources.abc import Traversable

_USES = re.compile(r"^-- uses: ([\w, ]+(?:\n--  +[\w, ]+)*)$", re.MULTILINE)
_WRITES = re.compile(r"^-- writes$", re.MULTILINE)
_HEADER = re.compile(r"(?:--.*\n)*")
_COMMENT = re.compile(r"^\s*--.*\n|(?<=\S)\s+-- .*$", re.MULTILINE)
_TEXT = re.compile(r"'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"")
_MODULE = re.compile(r"(?<![.:\w])([A-Z]\w*[a-z]\w*)\s*\.")
_COMMAND = re.compile(r"redis\.p?call\('([A-Z]+)'")

#: What every script has in front of it, and what one that writes has too.
CORE, EPILOGUE = ("keys", "modules"), "epilogue"

#: The folders of the scripts that use no module.
STANDING_ALONE = ("registry", "webhooks")

#: The commands of the scripts that change nothing.
READING = frozenset(
    {"EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HSCAN", "LRANGE"}
    | {"MEMORY"}
    | {"PTTL", "TIME", "XLEN", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZRANGE"}
    | {"ZRANDMEMBER", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZREVRANGE", "ZREVRANGEBYLEX", "ZSCORE"}
)


class BadScript(Exception):
    """A script or a module of the prelude whose declarations are wrong."""


@dataclass(frozen=True)
class Source:
    """A Lua file and what it declares."""

    name: str
    text: str

    @cached_property
    def uses(self) -> tuple[str, ...]:
        """The modules that it declares."""
        found = _USES.search(self._header)
        return tuple(re.findall(r"\w+", found[1].replace("--", ""))) if found else ()

    @cached_property
    def writes(self) -> bool:
        """Whether it declares that it writes."""
        return _WRITES.search(self._header) is not None

    @cached_property
    def code(self) -> str:
        """Its text without comments, up to the end of its last line."""
        return _COMMENT.sub("", self.text).rstrip("\n") + "\n"

    @property
    def variable(self) -> str:
        """The name by which others call it."""
        return "".join(part.capitalize() for part in self.name.split("_"))

    @property
    def _header(self) -> str:
        found = _HEADER.match(self.text)
        return found[0] if found else ""

    def check(self, modules: Mapping[str, "Source"]) -> None:
        """Raise BadScript when it uses other modules than it declares."""
        if unknown := set(self.uses) - set(modules):
            raise BadScript(f"{self.name}.lua uses unknown modules: {_names(unknown)}")
        called = set(_MODULE.findall(_TEXT.sub("''", self.code)))
        declared = {modules[name].variable for name in self.uses}
        if missing := called - declared:
            raise BadScript(f"{self.name}.lua does not declare that it uses {_names(missing)}")
        if idle := declared - called:
            raise BadScript(f"{self.name}.lua declares and does not use {_names(idle)}")
        if len(self.uses) != len(declared):
            raise BadScript(f"{self.name}.lua declares a module twice: {', '.join(self.uses)}")

    def check_writes(self) -> None:
        """Raise BadScript when it runs a command that writes, and does not declare it."""
        commands = set(_COMMAND.findall(self.code)) - READING - {"PUBLISH"}
        if commands and not self.writes:
            raise BadScript(f"{self.name}.lua runs {_names(commands)} and lacks `-- writes`")


class Composer:
    """Puts scripts together from the files in one folder."""

    def __init__(self, folder: Traversable) -> None:
        prelude = {source.name: source for source in _sources(folder / "prelude")}
        self._core = "".join(prelude.pop(name).code for name in CORE)
        self._epilogue = prelude.pop(EPILOGUE).code
        self.modules = prelude
        self.scripts = {source.name: source for source in _sources(folder)}
        for source in (*self.modules.values(), *self.scripts.values()):
            source.check(self.modules)
        for script in self.scripts.values():
            script.check_writes()
        try:
            order = TopologicalSorter({name: one.uses for name, one in prelude.items()})
            self._order = tuple(order.static_order())
        except CycleError as error:
            raise BadScript(f"modules use each other: {' -> '.join(error.args[1])}") from None

    def compose(self, script: Source) -> str:
        """Return the whole text of a script."""
        needed = self._needed(script)
        if not needed:
            # No module, so nothing is put off either.
            return self._core + script.code
        # In a function of their own, modules reach what is before it as its upvalues.  To create
        # one over locals of the same function, Lua searches all that are captured so far.
        parts = [self._core, "local function run()\n"]
        for name in self._order:
            if name in needed:
                module = self.modules[name]
                parts.append(f"local {module.variable} = setmetatable({{ make = function()\n")
                parts.append(f"{module.code}end }}, unmade)\n")
        if script.writes:
            listed = ", ".join(f"{name} = {self.modules[name].variable}" for name in sorted(needed))
            parts.append(f"local modules = {{ {listed} }}\n{self._epilogue}")
            parts.append(f"local function script()\n{script.code}end\n")
            parts.append("local reply = script()\nflush()\nreturn reply\n")
        else:
            parts.append(script.code)
        parts.append("end\nreturn run()\n")
        return "".join(parts)

    def _needed(self, script: Source) -> set[str]:
        needed: set[str] = set()
        more = list(script.uses)
        while more:
            name = more.pop()
            if name not in needed:
                needed.add(name)
                more += self.modules[name].uses
        return needed


def read_sources() -> dict[str, str]:
    """Return the whole text of each script, by its name."""
    folder = files(__package__) / "lua"
    composer = Composer(folder)
    composed = {name: composer.compose(script) for name, script in composer.scripts.items()}
    # These do not work on a queue, so they stand alone.
    alone = {
        source.name: source.text for name in STANDING_ALONE for source in _sources(folder / name)
    }
    return composed | alone


def _sources(folder: Traversable) -> Iterator[Source]:
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".lua"):
            yield Source(file.name.removesuffix(".lua"), file.read_text())


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names))
