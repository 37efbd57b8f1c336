"""A service.json: what it may say, what it becomes, and the errors for what it may not."""

import json
from typing import Any

import pytest

from deploy.errors import BadServiceFile
from deploy.service_json import relaxed_json
from deploy.service_json.plan import ServicePlan, read_plan
from queue_service.settings.service import ServiceSettings, capacity

#: As the documentation of PAI EAS has it, but for the address of the model.
PMML = """
{
  "processor": "pmml",
  "model_path": "http://example.com/lr.pmml",
  "metadata": {
    "name": "pmmlasync",
    "type": "Async",
    "cpu": 4,
    "instance": 1,
    "memory": 8000
  }
}
"""

#: The same for a container, with its comments and its commas.
CHAT = """
{
    "metadata": {
        "name": "chat",   # the name
        "instance": 1,
        "type": "Async",
        "rpc.worker_threads": 4,    // as many at once
    },
    "cloud": {
        "computing": {
            "instance_type": "ecs.gn6i-c16g1.4xlarge",
            "instances": null
        }
    },
    "queue": {
        "cpu": 1,
        "max_delivery": 1,
        "min_replica": 1,
        "memory": 4000,
        "resource": ""
    },
    "storage": [{"nfs": {"path": "/", "server": "nas.example.com"}, "mount_path": "/code"}],
    /* the server itself */
    "containers": [
        {
            "image": "registry.example.com/chat:1.0#latest",
            "script": "python webui.py --listen=0.0.0.0 --port=8000",
            "port": 8000,
            "env": [{"name": "MODEL", "value": "qwen // 7b"},],
        },
    ],
}
"""


def _plan(**fields: Any) -> ServicePlan:
    metadata = {"name": "svc", **fields.pop("metadata", {})}
    return read_plan(json.dumps({"processor": "echo", "metadata": metadata, **fields}))


def _refusal(**fields: Any) -> str:
    with pytest.raises(BadServiceFile) as caught:
        _plan(**fields)
    return str(caught.value)


def test_the_documented_service_with_a_processor_is_understood() -> None:
    plan = read_plan(PMML)
    assert (plan.name, plan.instances, plan.worker.window) == ("pmmlasync", 1, 5)
    assert plan.worker.engine == "pmml:http://example.com/lr.pmml"
    assert (plan.cpu, plan.memory_mb, plan.container) == (4, 8000, None)
    settings = ServiceSettings.model_validate({**plan.settings, "name": plan.name})
    assert capacity(settings, "input") == capacity(settings, "sink") == (230_399, 8192)
    assert plan.unknown == ()


def test_the_documented_service_with_a_container_is_understood() -> None:
    plan = read_plan(CHAT)
    assert (plan.name, plan.worker.window, plan.settings["max_delivery"]) == ("chat", 4, 1)
    assert plan.worker.engine == "http"
    assert plan.worker.engine_options == {
        "script": "python webui.py --listen=0.0.0.0 --port=${PORT}",
        "port": 0,
    }
    assert plan.worker.env == {"MODEL": "qwen // 7b"}
    assert plan.container is not None
    assert plan.container.image == "registry.example.com/chat:1.0#latest"
    assert plan.container.script.endswith("--port=8000")
    assert plan.unknown == ()
    for key in ("cloud", "storage", "queue.resource", "queue.min_replica", "containers.image"):
        assert any(note.startswith(f"{key}:") for note in plan.ignored), key


@pytest.mark.parametrize(
    "document",
    [
        {"metadata": {"name": "svc", "rpc": {"worker_threads": 3}}},
        {"metadata": {"name": "svc", "rpc.worker_threads": 3}},
        {"metadata.name": "svc", "metadata.rpc.worker_threads": 3},
        {"metadata": {"name": "svc"}, "metadata.rpc": {"worker_threads": 3}},
        {"name": "svc", "rpc.worker_threads": 3},
    ],
    ids=json.dumps,
)
def test_keys_may_be_nested_or_dotted(document: dict[str, Any]) -> None:
    plan = read_plan(json.dumps({"processor": "echo", **document}))
    assert (plan.name, plan.worker.window) == ("svc", 3)


@pytest.mark.parametrize(
    ("runs", "window"),
    [
        ({"processor_entry": "app.py"}, None),
        ({"processor_entry": "app.py:Name"}, None),
        ({"engine": "handler:app:Name"}, None),
        ({"engine": "cog:app:Name"}, None),
        ({"engine": "echo"}, 5),
        ({"processor": "embeddings", "model_path": "m"}, 5),
        ({"containers": [{"script": "./serve $PORT"}]}, 5),
    ],
    ids=json.dumps,
)
def test_only_code_of_ones_own_is_left_to_say_its_window(
    runs: dict[str, Any], window: int | None
) -> None:
    assert read_plan(json.dumps({"name": "svc", **runs})).worker.window == window
    told = read_plan(json.dumps({"name": "svc", "rpc.worker_threads": 5, **runs}))
    assert told.worker.window == 5


def test_every_setting_of_the_queues_arrives() -> None:
    plan = _plan(
        **{
            "queue.memory": 1000,
            "queue.max_delivery": 0,
            "queue.max_idle": "1h30m",
            "queue.dead_message_policy": "Drop",
            "queue.fair": False,
            "queue.source.auto_evict": True,
            "queue.source": {"max_length": 100},
            "queue": {"sink": {"memory_ratio": 0.25}, "sink.max_payload_size_kb": 64},
        }
    )
    assert plan.settings == {
        "input": {"auto_evict": True, "max_length": 100},
        "sink": {"auto_evict": False, "max_payload_size_kb": 64},
        "memory": 1000,
        "sink_memory_ratio": 0.25,
        "max_delivery": 0,
        "max_idle": "1h30m",
        "dead_message_policy": "Drop",
        "fair": False,
    }


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"metadata": {"instance": -1}}, ("metadata.instance", "greater", "-1")),
        ({"metadata": {"instance": "two"}}, ("metadata.instance", "whole number", "two")),
        ({"metadata": {"type": "Standard"}}, ("metadata.type", "Async", "Standard")),
        ({"metadata": {"name": "a b"}}, ("metadata.name", "a b")),
        ({"metadata": {"rpc.worker_threads": 0}}, ("metadata.rpc.worker_threads", "1", "0")),
        ({"queue.max_idle": "soon"}, ("queue.max_idle", "soon")),
        ({"queue.dead_message_policy": "Burn"}, ("dead_message_policy", "Rear", "Burn")),
        ({"queue.sink.memory_ratio": 1}, ("queue.sink.memory_ratio", "less than 1", "got 1")),
        ({"queue.source": {"max_length": 1, "max_payload_size_kb": 8}}, ("source", "not both")),
        ({"queue": 5}, ("queue", "5")),
        ({"processor": "tensorflow_gpu_1.12"}, ("processor", "pmml", "tensorflow_gpu_1.12")),
        ({"processor": "pmml"}, ("model_path", "pmml", "nothing")),
        ({"processor": ""}, ("processor", "containers", "none of them")),
        ({"containers": [{"port": 80}]}, ("containers", "processor and containers")),
        ({"processor": "", "containers": [{"port": 80}]}, ("containers.0", "image", "neither")),
        ({"processor": "", "containers": [{"script": "x", "port": 0}]}, ("port", "got 0")),
        (
            {"metadata": {"rpc.worker_threads": 1, "rpc": {"worker_threads": 2}}},
            ("expected one value", "2"),
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_what_was_expected_and_what_came(
    fields: dict[str, Any], says: tuple[str, ...]
) -> None:
    refusal = _refusal(**fields)
    for word in says:
        assert word in refusal, refusal


def test_everything_that_is_wrong_is_said_at_once() -> None:
    refusal = _refusal(metadata={"instance": -1, "cpu": 0}, queue={"memory": 0})
    assert [line.partition(":")[0] for line in refusal.splitlines()] == [
        "metadata.instance",
        "metadata.cpu",
        "queue.memory",
    ]


def test_a_misspelt_key_is_named_beside_the_values_that_are_wrong() -> None:
    refusal = _refusal(processor="", prozessor="echo", queue={"max_idle": "soon", "memory": 0})
    lines = {line.partition(":")[0]: line for line in refusal.splitlines()}
    assert set(lines) == {"queue.memory", "queue.max_idle", "prozessor"}
    assert lines["queue.max_idle"].count("got") == 1
    assert "did you mean processor?" in lines["prozessor"]
    alone = _refusal(processor="", prozessor="echo")
    assert "none of them" in alone
    assert "did you mean processor?" in alone


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(BadServiceFile, match="the file is empty"):
        read_plan(" \n")


def test_a_key_that_nobody_knows_is_reported_and_not_swallowed() -> None:
    plan = _plan(metadata={"instance_no": 3}, queue={"max_deliverz": 1}, containerz=[])
    assert {line.partition(":")[0] for line in plan.unknown} == {
        "metadata.instance_no",
        "queue.max_deliverz",
        "containerz",
    }


def test_a_script_that_names_no_port_runs_once_on_a_machine() -> None:
    def container(script: str) -> ServicePlan:
        return _plan(processor="", containers=[{"script": script, "port": 9000}])

    fixed = container("./serve")
    assert fixed.worker.engine_options == {"script": "./serve", "port": 9000}
    assert "9000" in fixed.worker.one_only
    told = container('./serve --port "$PORT"')
    assert (told.worker.engine_options["port"], told.worker.one_only) == (0, "")
    # A number that merely contains it is another number.
    assert container("./serve --seed 19000").worker.one_only


def test_a_processor_of_our_own_and_a_processor_entry() -> None:
    assert _plan(processor="transformers", model_path="gpt").worker.engine == "transformers:gpt"
    entry = _plan(processor="", processor_entry="./app.py", processor_path="/models/code")
    assert (entry.worker.engine, entry.worker.entry) == ("", "/models/code/./app.py")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1, column 1"),
        ('{"a": 1,\n  "b" 2}', "line 2, column 7"),
        ('{"a": 1 # no end\n', "line 2"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ("[" * 100_000, "nested"),
        ("1" * 5000, "cannot be read"),
    ],
)
def test_the_error_for_text_that_is_no_json_says_where(text: str, says: str) -> None:
    with pytest.raises(relaxed_json.RelaxedJsonError, match=says):
        relaxed_json.loads(text)


def test_comments_and_commas_inside_of_texts_are_text() -> None:
    read = relaxed_json.loads('{"a": "# // , ] \\" /* */", # gone\n "b": [1, 2, ], }')
    assert read == {"a": '# // , ] " /* */', "b": [1, 2]}


def test_a_list_is_no_service() -> None:
    with pytest.raises(BadServiceFile, match="object, got list"):
        read_plan("[]")


def test_a_time_beyond_all_numbers_is_refused_by_its_name() -> None:
    with pytest.raises(BadServiceFile, match=r"metadata\.rpc\.keepalive"):
        _plan(metadata={"rpc": {"keepalive": "9" * 400}})


def test_options_of_the_engine_count_with_a_container_and_a_processor() -> None:
    options = {"mode": "ollama", "health_path": "/api/version"}
    served = read_plan(
        json.dumps(
            {
                "metadata": {"name": "chat", "rpc": {"keepalive": 90_000}},
                "containers": [{"script": "ollama serve", "port": 11434}],
                "engine_options": options,
            }
        )
    )
    script = {"script": "ollama serve", "port": 11434}
    assert served.worker.engine_options == {**options, "timeout_s": 90.0, **script}
    image = read_plan(
        json.dumps(
            {
                "metadata": {"name": "chat"},
                "containers": [{"image": "ollama/ollama"}],
                "engine_options": options,
            }
        )
    )
    assert image.worker.engine_options == options
    processor = read_plan(
        json.dumps(
            {
                "metadata": {"name": "chat"},
                "processor": "transformers",
                "model_path": "/models/m",
                "engine_options": {"dtype": "float32"},
            }
        )
    )
    assert processor.worker.engine_options == {"dtype": "float32"}


def test_the_server_of_a_container_is_named_once() -> None:
    file = {
        "metadata": {"name": "chat"},
        "containers": [{"script": "./serve", "port": 9000}],
        "engine_options": {"port": 9001},
    }
    with pytest.raises(BadServiceFile, match=r"engine_options\.port: expected the server in"):
        read_plan(json.dumps(file))
