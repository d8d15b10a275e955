"""kubectl's own validation: Lists, several documents and custom resources, before they are sent."""

from __future__ import annotations

from typing import Any

import pytest
from manifests import CONFIG, DEPLOYMENT, SERVICE

pytestmark = pytest.mark.requires("kubectl")

LIST = """
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: listed}
  data: {colour: blue}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: listed}
  spec:
    replicas: 0
    selector: {matchLabels: {app: listed}}
    template:
      metadata: {labels: {app: listed}}
      spec: {containers: [{name: main, image: "nginx:1.27"}]}
"""

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kites.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: kites, singular: kite, kind: Kite, listKind: KiteList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              tail: {type: integer, minimum: 1}
              lines: {type: array, items: {type: string}}
"""

KITES = """
apiVersion: v1
kind: List
items:
- {apiVersion: example.com/v1, kind: Kite, metadata: {name: red}, spec: {tail: 3, lines: [a]}}
- {apiVersion: example.com/v1, kind: Kite, metadata: {name: blue}, spec: {tail: 4}}
"""


@pytest.mark.parametrize("verb", ["create", "apply"])
@pytest.mark.parametrize("validate", ["true", "strict", "warn", "ignore"])
async def test_a_list_is_taken(kubectl: Any, verb: str, validate: str) -> None:
    out = await kubectl(verb, f"--validate={validate}", "-f", "-", stdin=LIST)

    assert out.split() == ["configmap/listed", "created", "deployment.apps/listed", "created"]


async def test_a_file_of_several_kinds_is_taken(kubectl: Any) -> None:
    text = "---".join([LIST, SERVICE, DEPLOYMENT, CONFIG % "red"])

    out = await kubectl("apply", "--validate=strict", "-f", "-", stdin=text)
    again = await kubectl("apply", "--validate=strict", "-f", "-", stdin=text)

    assert (out.count(" created\n"), again.count(" unchanged\n")) == (5, 5)


async def test_mistakes_in_a_list_are_told_before_anything_is_sent(kubectl: Any) -> None:
    wrong = LIST.replace("replicas: 0", "replicas: none, please").replace("colour", "1colour")

    done = await kubectl.attempt("create", "-f", "-", stdin=wrong.replace("data:", "date:"))
    left = await kubectl("get", "configmaps,deployments", "-o", "name")

    assert done.code == 1
    assert 'ValidationError(ConfigMap): unknown field "date" in io.k8s.api.core.v1' in done.err
    assert (
        'invalid type for io.k8s.api.apps.v1.DeploymentSpec.replicas: got "string", '
        'expected "integer"'
    ) in done.err
    assert "listed" not in left


async def test_custom_resources_alone_and_in_lists(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    await kubectl("wait", "--for=condition=Established", "crd/kites.example.com")
    one = "{apiVersion: example.com/v1, kind: Kite, metadata: {name: one}, spec: {tail: 1}}"
    own = KITES.replace("apiVersion: v1\nkind: List", "apiVersion: example.com/v1\nkind: KiteList")

    created = await kubectl("create", "--validate=strict", "-f", "-", stdin=KITES)
    applied = await kubectl("apply", "--validate=strict", "-f", "-", stdin=one)
    listed = await kubectl.attempt("apply", "--validate=strict", "-f", "-", stdin=own)
    refused = await kubectl.attempt(
        "create", "--validate=strict", "-f", "-", stdin=one.replace("tail", "tale")
    )
    inside = await kubectl.attempt(
        "create", "--validate=strict", "-f", "-", stdin=KITES.replace("tail: 3", "tale: 3")
    )

    assert created.split("\n")[:2] == [
        "kite.example.com/red created",
        "kite.example.com/blue created",
    ]
    assert applied == "kite.example.com/one created\n"
    assert listed.code == 0, listed.err
    assert 'unknown field "spec.tale"' in refused.err
    assert 'unknown field "tale"' in inside.err
