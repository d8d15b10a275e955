"""What ``$(NAME)`` becomes, what services and resources say of themselves."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cove.node.pods.env import Around, ConfigError, environment, expand, field, resource
from cove.node.pods.env import service_links as links

Doc = dict[str, Any]
POD: Doc = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "labels": {"b": 'say "x"', "a": "1"},
        "annotations": {"example.com/k": "v"},
    },
    "spec": {"nodeName": "node-0", "serviceAccountName": "default", "containers": []},
}


def around(**objects: Doc) -> Around:
    return Around(
        address="10.1.0.2",
        host="10.1.0.1",
        allocatable={"cpu": "4", "memory": "8Gi"},
        config_map=lambda name: objects.get(f"config_{name}"),
        secret=lambda name: objects.get(f"secret_{name}"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)$(A)", "$(B)1"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("$()", "$()"),
        ("a$(A)b$(A)", "a1b1"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


@given(some.text(alphabet="$()AB x", max_size=30))
def test_what_was_doubled_comes_back_as_it_was(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "1", "B": "2"}) == text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.labels['a']", "1"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['example.com/k']", "v"),
        ("metadata.labels", 'a="1"\nb="say \\"x\\""'),
        ("status.podIP", "10.1.0.2"),
        ("status.hostIP", "10.1.0.1"),
        ("spec.nodeName", "node-0"),
    ],
)
def test_fields_of_the_pod(path: str, expected: str) -> None:
    assert field(POD, path, around()) == expected


def test_a_field_there_is_none_of() -> None:
    with pytest.raises(ConfigError, match=r"unsupported fieldPath: spec\.none"):
        field(POD, "spec.none", around())


@pytest.mark.parametrize(
    ("name", "divisor", "expected"),
    [
        ("limits.cpu", "1", "2"),
        ("limits.cpu", "1m", "1500"),
        ("limits.cpu", "0", "2"),
        ("limits.memory", "1Mi", "8192"),
        ("requests.memory", "1", "0"),
    ],
)
def test_resources_are_whole_numbers_of_divisors(name: str, divisor: str, expected: str) -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1500m"}}}
    assert resource(container, name, divisor, {"memory": "8Gi"}) == expected


def test_services_are_told_as_links() -> None:
    service = {
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "10.0.0.9", "ports": [{"name": "sql", "port": 5432}]},
    }
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    assert links([service, headless]) == {
        "MY_DB_SERVICE_HOST": "10.0.0.9",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT": "tcp://10.0.0.9:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.0.0.9:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.0.0.9",
    }


def test_later_sources_win_and_see_earlier_ones() -> None:
    config = {"kind": "ConfigMap", "data": {"A": "config", "B": "config"}}
    secret = {"kind": "Secret", "type": "Opaque", "data": {"B": b64encode(b"hidden").decode()}}
    container = {
        "name": "c",
        "envFrom": [
            {"configMapRef": {"name": "x"}},
            {"prefix": "S_", "secretRef": {"name": "y"}},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
        "env": [{"name": "A", "value": "own"}, {"name": "C", "value": "$(A) $(B) $(S_B) $(D)"}],
    }
    found = environment(container, POD, around(config_x=config, secret_y=secret))
    assert found == {"A": "own", "B": "config", "S_B": "hidden", "C": "own config hidden $(D)"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "z", "key": "k"}}, 'configmap "z" not found'),
        ({"secretKeyRef": {"name": "z", "key": "k"}}, 'secret "z" not found'),
        (
            {"configMapKeyRef": {"name": "x", "key": "k"}},
            "couldn't find key k in ConfigMap n/x",
        ),
    ],
)
def test_what_is_not_there_is_named(source: Doc, message: str) -> None:
    container = {"name": "c", "env": [{"name": "V", "valueFrom": source}]}
    with pytest.raises(ConfigError) as caught:
        environment(container, POD, around(config_x={"kind": "ConfigMap", "data": {}}))
    assert str(caught.value) == message
