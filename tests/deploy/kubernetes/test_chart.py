"""What Helm makes of the chart: valid, hardened, without secrets, and clear about bad values."""

import json
import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.service_json.compose import queue_instances
from deploy.service_json.hardening import HARDENED
from deploy.service_json.plan import SCALERS
from queue_service.settings.service import QueueSettings, ServiceSettings
from tests.deploy.kubernetes.chart import (
    EXAMPLES,
    Document,
    ask_helm,
    containers,
    documents_of,
    example,
    needs_helm,
    of_kind,
    pods,
    secrets_of,
    template,
)
from tests.deploy.kubernetes.custom_resources import SCHEMAS
from tests.deploy.kubernetes.helm import CHART

pytestmark = needs_helm()

#: The oldest version that the chart accepts, and the newest with a schema.
VERSIONS = ("1.29", "1.37")

#: The severity of a remark in Helm's report, such as that an icon is recommended.
REMARK = 1

every_example = pytest.mark.parametrize("name", [path.stem for path in EXAMPLES])


def test_there_are_four_examples_and_lint_finds_nothing_in_any() -> None:
    assert len(EXAMPLES) == 4
    values = [{}, *(example(path.stem) for path in EXAMPLES)]
    for report in ask_helm(*({"verb": "lint", "values": one} for one in values)):
        assert report["errors"] == []
        assert [one for one in report["messages"] if one["severity"] > REMARK] == []


@every_example
@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_valid(name: str, version: str) -> None:
    found = template(example(name))
    for one in found:
        if one["kind"] in SCHEMAS:
            jsonschema.validate(one, SCHEMAS[one["kind"]])
        else:
            kubernetes_validate.validate(one, version, strict=True)
        if one["kind"] == "ScaledJob":
            job = {"apiVersion": "batch/v1", "kind": "Job", "spec": one["spec"]["jobTargetRef"]}
            kubernetes_validate.validate(job, version, strict=True)
            # KEDA's schema requires what a Job may leave out.
            ports = [port for pod in pods([one]).values() for port in pod["containers"][0]["ports"]]
            assert all("protocol" in port for port in ports)
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)


def test_the_examples_contain_every_kind() -> None:
    kinds = {one["kind"] for path in EXAMPLES for one in template(example(path.stem))}
    assert kinds == SCHEMAS.keys() | {
        *("Deployment", "StatefulSet", "Service", "Secret", "PersistentVolumeClaim"),
        *("PodDisruptionBudget", "NetworkPolicy", "Ingress"),
    }


@every_example
def test_every_pod_is_as_hardened_as_the_containers_of_compose(name: str) -> None:
    assert HARDENED["read_only"]
    assert HARDENED["cap_drop"] == ["ALL"]
    for pod in pods(template(example(name))).values():
        assert pod["automountServiceAccountToken"] is False
        # A Service named `penstock` would set PENSTOCK_PORT otherwise.
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not [one for one in pod["volumes"] if "hostPath" in one]
        for container, one in containers(pod).items():
            context = one["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
            assert "memory" in one["resources"]["limits"]
            if container == "model":
                continue
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsNonRoot"] is True
            assert (context["runAsUser"], context["runAsGroup"]) == (10001, 10001)
            assert "add" not in context["capabilities"]


@every_example
def test_secrets_are_in_secrets_only(name: str) -> None:
    found = template(example(name))
    secrets = secrets_of(found)
    assert bool(secrets) == (name != "external-redis")
    rest = json.dumps([one for one in found if one["kind"] != "Secret"])
    for keys in secrets.values():
        for secret in keys.values():
            assert secret.strip() not in rest


@every_example
def test_a_worker_sees_its_own_token_and_no_other(name: str) -> None:
    found = template(example(name))
    clients = {"ours-penstock-tokens", "our-tokens"}
    for pod in pods(found).values():
        mounted = {
            one["secret"]["secretName"]: one["secret"] for one in pod["volumes"] if "secret" in one
        }
        if "inference-worker" not in containers(pod):
            continue
        (env,) = [
            one["value"]
            for one in containers(pod)["inference-worker"]["env"]
            if one["name"] == "PENSTOCK_WORKER_SERVICE"
        ]
        assert not clients & mounted.keys()
        tokens = mounted.get("ours-penstock-worker-tokens") or mounted["our-worker-tokens"]
        assert [item["key"] for item in tokens["items"]] == [env]
        model = containers(pod).get("model", {"volumeMounts": []})
        assert not [one for one in model["volumeMounts"] if one["name"] == "token"]


def test_generated_tokens_are_long_and_different() -> None:
    values: Document = {"services": {"a": {}, "b": {}}}
    request = {"verb": "template", "values": values}
    both = [secrets_of(documents_of(answer)) for answer in ask_helm(request, request)]
    tokens = [
        token
        for secrets in both
        for name, keys in secrets.items()
        for token in ([keys["password"]] if "redis" in name else keys.values())
    ]
    assert len(set(tokens)) == len(tokens) == 12
    assert min(map(len, tokens)) == 40
    assert both[0].keys() == both[1].keys()


def _replicas(values: Document) -> Document:
    return {"verb": "template", "values": {"services": values}}


def test_the_queue_service_has_one_replica_per_worker_but_at_most_two() -> None:
    counts = (0, 1, 2, 3, 1000)
    cases: list[tuple[Document, int]] = [
        ({"a": {"replicas": count}}, queue_instances(count)) for count in counts
    ]
    cases += [
        ({}, 1),
        ({"a": {}, "b": {"replicas": 1}}, 2),
        ({"a": {"autoscaling": {"mode": "scaledObject", "min": 0, "max": 1}}}, 1),
        ({"a": {"replicas": 0, "autoscaling": {"mode": "scaledJob", "max": 9}}}, 2),
    ]
    requests = [_replicas(values) for values, _ in cases]
    requests.append({"verb": "template", "values": {"queueService": {"replicas": 0}}})
    requests.append({"verb": "template", "values": {"queueService": {"minReplica": 2}}})
    found = [
        of_kind(documents_of(answer), "Deployment", "-queue")["spec"]["replicas"]
        for answer in ask_helm(*requests)
    ]
    assert found == [*(expected for _, expected in cases), 0, 2]


def test_a_pod_has_the_time_of_its_longest_job() -> None:
    workers: Document = {
        "default": {},
        "limited": {"runTimeoutS": 90.5},
        "long": {"graceS": 14400, "runTimeoutS": 7200},
    }
    values = {"services": {name: {"worker": worker} for name, worker in workers.items()}}
    found = pods(template(values))
    for name, expected in (("default", 3600), ("limited", 91), ("long", 14400)):
        pod = found[f"ours-penstock-worker-{name}"]
        env = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert env["PENSTOCK_WORKER_GRACE_S"] == str(expected)
        assert pod["terminationGracePeriodSeconds"] == expected + 30


def test_a_model_of_its_own_image_starts_before_its_worker_and_ends_after_it() -> None:
    pod = pods(template(example("gpus")))["ours-penstock-worker-chat"]
    (model,) = pod["initContainers"]
    assert model["restartPolicy"] == "Always"
    assert model["resources"]["limits"]["nvidia.com/gpu"] == 2
    worker = pod["containers"][0]
    assert "nvidia.com/gpu" not in worker["resources"]["limits"]
    env = {one["name"]: one.get("value") for one in worker["env"]}
    assert env["PENSTOCK_WORKER_ENGINE"] == "http:http://127.0.0.1:8000"
    # Kubernetes makes one `$` of two, and would expand $(NAME).
    assert model["env"] == [{"name": "PRICE", "value": "5$$"}]
    assert model["command"][2].endswith("--home=$$HOME")


def test_long_and_odd_names_fit() -> None:
    odd = ("a" * 128, "A.b_c", "_", "x" * 19, "__")
    values = {
        "services": {name: {"autoscaling": {"mode": "scaledJob"}} for name in odd},
        "serviceMonitor": {"enabled": True},
    }
    found = template(values, release="a-release-with-a-name-of-53-characters-which-is-much")
    for one in found:
        assert len(one["metadata"]["name"]) <= 63
    workers = [name for name in pods(found) if "-worker-" in name]
    assert len(set(workers)) == len(odd)
    # What Kubernetes appends to the name of a Deployment's pod, which is the worker's name too.
    assert max(map(len, workers)) + len("-0123456789-01234") <= 63
    services = of_kind(found, "Deployment", "-queue")["spec"]["template"]["spec"]["containers"][0]
    (said,) = [one["value"] for one in services["env"] if one["name"] == "PENSTOCK_SERVICES"]
    assert {one["name"] for one in json.loads(said)} == set(odd)


def test_labels_of_yours_never_replace_those_that_select() -> None:
    yours = {"app.kubernetes.io/component": "mine", "team": "ml"}
    values = {
        "services": {"demo": {"worker": {"podLabels": yours}}},
        "queueService": {"podLabels": yours},
        "serviceMonitor": {"enabled": True, "labels": yours},
    }
    found = template(values)
    for one in found:
        if one["kind"] == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
            assert labels["team"] == "ml"
    labels = of_kind(found, "ServiceMonitor")["metadata"]["labels"]
    assert (labels["team"], labels["app.kubernetes.io/component"]) == ("ml", "queue-service")


REFUSED: list[tuple[Document, str]] = [
    ({"services": {"demo": {"settings": {"token": "secret"}}}}, "token"),
    ({"services": {"demo": {"worker": {"env": {"PENSTOCK_WORKER_TOKEN": "x"}}}}}, "env"),
    ({"services": {"-": {}}}, "-"),
    ({"services": {"demo": {"replica": 2}}}, "replica"),
    ({"services": {"demo": {"replicas": -1}}}, "replicas"),
    ({"services": {"demo": {"model": {"image": "a"}}}}, "port"),
    ({"services": {"demo": {"autoscaling": {"mode": "hpa"}}}}, "mode"),
    ({"services": {"a.b": {}, "A-B": {}}}, "got A-B and a.b"),
    ({"services": {"demo": {"worker": {"graceS": 5, "runTimeoutS": 9}}}}, "graceS: expected at"),
    ({"services": {"demo": {"autoscaling": {"min": 3, "max": 2}}}}, "expected at most max (2)"),
    ({"queueService": {"env": {"PENSTOCK_ADMIN_TOKEN": "x"}}}, "PENSTOCK_ADMIN_TOKEN"),
    ({"redis": {"enabled": False}}, "redis.external.urlSecret.name: expected"),
    ({"redis": {"password": "x"}}, "password"),
    ({"ingress": {"enabled": True}}, "ingress.hosts: expected at least one"),
]


def test_bad_values_are_refused_with_their_place() -> None:
    answers = ask_helm(*({"verb": "template", "values": values} for values, _ in REFUSED))
    for (values, expected), answer in zip(REFUSED, answers, strict=True):
        assert expected in answer.get("error", "nothing was refused"), values


def test_an_ingress_passes_streams_websockets_and_large_bodies() -> None:
    ingress = of_kind(template(example("gpus")), "Ingress")
    notes = {
        key.removeprefix("nginx.ingress.kubernetes.io/"): value
        for key, value in ingress["metadata"]["annotations"].items()
    }
    assert notes == {
        "proxy-body-size": "0",
        "proxy-request-buffering": "off",
        "proxy-buffering": "off",
        "proxy-read-timeout": "3600",
        "proxy-send-timeout": "3600",
        "proxy-http-version": "1.1",
    }


def test_only_the_queue_service_reaches_redis() -> None:
    found = template(example("small"))
    redis = of_kind(found, "NetworkPolicy", "-redis")["spec"]
    pod = of_kind(found, "Deployment", "-queue")["spec"]["template"]["metadata"]["labels"]
    (rule,) = redis["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": pod}}]
    assert redis["egress"] == []
    selector = redis["podSelector"]["matchLabels"]
    labels = of_kind(found, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_files_are_in_s3_or_in_a_claim_and_those_of_jobs_in_a_volume() -> None:
    """The settings, the mounts and the keys; and who may reach the storage."""
    keys = {"name": "s3-keys", "accessKey": "id", "secretKey": "secret"}
    s3 = {"url": "s3://bucket/ours", "endpoint": "https://minio.example", "keysSecret": keys}
    values = {
        **example("small"),
        "queueService": {"files": {"claim": "shared", "s3": s3}},
        "worker": {"jobFiles": {"size": "20Gi"}},
        "networkPolicy": {"storagePeers": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]},
    }
    found = template(values)
    pod = of_kind(found, "Deployment", "-queue")["spec"]["template"]["spec"]
    env = {one["name"]: one for one in pod["containers"][0]["env"]}
    assert env["PENSTOCK_FILES_URL"]["value"] == "s3://bucket/ours"
    assert env["PENSTOCK_FILES_ENDPOINT"]["value"] == "https://minio.example"
    assert env["PENSTOCK_FILES_ADDRESSES"]["value"] == "true"
    assert "PENSTOCK_FILES_REGION" not in env
    for name, key in (("ACCESS", "id"), ("SECRET", "secret")):
        reference = env[f"PENSTOCK_FILES_{name}_KEY"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "s3-keys", "key": key}
    assert env["PENSTOCK_FILES_DIR"]["value"] == "/files"
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert mounts["files"] == "/files"
    claims = [one["persistentVolumeClaim"] for one in pod["volumes"] if one["name"] == "files"]
    assert claims == [{"claimName": "shared"}]
    policy = of_kind(found, "NetworkPolicy", "-queue")["spec"]["egress"]
    assert {"to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]} in policy

    worker = of_kind(found, "Deployment", "-worker-demo")["spec"]["template"]["spec"]
    env = {one["name"]: one for one in worker["containers"][0]["env"]}
    assert env["PENSTOCK_WORKER_FILES_DIR"]["value"] == "/job-files/penstock"
    volumes = {one["name"]: one for one in worker["volumes"]}
    assert volumes["job-files"]["emptyDir"] == {"sizeLimit": "20Gi"}

    plain = of_kind(template(example("small")), "Deployment", "-queue")["spec"]["template"]["spec"]
    assert not [one for one in plain["containers"][0]["env"] if "_FILES_" in one["name"]]


def test_the_schema_knows_every_setting_of_a_service_but_its_tokens() -> None:
    schema: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    settings = schema["$defs"]["settings"]["properties"]
    tokens = {name for name in ServiceSettings.model_fields if "token" in name}
    # KEDA scales, so Penstock's own autoscaler has no part in it.
    others = ServiceSettings.model_fields.keys() - tokens - {"name", *SCALERS}
    assert settings.keys() == others
    assert settings["input"]["properties"].keys() == QueueSettings.model_fields.keys()


def test_the_schema_has_every_default_and_no_more() -> None:
    """A value that the schema knows and the defaults do not is one that nobody documents."""
    schema: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(values: dict[str, Any], part: dict[str, Any], place: str) -> None:
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        if part.get("additionalProperties") is not False:
            return
        assert values.keys() == part["properties"].keys() - {"global"}, place
        for name, value in values.items():
            if isinstance(value, dict):
                compare(value, part["properties"][name], f"{place}.{name}")

    compare(defaults, schema, "values")


def test_every_value_is_used() -> None:
    templates = "\n".join(
        path.read_text() for path in (CHART / "templates").iterdir() if path.is_file()
    )
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def names(values: dict[str, Any]) -> list[str]:
        inner = [
            one for value in values.values() if isinstance(value, dict) for one in names(value)
        ]
        return [*values, *inner]

    # Requests, limits and names of annotations are passed on as a whole.
    passed = re.compile(r"^(requests|limits|cpu|memory|.*/.*)$")
    unused = [
        name
        for name in names(defaults)
        if not passed.match(name) and not re.search(rf"\.{name}\b", templates)
    ]
    assert unused == []
