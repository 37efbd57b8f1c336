"""The names of settings by which a misspelled one is noticed are those that there are."""

import re
from pathlib import Path

from client_sdk.setting_names import KNOWN
from inference_worker.settings import Settings as WorkerSettings
from queue_service.settings.process import Settings as QueueServiceSettings

ROOT = Path(__file__).parents[2]


def test_every_setting_is_known_by_name() -> None:
    names = {f"PENSTOCK_{name.upper()}" for name in QueueServiceSettings.model_fields}
    names |= {f"PENSTOCK_WORKER_{name.upper()}" for name in WorkerSettings.model_fields}
    for path in [*ROOT.glob("docker-compose*.yml"), *(ROOT / "deploy").rglob("*.py")]:
        names |= set(re.findall(r"PENSTOCK_[A-Z_]*[A-Z]\b", path.read_text()))
    assert names <= KNOWN, names - KNOWN
