"""The chart as tests use it: rendered documents, and parts of them."""

import base64
import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.helm import CHART

ROOT = CHART.parents[1]
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))

Document = dict[str, Any]


def needs_helm() -> pytest.MarkDecorator:
    """Skip where the bindings of Helm are not installed."""
    missing = find_spec("helm_python") is None
    return pytest.mark.skipif(missing, reason="helm-python-sdk is not installed (the extra `dev`)")


def example(name: str) -> Document:
    """Return the values of an example."""
    values: Document = yaml.safe_load((CHART / "examples" / f"{name}.yaml").read_text())
    return values


def ask_helm(*requests: Document) -> list[Document]:
    """Let Helm answer; each answer has `error` if it refused."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.kubernetes.helm"],
        cwd=ROOT,
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Document] = json.loads(done.stdout)
    return answers


def template(values: Document, **request: str) -> list[Document]:
    """Return the documents that Helm makes of these values."""
    return _template(json.dumps({"verb": "template", "values": values, **request}))


@cache
def _template(request: str) -> list[Document]:
    (answer,) = ask_helm(json.loads(request))
    assert "error" not in answer, answer["error"]
    return documents_of(answer)


def documents_of(answer: Document) -> list[Document]:
    """Return the documents of one answer of Helm."""
    texts = [text for path, text in answer["texts"].items() if Path(path).suffix == ".yaml"]
    return [one for text in texts for one in yaml.safe_load_all(text) if one is not None]


def of_kind(documents: list[Document], kind: str, name: str = "") -> Document:
    """Return the only document of this kind whose name ends like this."""
    (found,) = [
        one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(name)
    ]
    return found


def pods(documents: list[Document]) -> dict[str, Document]:
    """Return the specification of every pod, by the name of what starts it."""
    found = {}
    for one in documents:
        match one["kind"]:
            case "Deployment" | "StatefulSet":
                found[one["metadata"]["name"]] = one["spec"]["template"]["spec"]
            case "ScaledJob":
                found[one["metadata"]["name"]] = one["spec"]["jobTargetRef"]["template"]["spec"]
    return found


def containers(pod: Document) -> dict[str, Document]:
    """Return the containers of a pod by name."""
    return {one["name"]: one for one in [*pod.get("initContainers", []), *pod["containers"]]}


def variables(container: Document, secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the variables of a container as Kubernetes sets them.

    secrets: decoded, by name and key.
    """
    found = {}
    for one in container.get("env", []):
        source = one.get("valueFrom", {})
        if "secretKeyRef" in source:
            wanted = source["secretKeyRef"]
            found[one["name"]] = secrets[wanted["name"]][wanted["key"]]
        elif "fieldRef" in source:
            found[one["name"]] = "a-pod"
        else:
            found[one["name"]] = expanded(one["value"])
    return found


def expanded(text: str) -> str:
    """Return what Kubernetes makes of a value without references: `$$` is one `$`."""
    assert "$(" not in text.replace("$$", "")
    return text.replace("$$", "$")


def secrets_of(documents: list[Document]) -> dict[str, dict[str, str]]:
    """Return the Secrets of the chart, decoded."""
    return {
        one["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in (one["data"] or {}).items()
        }
        for one in documents
        if one["kind"] == "Secret"
    }
