"""Which functions of the Lua scripts write: a graph of who calls whom.

A function writes when it runs a Redis command that writes or one that it does not name, when it
delays a write, or when it calls a function that writes.  Delayed writes are kept in a local of the
module, which its `flush` clears: any other function that uses that local delays a write.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from luaparser import ast
from luaparser import astnodes as lua

from queue_service.store.prelude import CORE, READING

#: A function of a file: its file and its name, "" for what the file does itself.
Function = tuple[str, str]
#: Rings wake others and store nothing.
RINGS = "PUBLISH"


@dataclass
class Effects:
    """What the functions of a folder do.

    variables: the file behind each module's variable.
    """

    variables: Mapping[str, str]
    calls: dict[Function, set[Function]] = field(default_factory=dict)
    writing: set[Function] = field(default_factory=set)

    def read(self, file: str, chunk: Any) -> None:
        """Note what the functions of a file call, and which of them write by themselves."""
        # What a module returns are its functions, which it does not call by that.
        is_module = file in self.variables.values()
        body = lua.Block([one for one in chunk.body.body if not _is_return(one, is_module)])
        functions: dict[str, Any] = {"": body}
        for node in _own_statements(body):
            if isinstance(node, lua.LocalFunction | lua.Function):
                functions[_last_name(node.name)] = node.body
        buffers = _buffers(functions)
        for name, body in functions.items():
            function = (file, name)
            nodes = _own_statements(body) if name == "" else ast.walk(body)
            self.calls[function] = {(file, "")} - {function}
            for node in nodes:
                self._note(function, node, functions, buffers)

    def _note(
        self, function: Function, node: Any, functions: Mapping[str, Any], buffers: set[str]
    ) -> None:
        file, name = function
        match node:
            case lua.Call() if _writes(node):
                self.writing.add(function)
            case lua.Index(value=lua.Name(id=variable)) if variable in self.variables:
                self.calls[function].add((self.variables[variable], node.idx.id))
            case lua.Index(idx=lua.Name(id=called)) if called in functions:
                self.calls[function].add((file, called))
            case lua.Name(id=called) if called in functions:
                self.calls[function].add((file, called))
            case lua.Name(id=called) if called in buffers and name not in ("", "flush"):
                self.writing.add(function)
            case lua.Name(id=called):
                self.calls[function] |= {(core, called) for core in CORE}

    def of(self, file: str) -> bool:
        """Say whether running a file writes."""
        reached: set[Function] = set()
        more = [(file, "")]
        while more:
            function = more.pop()
            if function in reached:
                continue
            if function in self.writing:
                return True
            reached.add(function)
            more += self.calls.get(function, ())
        return False


def _own_statements(body: Any) -> Iterator[Any]:
    """Walk over everything in a file that is outside of its named functions."""
    for statement in body.body if isinstance(body, lua.Block) else [body]:
        yield statement
        if not isinstance(statement, lua.LocalFunction | lua.Function):
            yield from ast.walk(statement)


def _buffers(functions: Mapping[str, Any]) -> set[str]:
    """Return the locals in which a module keeps what it has put off."""
    if "flush" not in functions:
        return set()
    assigned = [
        target
        for node in ast.walk(functions["flush"])
        if isinstance(node, lua.Assign) and not isinstance(node, lua.LocalAssign)
        for target in node.targets
    ]
    roots = {_root(target) for target in assigned}
    own = {
        target.id
        for node in _own_statements(functions[""])
        if isinstance(node, lua.LocalAssign)
        for target in node.targets
    }
    return roots & own


def _is_return(statement: Any, is_module: bool) -> bool:
    return is_module and isinstance(statement, lua.Return)


def _root(target: Any) -> str:
    while isinstance(target, lua.Index):
        target = target.value
    return str(getattr(target, "id", ""))


def _last_name(name: Any) -> str:
    return str(name.idx.id if isinstance(name, lua.Index) else name.id)


def _writes(call: Any) -> bool:
    """Say whether this is a call of Redis that changes something."""
    match call.func:
        case lua.Index(value=lua.Name(id="redis"), idx=lua.Name(id="call" | "pcall")):
            first = call.args[0]
            command = first.s.decode() if isinstance(first, lua.String) else None
            return command not in READING | {RINGS}
    return False
