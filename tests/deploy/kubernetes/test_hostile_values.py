"""Hostile values of the chart: quotes, line breaks, and words that YAML reads as no text."""

import copy
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.kubernetes.chart import Document, ask_helm, documents_of, example, needs_helm
from tests.deploy.kubernetes.helm import CHART

pytestmark = needs_helm()

Place = tuple[str | int, ...]

HOSTILE = ("x\"'\n---\nkind: Evil\nmetadata: {name: evil}\n#", 'a"b {{ .Values }} : #')


def texts_in(value: object, place: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from texts_in(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from texts_in(inner, (*place, number))
    elif isinstance(value, str):
        yield place


def with_text(values: Document, place: Place, text: str) -> Document:
    changed = copy.deepcopy(values)
    inner: Any = changed
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = text
    return changed


def merged(below: Document, above: Document) -> Document:
    result = dict(below)
    for name, value in above.items():
        inner = result.get(name)
        if isinstance(inner, dict) and isinstance(value, dict):
            result[name] = merged(inner, value)
        else:
            result[name] = value
    return result


def values_of(name: str) -> Document:
    return merged(yaml.safe_load((CHART / "values.yaml").read_text()), example(name))


def test_no_value_becomes_yaml_of_its_own() -> None:
    requests, asked = [], []
    for name in ("gpus", "external-redis"):
        values = values_of(name)
        for place in texts_in(values):
            for text in HOSTILE:
                asked.append((name, place))
                requests.append({"verb": "template", "values": with_text(values, place, text)})
    rendered = 0
    for answer, what in zip(ask_helm(*requests), asked, strict=True):
        if "error" in answer:
            # The schema refuses it.
            continue
        documents = documents_of(answer)
        assert "Evil" not in {document["kind"] for document in documents}, what
        rendered += 1
    assert rendered > len(requests) / 2


def test_a_name_of_digits_is_text_in_every_label_and_secret() -> None:
    values = values_of("gpus")
    values["services"] = {name: {} for name in ("123", "1e3", "null", "on")}
    values["tokens"] = merged(values["tokens"], {"clients": "456", "workers": "1e4"})
    values["queueService"]["tls"]["secretName"] = "0123"
    (answer,) = ask_helm({"verb": "template", "values": values, "release": "789"})
    assert "error" not in answer, answer["error"]
    wrong = [
        (document["kind"], path)
        for document in documents_of(answer)
        for path, value in leaves(document)
        if path[-2:-1] in (("labels",), ("matchLabels",)) or path[-1] in ("secretName", "name")
        if not isinstance(value, str)
    ]
    assert not wrong


def leaves(value: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*place, number))
    else:
        yield place, value
