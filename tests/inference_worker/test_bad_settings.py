"""A setting that is wrong is named as it was set."""

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from inference_worker.settings import Settings, explain


def test_options_that_are_no_json_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_WORKER_ENGINE_OPTIONS", "{bad")
    with pytest.raises(SettingsError) as caught:
        Settings()
    sentence = explain(caught.value)
    assert sentence.startswith("PENSTOCK_WORKER_ENGINE_OPTIONS: expected JSON: Expecting")
    assert "\n" not in sentence


def test_each_value_that_is_wrong_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_WORKER_GRACE_S", "long")
    monkeypatch.setenv("PENSTOCK_WORKER_QUEUE_URL", "ftp://somewhere")
    with pytest.raises(ValidationError) as caught:
        Settings()
    names = [line.split(":")[0] for line in explain(caught.value).splitlines()]
    assert names == ["PENSTOCK_WORKER_QUEUE_URL", "PENSTOCK_WORKER_GRACE_S"]
