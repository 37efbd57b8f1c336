"""Check the Lua scripts of the store, as luacheck would.

Run `python -m tests.queue_service.store.lua.check`.

Finds syntax errors (with a real Lua 5.1, the one inside Redis), names that nobody defines,
globals that a script sets, locals that nobody reads, functions that a module does not have or that
nobody calls, and scripts whose declarations are wrong: see queue_service/store/prelude.py.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luaparser import ast
from luaparser import astnodes as lua
from lupa import lua51

from queue_service.store.prelude import CORE, EPILOGUE, STANDING_ALONE, BadScript, Composer
from tests.queue_service.store.lua.effects import Effects
from tests.queue_service.store.lua.scopes import Local, Scopes

SCRIPTS = Path(__file__).parents[4] / "queue_service" / "store" / "lua"
#: What the loader puts between the files of a script.
OF_THE_LOADER = frozenset({"modules", "flush"})


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One thing that is wrong, and where."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def check(folder: Path) -> list[Finding]:
    """Return what is wrong with the scripts in `folder`; an empty list is good news."""
    paths = [*folder.glob("*.lua"), *(folder / "prelude").glob("*.lua")]
    texts = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths
    }
    if broken := [finding for file, text in texts.items() for finding in _compile(file, text)]:
        return sorted(broken)
    chunks = {file: ast.parse(text) for file, text in texts.items()}
    if not (folder / "prelude").exists():
        return sorted(
            finding for file, chunk in chunks.items() for finding in _Names().check(file, chunk)
        )
    try:
        composer = Composer(folder)
    except BadScript as error:
        return [Finding("declarations", 1, str(error))]
    return sorted({*_check_files(composer, chunks), *_check_whole(composer)})


def _compile(file: str, text: str) -> Iterator[Finding]:
    """Compile a file with Lua 5.1 and return what it refuses."""
    try:
        lua51.LuaRuntime(register_eval=False, register_builtins=False).compile(text)
    except lua51.LuaSyntaxError as refusal:
        place = re.search(r":(\d+): (.*)", str(refusal), re.DOTALL)
        line, said = (int(place[1]), place[2]) if place else (1, str(refusal))
        yield Finding(file, line, said)


def _check_whole(composer: Composer) -> Iterator[Finding]:
    """Compile whole scripts: Lua allows 200 locals and 60 upvalues in a function."""
    for name, script in composer.scripts.items():
        yield from _compile(f"{name}.lua, composed", composer.compose(script))


def _check_files(composer: Composer, chunks: dict[str, Any]) -> Iterator[Finding]:
    core = {f"prelude/{name}.lua": chunks[f"prelude/{name}.lua"] for name in CORE}
    modules = {f"prelude/{name}.lua": module for name, module in composer.modules.items()}
    scripts = {f"{name}.lua": script for name, script in composer.scripts.items()}
    variables = {module.variable: name for name, module in composer.modules.items()}
    names, effects = _Names(core), Effects(variables)
    for name, chunk in zip(CORE, core.values(), strict=True):
        effects.read(name, chunk)
    epilogue = f"prelude/{EPILOGUE}.lua"
    yield from names.check(epilogue, chunks[epilogue], OF_THE_LOADER)
    for file, source in (modules | scripts).items():
        given = {composer.modules[name].variable for name in source.uses}
        given |= {"flush"} if source.writes else set()
        yield from names.check(file, chunks[file], frozenset(given))
        effects.read(source.name if file in modules else file, chunks[file])
    yield from names.idle_in_core()
    yield from _check_fields(variables, chunks)
    for file, script in scripts.items():
        if effects.of(file) and not script.writes:
            yield Finding(file, 1, "it writes, and lacks `-- writes`")
        elif script.writes and not effects.of(file):
            yield Finding(file, 1, "it says `-- writes`, and writes nothing")


@dataclass
class _Names:
    """Checks the names in one file after the other; each sees the locals of the core."""

    core: dict[str, Any] = field(default_factory=dict)
    #: Locals of the core that no file has read so far.
    idle: set[tuple[str, int, str]] | None = None

    def check(
        self, file: str, chunk: Any, given: frozenset[str] = frozenset()
    ) -> Iterator[Finding]:
        """Yield what is wrong with the names in one file; `given`: what the loader declares."""
        scopes, of_core = Scopes(), []
        for name, core in self.core.items():
            before = len(scopes.locals)
            scopes.read(core)
            of_core += [(name, local) for local in scopes.locals[before:]]
            for line, said in scopes.complaints:
                yield Finding(name, line, said)
            scopes.complaints.clear()
        scopes.open[-1] += [Local(name, 0) for name in given]
        before = len(scopes.locals)
        scopes.read(chunk)
        for line, said in scopes.complaints:
            yield Finding(file, line, said)
        for local in scopes.locals[before:]:
            if _is_idle(local) and local.name not in OF_THE_LOADER:
                yield Finding(file, local.line, f"the local '{local.name}' is never read")
        idle = {(name, local.line, local.name) for name, local in of_core if _is_idle(local)}
        self.idle = idle if self.idle is None else self.idle & idle

    def idle_in_core(self) -> Iterator[Finding]:
        """Yield the locals of the core that no file reads."""
        for name, line, local in self.idle or ():
            # The loader's own text names this one.
            if local != "unmade":
                yield Finding(name, line, f"no script reads the local '{local}'")


def _check_fields(variables: dict[str, str], chunks: dict[str, Any]) -> Iterator[Finding]:
    """Compare what is called of the modules with what they have."""
    has = {name: _fields(chunks[f"prelude/{name}.lua"]) for name in variables.values()}
    called = {(name, "flush") for name in has}
    for file, chunk in chunks.items():
        nodes = list(ast.walk(chunk))
        definitions = {id(node.name) for node in nodes if isinstance(node, lua.Function)}
        for node in nodes:
            match node:
                case lua.Index(value=lua.Name(id=variable), idx=lua.Name(id=name)) if (
                    variable in variables
                ):
                    module = variables[variable]
                    called.add((module, name))
                    if name not in has[module]:
                        yield Finding(file, node.line or 1, f"'{variable}' has no '{name}'")
                case lua.Index(
                    value=lua.Index(value=lua.Name(id="modules"), idx=lua.Name(id=module)),
                    idx=lua.Name(id=name),
                ):
                    called.add((module, name))
                case lua.Index(value=lua.Name(id=own), idx=lua.Name(id=name)) if (
                    own == _returned(chunk) and id(node) not in definitions
                ):
                    called.add((Path(file).stem, name))
    for module, names in has.items():
        for name in names:
            if (module, name) not in called:
                yield Finding(f"prelude/{module}.lua", 1, f"nobody calls '{name}'")


def _returned(chunk: Any) -> str | None:
    """Return the name of the table that a module returns, if it has one."""
    last = chunk.body.body[-1] if chunk.body.body else None
    given = last.values[0] if isinstance(last, lua.Return) and last.values else None
    return given.id if isinstance(given, lua.Name) else None


def _fields(chunk: Any) -> set[str]:
    """Return the names that a module gives: those of the table that it returns."""
    fields: set[str] = set()
    for statement in chunk.body.body:
        match statement:
            case lua.Return(values=[lua.Table(fields=given)]):
                fields |= {one.key.id for one in given}
            # Rules come from outside; this table says which.
            case lua.LocalAssign(
                targets=[lua.Name(id="EXPECTED")], values=[lua.Table(fields=given)]
            ):
                fields |= {one.key.id for one in given}
            case lua.Function(name=lua.Index(value=lua.Name(id=table), idx=lua.Name(id=name))) if (
                table == _returned(chunk)
            ):
                fields.add(name)
    return fields


def _is_idle(local: Local) -> bool:
    return not local.is_read and not local.name.startswith("_")


def main() -> int:
    """Print what is wrong; the exit status is 1 if anything is."""
    folders = [SCRIPTS, *(SCRIPTS / name for name in STANDING_ALONE)]
    findings = [finding for folder in folders for finding in check(folder)]
    for finding in findings:
        print(finding)
    if not findings:
        count = len([path for folder in folders for path in folder.glob("*.lua")])
        print(f"{count} Lua scripts checked, nothing found.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
