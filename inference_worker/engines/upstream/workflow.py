"""A job in the mode `comfyui`: the workflow to run, its pictures, and the server's messages.

Pure.  The messages and the outputs are those of ComfyUI's own web page
(https://docs.comfy.org/development/comfyui-server/comms_overview).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference_worker.engines.data_url import NoDataURL, decode
from inference_worker.engines.engine import Progress
from inference_worker.engines.upstream.request import CannotBeSent

#: A name of a picture: ComfyUI would read a slash as a folder.
_NAME = re.compile(r"[\w][\w. -]{0,127}")
#: The most pictures of one job.
MOST_PICTURES = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that the workflow reads; name: as in the workflow."""

    name: str
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """graph: nodes by id, as ComfyUI exports them for its API."""

    graph: Mapping[str, Any]
    pictures: tuple[Picture, ...] = ()

    def in_folder(self, folder: str) -> dict[str, Any]:
        """Return the graph with the names of the pictures in this folder of ComfyUI's inputs."""
        places = {one.name: f"{folder}/{one.name}" for one in self.pictures}
        placed: dict[str, Any] = {}
        for node_id, node in self.graph.items():
            inputs = {
                name: places.get(value, value) if isinstance(value, str) else value
                for name, value in node["inputs"].items()
            }
            placed[node_id] = {**node, "inputs": inputs}
        return placed


def read_workflow(data: bytes) -> Workflow:
    """Read a job: `{"workflow": {...}, "images": [...]}`, or the workflow alone.

    Each image has a `name` that nodes of the workflow use, and its content as a data URL in
    `image`.  Raises CannotBeSent.
    """
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CannotBeSent(f"expected a workflow of ComfyUI as JSON, got {error}") from None
    if not isinstance(asked, dict):
        raise CannotBeSent("expected a workflow of ComfyUI as a JSON object")
    pictures: tuple[Picture, ...] = ()
    if "workflow" in asked:
        pictures = _pictures(asked.get("images") or [])
        asked = asked["workflow"]
    if not isinstance(asked, dict) or not asked:
        raise CannotBeSent("workflow: expected its nodes by their ids, got none")
    for node_id, node in asked.items():
        if not isinstance(node, dict) or not isinstance(node.get("inputs"), dict):
            raise CannotBeSent(
                f"workflow.{node_id[:64]}: expected a node with class_type and inputs; export the "
                "workflow with `Export (API)`"
            )
    return Workflow(asked, pictures)


def _pictures(listed: Any) -> tuple[Picture, ...]:
    if not isinstance(listed, list) or len(listed) > MOST_PICTURES:
        raise CannotBeSent(f"images: expected a list of at most {MOST_PICTURES}")
    pictures = []
    for number, one in enumerate(listed):
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise CannotBeSent(
                f"images.{number}.name: expected a name such as input.png, got {name!r:.80}"
            )
        try:
            file = decode(one.get("image"))
        except NoDataURL as error:
            raise CannotBeSent(f"images.{number}.image: it {error}") from None
        pictures.append(Picture(name, file.data, file.media_type))
    return tuple(pictures)


@dataclass(frozen=True, slots=True)
class Ended:
    """The server has ended the workflow.  error: "" if it succeeded."""

    error: str = ""
    is_interrupted: bool = False


@dataclass(slots=True)
class Following:
    """What the messages about one workflow say.

    nodes: how many the workflow has.
    """

    prompt_id: str
    nodes: int
    _done: set[str] = field(default_factory=set)
    _current: str = ""

    def read(self, text: str) -> Progress | Ended | None:
        """Return what a message means for this workflow; None for any other message."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return None
        match message:
            case {"type": str(kind), "data": {"prompt_id": self.prompt_id, **data}}:
                return self._of_this(kind, data)
        return None

    def _of_this(self, kind: str, data: dict[Any, Any]) -> Progress | Ended | None:
        share = 0.0
        match kind:
            case "execution_success":
                return Ended()
            case "execution_interrupted":
                return Ended("the workflow was interrupted at the server", is_interrupted=True)
            case "execution_error":
                what = str(data.get("exception_message") or "the workflow failed").strip()
                return Ended(f"{data.get('node_type') or 'a node'}: {what}")
            case "execution_cached":
                self._done.update(str(node) for node in data.get("nodes") or ())
            case "executing":
                self._done.update({self._current} - {""})
                # Older servers end a workflow with no node, and without `execution_success`.
                if data.get("node") is None:
                    return Ended()
                self._current = str(data["node"])
            case "progress":
                most = _number(data.get("max"))
                share = _number(data.get("value")) / most if most > 0 else 0.0
            case _:
                return None
        return self._progress(share)

    def _progress(self, share: float) -> Progress:
        done = len(self._done - {self._current}) + min(max(share, 0.0), 1.0)
        note = f"node {self._current}" if self._current else ""
        return Progress(min(1.0, done / self.nodes), note)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a node has written: what `/view` needs to send it."""

    node: str
    filename: str
    subfolder: str
    kind: str

    @property
    def query(self) -> dict[str, str]:
        """The query of `/view`."""
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.kind}


def outputs_of(history: Any, prompt_id: str) -> tuple[tuple[OutputFile, ...], dict[str, Any]]:
    """Return the files of a workflow, those that it saves first, and the rest of its outputs.

    history: the response of `/history/{prompt_id}`.  Raises ValueError if it has no such workflow.
    """
    entry = history.get(prompt_id) if isinstance(history, dict) else None
    outputs = entry.get("outputs") if isinstance(entry, dict) else None
    if not isinstance(outputs, dict):
        raise ValueError("the server has no history of the workflow")
    files: list[OutputFile] = []
    rest: dict[str, Any] = {}
    for node, output in outputs.items():
        for name, values in output.items() if isinstance(output, dict) else ():
            found = [_file(node, one) for one in values] if isinstance(values, list) else [None]
            files += [one for one in found if one is not None]
            if None in found:
                rest.setdefault(node, {})[name] = values
    files.sort(key=lambda one: one.kind != "output")
    return tuple(files), rest


def is_running(queue: Any, prompt_id: str) -> bool:
    """Say whether the response of `/queue` shows this workflow among those that run."""
    running = queue.get("queue_running") if isinstance(queue, dict) else None
    entries = running if isinstance(running, list) else []
    return any(isinstance(entry, list) and prompt_id in entry[:2] for entry in entries)


def _file(node: str, value: Any) -> OutputFile | None:
    match value:
        case {"filename": str(filename)}:
            kind, subfolder = value.get("type", "output"), value.get("subfolder", "")
            return OutputFile(node, filename, str(subfolder), str(kind))
    return None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
