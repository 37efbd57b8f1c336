"""The schemas of Cog predictors and RunPod handlers, from their own declarations."""

import json
from pathlib import Path
from typing import Any

from tests.inference_worker.written_handlers import Written, load

BINARY = {"type": "string", "format": "binary", "pattern": "^[dD][aA][tT][aA]:"}


def interface_of(handler: Written) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(handler.engine.interface)
    return described


COG = """
from cog import BasePredictor, Input, Path, Secret
from typing import Optional

class Predictor(BasePredictor):
    def predict(
        self,
        prompt: str = Input(description="What to draw.", max_length=9),
        steps: int = Input(default=20, ge=1, le=50),
        size: str = Input(default="s", choices=["s", "m"]),
        image: Path = Input(default=None),
        key: Optional[Secret] = None,
        seeds: list[int] = Input(default=[], ge=0),
    ) -> str:
        return f"{prompt} {steps} {size} {image}"
"""


async def test_a_cog_predictor_declares_its_inputs(tmp_path: Path) -> None:
    handler = await load(tmp_path, "cog", "Predictor", COG)
    described = interface_of(handler)["input"]
    assert described["envelope"] == "input"
    assert described["schema"] == {
        "type": "object",
        "additionalProperties": False,
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "maxLength": 9, "description": "What to draw."},
            "steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20},
            "size": {"type": "string", "enum": ["s", "m"], "default": "s"},
            "image": {"anyOf": [BINARY, {"type": "null"}], "default": None},
            "key": {"default": None},
            "seeds": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    }
    await handler.engine.stop(1.0)


RUNPOD = """
import runpod
from runpod.serverless.utils.rp_validator import validate

INPUT_SCHEMA = {
    "prompt": {"type": str, "required": True},
    "steps": {"type": int, "required": False, "default": 20, "constraints": lambda n: n > 0},
    "seed": {"type": int, "required": False, "default": None},
    "scale": {"type": float, "required": False, "default": 7.5},
}
OTHER = {"a": {"type": str, "required": True}}

def handler(job):
    checked = validate(job["input"], INPUT_SCHEMA)
    return checked

def unchecked(job):
    return OTHER
"""


async def test_a_runpod_handler_declares_what_it_validates(tmp_path: Path) -> None:
    handler = await load(tmp_path, "runpod", "handler", RUNPOD)
    assert interface_of(handler)["input"] == {
        "content_types": ["application/json"],
        "envelope": "input",
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "required": ["prompt"],
            "properties": {
                "prompt": {"type": "string"},
                "steps": {"type": ["integer", "boolean"], "default": 20},
                "seed": {"type": ["integer", "boolean", "null"], "default": None},
                "scale": {"type": "number", "default": 7.5},
            },
        },
    }
    await handler.engine.stop(1.0)
    unchecked = await load(tmp_path, "runpod", "unchecked", RUNPOD)
    assert unchecked.engine.interface == b""
    await unchecked.engine.stop(1.0)
