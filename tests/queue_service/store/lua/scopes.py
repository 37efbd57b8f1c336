"""Which name of a Lua script means what: a walk over its tree, with the scopes of Lua 5.1."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from luaparser import astnodes as lua

#: What Redis puts at a script's disposal.
GLOBALS = frozenset({"KEYS", "ARGV", "redis", "cjson", "cmsgpack", "struct", "bit"}) | frozenset(
    {"assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring"}
    | {"type", "unpack", "math", "string", "table", "setmetatable", "rawget"}
)


@dataclass(slots=True)
class Local:
    """One local variable, parameter or loop variable."""

    name: str
    line: int
    is_read: bool = False


@dataclass(slots=True)
class Scopes:
    """What has been declared so far, innermost scope last, and what was wrong on the way."""

    open: list[list[Local]] = field(default_factory=lambda: [[]])
    locals: list[Local] = field(default_factory=list)
    complaints: list[tuple[int, str]] = field(default_factory=list)
    line: int = 1

    def read(self, chunk: Any) -> None:
        """Walk a whole script; what it declares at the top stays open for the next one."""
        self._visit_all(chunk.body.body)

    # --- Names

    def _declare(self, name: Any) -> None:
        if isinstance(name, lua.Name):
            local = Local(name.id, name.line or self.line)
            self.open[-1].append(local)
            self.locals.append(local)

    def _find(self, name: str) -> Local | None:
        for scope in reversed(self.open):
            for local in reversed(scope):
                if local.name == name:
                    return local
        return None

    def _use(self, name: Any) -> None:
        local = self._find(name.id)
        if local is not None:
            local.is_read = True
        elif name.id not in GLOBALS:
            self._complain(name, f"nobody defines '{name.id}'")

    def _set(self, target: Any) -> None:
        # Writing to a field reads the table; writing to a name alone reads nothing, and a local
        # that is only ever written to is as idle as one that is never mentioned.
        if not isinstance(target, lua.Name):
            self._visit(target)
        elif self._find(target.id) is None:
            self._complain(target, f"'{target.id}' is set as a global")

    def _complain(self, name: Any, text: str) -> None:
        self.complaints.append((name.line or self.line, text))

    # --- The tree

    def _visit_all(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            self._visit(node)

    def _inside(self, declared: Iterable[Any], *bodies: Any) -> None:
        """Visit the bodies in one new scope that begins with the declared names."""
        self.open.append([])
        for name in declared:
            self._declare(name)
        for body in bodies:
            self._visit_all(body.body if isinstance(body, lua.Block) else [body])
        self.open.pop()

    def _visit(self, node: Any) -> None:
        # The parser gives some names no line of their own; they have that of their statement.
        self.line = getattr(node, "line", None) or self.line
        match node:
            case lua.Name():
                self._use(node)
            case lua.Index():
                self._visit(node.value)
                if node.notation is lua.IndexNotation.SQUARE:
                    self._visit(node.idx)
            case lua.Field():
                if node.between_brackets:
                    self._visit(node.key)
                self._visit(node.value)
            case lua.Invoke():
                # `a:b(c)` reads a and c; b is a field.
                self._visit(node.source)
                self._visit_all(node.args)
            case lua.Goto() | lua.Label():
                pass
            case lua.Statement() if self._binds(node):
                pass
            case lua.Node():
                self._visit_children(node)

    def _binds(self, node: Any) -> bool:
        """Visit a statement that declares or sets names, or opens a scope; False if it does not."""
        match node:
            case lua.LocalAssign():
                # `local x = x` reads the outer x: values before names.
                self._visit_all(node.values)
                for name in node.targets:
                    self._declare(name)
            case lua.Assign():
                self._visit_all(node.values)
                for target in node.targets:
                    self._set(target)
            case lua.LocalFunction():
                self._declare(node.name)
                self._inside(node.args, node.body)
            case lua.Function():
                self._set(node.name)
                self._inside(node.args, node.body)
            case lua.Method():
                self._visit(node.source)
                self._inside(node.args, node.body)
            case lua.Fornum():
                self._visit_all([node.start, node.stop, node.step])
                self._inside([node.target], node.body)
            case lua.Forin():
                self._visit_all(node.iter)
                self._inside(node.targets, node.body)
            case lua.Repeat():
                # The condition still sees the locals of the body.
                self._inside([], node.body, node.test)
            case _:
                return False
        return True

    def _visit_children(self, node: Any) -> None:
        if isinstance(node, lua.Block):
            self._inside([], node)
        elif isinstance(node, lua.AnonymousFunction):
            self._inside(node.args, node.body)
        else:
            for name, child in vars(node).items():
                if not name.startswith("_") and name != "comments":
                    self._visit_all(child if isinstance(child, list) else [child])
