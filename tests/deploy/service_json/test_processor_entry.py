"""The engine of a processor_entry is found by reading its file, which is not run."""

from pathlib import Path

import pytest

from deploy.errors import BadServiceFile
from deploy.service_json.processor_entry import engine_of

TWO = """
raise SystemExit("nobody runs this")
class One(allspark.BaseProcessor): pass
class Two(BaseProcessor): pass
class Plain: pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "two.py").write_text(TWO)
    (tmp_path / "one.py").write_text("class Only(BaseProcessor): pass\n")
    (tmp_path / "bad.py").write_text("class Only(:\n")
    (tmp_path / "a-b.py").write_text("class Only(BaseProcessor): pass\n")
    (tmp_path / "app.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "engine", "where"),
    [
        ("one.py", "allspark:one:Only", "."),
        ("./one.py", "allspark:one:Only", "."),
        ("code/two.py:Two", "allspark:two:Two", "code"),
        ("code/two.py:Plain", "handler:two:Plain", "code"),
        ("code/two.py:function", "handler:two:function", "code"),
    ],
)
def test_a_class_is_found_or_named(entry: str, engine: str, where: str, folder: Path) -> None:
    assert engine_of(entry, folder=folder) == (engine, (folder / where).resolve())


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("code/two.py", "one class that derives from BaseProcessor"),
        ("none.py", "a Python file"),
        ("app.txt", "a Python file"),
        ("bad.py", "no Python"),
        ("a-b.py", "a name that Python imports"),
    ],
)
def test_what_is_no_entry_is_reported(entry: str, says: str, folder: Path) -> None:
    with pytest.raises(BadServiceFile, match=says):
        engine_of(entry, folder=folder)
