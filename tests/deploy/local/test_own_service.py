"""What the options of `penstock up` change about a service that exists."""

from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.own_service import OwnService
from deploy.local.wish import Asked, Wish
from deploy.service_json.plan import WorkerPlan

SETTINGS = {
    "memory": 4000,
    "sink_memory_ratio": 0.5,
    "input": {"max_length": None, "max_payload_size_kb": 8},
    "sink": {"max_length": None, "max_payload_size_kb": 8},
}


def asked(**fields: Any) -> Asked:
    worker = WorkerPlan(
        engine=fields.pop("engine", "echo"), window=fields.pop("window", None), run_timeout_s=None
    )
    settings = SETTINGS | fields.pop("settings", {})
    return Asked(
        worker=worker, settings=settings, **({"token": "generated", "folder": "/here"} | fields)
    )


def own(*given: str, **fields: Any) -> OwnService:
    return OwnService("demo", asked(**fields), given, "of-workers")


@pytest.fixture
def kept() -> Wish:
    """A service that `penstock up` without options has made."""
    return own().wish(None)


def test_a_new_service_is_as_the_options_say() -> None:
    wish = own(instances=2, engine="handler:a:B", token="mine").wish(None)
    assert (wish.instances, wish.worker.engine, wish.folder) == (2, "handler:a:B", "/here")
    assert wish.token.get_secret_value() == "mine"
    assert wish.worker_token.get_secret_value() == "of-workers"
    assert wish.settings == SETTINGS


def test_options_that_say_nothing_new_leave_earlier_changes(kept: Wish) -> None:
    changed = kept.model_copy(
        update={
            "instances": 3,
            "worker": WorkerPlan(engine="handler:x:Y", window=4, env={"A": "b"}),
            "folder": "/there",
            "token": SecretStr("of-a-file"),
        }
    )
    again = own(folder="/elsewhere")
    wish = again.wish(changed)
    assert wish.model_copy(update={"up": kept.up}) == changed
    known = {**SETTINGS, "memory": 10, "input": {**SETTINGS["input"], "auto_evict": True}}  # type: ignore[dict-item]
    assert again.settings(known, changed) == known
    assert not again.changes_token(changed)
    assert list(again.overridden(wish, known)) == [
        "3 workers",
        "the engine handler:x:Y",
        "the setting memory",
    ]


def test_an_option_that_is_given_overrides_an_earlier_change(kept: Wish) -> None:
    changed = kept.model_copy(
        update={"instances": 3, "worker": WorkerPlan(engine="handler:x:Y", window=4)}
    )
    again = own("workers", "window", "memory", "input", window=2)
    wish = again.wish(changed)
    assert (wish.instances, wish.worker.engine, wish.worker.window) == (1, "handler:x:Y", 2)
    known = {"memory": 10, "input": {"max_length": 5, "auto_evict": True}, "max_delivery": 7}
    assert again.settings(known, changed) == {
        "memory": 4000,
        # What has no option stays.
        "input": {"max_length": None, "max_payload_size_kb": 8, "auto_evict": True},
        "max_delivery": 7,
    }
    assert own("engine").wish(changed).worker == asked().worker
    assert own("engine").wish(changed).folder == "/here"


def test_an_option_that_was_given_and_no_longer_is_has_its_default_again() -> None:
    before = own(
        "workers", "token", instances=2, engine="handler:x:Y", token="mine", settings={"memory": 10}
    ).wish(None)
    again = own()
    wish = again.wish(before)
    assert (wish.instances, wish.worker.engine) == (1, "echo")
    assert again.changes_token(before)
    assert wish.token.get_secret_value() == "generated"
    assert again.settings({"memory": 10}, before)["memory"] == 4000
    assert not list(again.overridden(wish, wish.settings))


def test_the_engine_of_the_last_start_runs_in_the_new_folder(kept: Wish) -> None:
    assert own(folder="/elsewhere").wish(kept).folder == "/elsewhere"


def test_only_given_options_change_a_service_of_create() -> None:
    made = Wish(
        name="demo",
        token=SecretStr("t"),
        worker_token=SecretStr("w"),
        settings={"max_delivery": 2},
        instances=3,
        worker=WorkerPlan(engine="handler:x:Y"),
        folder="/there",
    )
    wish = own().wish(made)
    assert wish.model_copy(update={"up": None}) == made
    assert not own().changes_token(made)
    wish = own("workers", "token", instances=5, token="mine").wish(made)
    assert (wish.instances, wish.token.get_secret_value()) == (5, "mine")
    assert (wish.worker, wish.worker_token) == (made.worker, made.worker_token)
