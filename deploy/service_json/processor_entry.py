"""Find the engine that runs the file of a `processor_entry`.

`app.py` has one class for PAI EAS, which derives from `BaseProcessor`; `app.py:Name` names any
class or function.  Only reads the file: the worker runs it.
"""

import ast
from pathlib import Path

from deploy.errors import BadServiceFile


def engine_of(entry: str, *, folder: Path) -> tuple[str, Path]:
    """Return the engine of an entry and the folder it runs in; raises BadServiceFile."""
    where, _, name = entry.partition(":")
    path = (folder / where).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise BadServiceFile(f"processor_entry: expected a Python file, got {path}, which is none")
    if not path.stem.isidentifier():
        raise BadServiceFile(f"processor_entry: expected a name that Python imports, got {path}")
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise BadServiceFile(f"processor_entry: {path} is no Python: {error}") from None
    processors = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(map(_is_base_processor, node.bases))
    ]
    if not name:
        if len(processors) != 1:
            raise BadServiceFile(
                "processor_entry: expected one class that derives from BaseProcessor in "
                f"{path}, got {len(processors)}; `{where}:Name` names any class or function"
            )
        name = processors[0]
    kind = "allspark" if name in processors else "handler"
    return f"{kind}:{path.stem}:{name}", path.parent


def _is_base_processor(base: ast.expr) -> bool:
    return "BaseProcessor" in (getattr(base, "id", ""), getattr(base, "attr", ""))
