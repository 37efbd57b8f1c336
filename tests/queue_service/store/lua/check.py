"""Check the Lua scripts of the store, as luacheck would.

Run `python -m tests.queue_service.store.lua.check`.

Finds syntax errors (with a real Lua 5.1, the one inside Redis), names that nobody defines,
globals that a script sets, and locals that nobody reads.  Redis runs each verb with
the prelude in front of it, so the two are checked as one chunk; a local of the prelude may
be idle in one verb, but not in all of them.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luaparser import ast
from lupa import lua51

from queue_service.store import scripts
from tests.queue_service.store.lua.scopes import Local, Scopes

SCRIPTS = Path(__file__).parents[4] / "queue_service" / "store" / "lua"
#: How the findings call the prelude, which is one text made of several files.
PRELUDE = "prelude"


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
    sources = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.lua")}
    prelude = read_prelude(folder)

    broken = syntax_errors(prelude, sources)
    if broken:
        return broken

    opening = ast.parse(prelude) if prelude else None
    findings: set[Finding] = set()
    idle: set[tuple[int, str]] | None = None
    for name, source in sorted(sources.items()):
        from_verb, from_prelude, unread = _check_verb(name, opening, ast.parse(source))
        findings |= from_verb | from_prelude
        idle = unread if idle is None else idle & unread

    findings |= {
        Finding(PRELUDE, line, f"no verb uses the local '{name}'") for line, name in idle or ()
    }
    return sorted(findings)


def read_prelude(folder: Path) -> str:
    """Return the prelude of the scripts in `folder`, "" when it has none."""
    parts = folder / "prelude"
    return "\n".join(
        (parts / f"{name}.lua").read_text(encoding="utf-8")
        for name in scripts.PRELUDE
        if (parts / f"{name}.lua").exists()
    )


def syntax_errors(prelude: str, sources: dict[str, str]) -> list[Finding]:
    """Compile each verb behind the prelude with Lua 5.1 and return what it refuses."""
    findings = set()
    lines_before = prelude.count("\n") + 1 if prelude else 0
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    for name, source in sources.items():
        try:
            lua.compile(f"{prelude}\n{source}" if prelude else source)
        except lua51.LuaSyntaxError as refusal:
            place = re.search(r":(\d+): (.*)", str(refusal), re.DOTALL)
            line, text = (int(place[1]), place[2]) if place else (1, str(refusal))
            if line <= lines_before:
                findings.add(Finding(PRELUDE, line, text))
            else:
                findings.add(Finding(name, line - lines_before, text))
    return sorted(findings)


def _check_verb(
    name: str, prelude: Any, verb: Any
) -> tuple[set[Finding], set[Finding], set[tuple[int, str]]]:
    """Return findings in the verb, findings in the prelude, and the prelude's unread locals."""
    scopes = Scopes()
    if prelude is not None:
        scopes.read(prelude)
    in_prelude = {Finding(PRELUDE, line, text) for line, text in scopes.complaints}
    of_prelude = list(scopes.locals)

    scopes.complaints.clear()
    scopes.read(verb)
    in_verb = {Finding(name, line, text) for line, text in scopes.complaints}
    in_verb |= {
        Finding(name, local.line, f"the local '{local.name}' is never read")
        for local in scopes.locals[len(of_prelude) :]
        if _is_idle(local)
    }
    return (
        in_verb,
        in_prelude,
        {(local.line, local.name) for local in of_prelude if _is_idle(local)},
    )


def _is_idle(local: Local) -> bool:
    return not local.is_read and not local.name.startswith("_")


def main() -> int:
    """Print what is wrong; the exit status is 1 if anything is."""
    # The registry's scripts have no prelude in front of them.
    findings = check(SCRIPTS) + check(SCRIPTS / "registry")
    for finding in findings:
        print(finding)
    if not findings:
        count = len([*SCRIPTS.glob("*.lua"), *SCRIPTS.glob("registry/*.lua")])
        print(f"{count} Lua scripts checked, nothing found.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
