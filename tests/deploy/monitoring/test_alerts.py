"""The alert rules: each fires on what it is about, and not before; promtool decides."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN

RULES = Path("deploy/monitoring/alerts.yml").absolute()
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)"
)

_INPUT, _SINK = 'service="svc",queue="input"', 'service="svc",queue="sink"'
#: By alert: the series that make it fire, and after how many minutes it does.
CASES: dict[str, tuple[dict[str, str], int]] = {
    "PenstockDown": ({'up{job="penstock",instance="a"}': "0x120"}, 2),
    "PenstockNoWorker": (
        {
            f"penstock_queue_subscribers{{{_INPUT}}}": "0x120",
            f"penstock_queue_waiting{{{_INPUT}}}": "3x120",
        },
        6,
    ),
    "PenstockOldestJobWaits": (
        {
            'penstock_scale_oldest_seconds{service="svc"}': "4000x120",
            f"penstock_queue_paused{{{_INPUT}}}": "0x120",
        },
        6,
    ),
    "PenstockStuck": (
        {
            f"penstock_queue_waiting{{{_INPUT}}}": "3x120",
            f"penstock_queue_completions_total{{{_INPUT}}}": "7x120",
            f"penstock_queue_paused{{{_INPUT}}}": "0x120",
            f"penstock_queue_open{{{_INPUT}}}": "1x120",
        },
        40,
    ),
    "PenstockRefuses": ({f"penstock_queue_refusals_total{{{_INPUT}}}": "0+1x120"}, 15),
    "PenstockSinkFull": ({f"penstock_queue_full{{{_SINK}}}": "1x120"}, 11),
    "PenstockDeadLetters": ({f"penstock_queue_dead_letters_parked{{{_INPUT}}}": "0+1x120"}, 20),
    "PenstockWorkersLost": ({f"penstock_queue_releases_total{{{_INPUT}}}": "0+60x120"}, 40),
    "PenstockWebhookFails": (
        {'penstock_webhooks_total{service="svc",outcome="failed"}': "0+1x120"},
        20,
    ),
    "PenstockPaused": ({f"penstock_queue_paused{{{_INPUT}}}": "1x300"}, 250),
    "PenstockEngineFails": (
        {'penstock_worker_engine_deaths_total{instance="w"}': "0+1x120"},
        20,
    ),
    "PenstockGpuQuarantined": (
        {'penstock_worker_gpu_state{state="quarantined",instance="w"}': "1x120"},
        6,
    ),
    "PenstockRedisMemory": (
        {
            'redis_memory_used_bytes{instance="r"}': "90x120",
            'redis_memory_max_bytes{instance="r"}': "100x120",
        },
        6,
    ),
}


def _promtool(*arguments: object, said: str = "") -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)],
        input=said,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _count_at(alert: str, minutes: int, count: int) -> dict[str, object]:
    expression = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    samples = [{"labels": "{}", "value": count}]
    return {"expr": expression, "eval_time": f"{minutes}m", "exp_samples": samples}


def test_there_is_a_case_for_each_alert() -> None:
    assert re.findall(r"alert: (\w+)", RULES.read_text()) == list(CASES)


@needs_promtool
def test_the_rules_are_valid() -> None:
    _promtool("check", "rules", RULES)


@needs_promtool
@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should(alert: str, tmp_path: Path) -> None:
    series, minutes = CASES[alert]
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in series.items()],
        "promql_expr_test": [_count_at(alert, 0, 0), _count_at(alert, minutes, 1)],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}
    file = tmp_path / "test.yml"
    # JSON is YAML.
    file.write_text(json.dumps(document))
    _promtool("test", "rules", file)


@needs_promtool
@pytest.mark.leaves_entries
async def test_the_metrics_of_a_service_have_the_names_in_the_rules(serve: Serve) -> None:
    url = await serve()
    async with aiohttp.ClientSession() as session:
        await session.post(f"{url}/api/predict/svc", data=b"x", headers={"Authorization": TOKEN})
        async with session.get(f"{url}/metrics", headers={"Authorization": ADMIN_TOKEN}) as answer:
            text = await answer.text()
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    wanted = set(re.findall(r"penstock_(?:queue|scale|webhooks)\w*", RULES.read_text()))
    assert wanted <= shown
