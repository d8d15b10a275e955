"""Admission policies against a running server."""

from __future__ import annotations

from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.request import Request, User

GROUP = "admissionregistration.k8s.io"
CONFIGMAPS = GVR("", "v1", "configmaps")
NAMESPACES = GVR("", "v1", "namespaces")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
ADMIN = User("admin", ("system:masters",))


def gvr(word: str, *, binding: bool = False) -> GVR:
    return GVR(GROUP, "v1", f"{word}admissionpolic{'ybindings' if binding else 'ies'}")


def rule(resource: str = "configmaps", group: str = "", **more: Any) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": [resource],
        "operations": ["CREATE", "UPDATE"],
        **more,
    }


async def validating(
    api: EmbeddedCluster,
    *expressions: str | dict[str, Any],
    rules: list[dict[str, Any]] | None = None,
    binding: dict[str, Any] | None = None,
    match: dict[str, Any] | None = None,
    **spec: Any,
) -> None:
    validations = [{"expression": e} if isinstance(e, str) else e for e in expressions]
    constraints = {"resourceRules": rules or [rule()], **(match or {})}
    body = {"matchConstraints": constraints, "validations": validations, **spec}
    await api.client.create(gvr("validating"), {"metadata": {"name": "p"}, "spec": body})
    bound = {"policyName": "p", "validationActions": ["Deny"], **(binding or {})}
    await api.client.create(
        gvr("validating", binding=True), {"metadata": {"name": "b"}, "spec": bound}
    )


async def mutating(
    api: EmbeddedCluster, *mutations: str, name: str = "p", resource: Any = None, **spec: Any
) -> None:
    made = []
    for expression in mutations:
        patch = expression.lstrip().startswith("[")
        made.append(
            {
                "patchType": "JSONPatch" if patch else "ApplyConfiguration",
                "jsonPatch" if patch else "applyConfiguration": {"expression": expression},
            }
        )
    body = {
        "matchConstraints": {"resourceRules": [resource or rule()]},
        "reinvocationPolicy": "Never",
        "mutations": made,
        **spec,
    }
    await api.client.create(gvr("mutating"), {"metadata": {"name": name}, "spec": body})
    await api.client.create(
        gvr("mutating", binding=True), {"metadata": {"name": name}, "spec": {"policyName": name}}
    )


def config(name: str = "ok", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


async def refused(api: EmbeddedCluster, body: dict[str, Any]) -> StatusError:
    with pytest.raises(StatusError) as e:
        await api.client.create(CONFIGMAPS, body, "default")
    return e.value


DENIED = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "


@pytest.mark.parametrize(
    ("validation", "code", "why"),
    [
        pytest.param(
            {"expression": "'x' in object.data"},
            422,
            "failed expression: 'x' in object.data",
            id="the expression where nothing else is said",
        ),
        pytest.param(
            {"expression": "false", "message": "no", "reason": "Forbidden"}, 403, "no", id="reason"
        ),
        pytest.param(
            {"expression": "false", "message": "no", "messageExpression": "'not ' + object.kind"},
            422,
            "not ConfigMap",
            id="messageExpression",
        ),
        pytest.param(
            {"expression": "false", "message": "no", "messageExpression": "object.nope"},
            422,
            "no",
            id="the message where its expression fails",
        ),
        pytest.param(
            {"expression": "object.nope == 1"},
            422,
            "expression 'object.nope == 1' resulted in error: no such key: nope",
            id="an error",
        ),
        pytest.param(
            {"expression": "variables.bad"},
            422,
            "expression 'variables.bad' resulted in error: composited variable \"bad\" fails to "
            "evaluate: no such key: nope",
            id="an error in a variable",
        ),
        pytest.param({"expression": "variables.twice == 2"}, 0, "", id="variables"),
        pytest.param({"expression": "true || variables.bad"}, 0, "", id="variables are lazy"),
        pytest.param(
            {"expression": "namespaceObject.metadata.name == request.namespace"}, 0, "", id="ns"
        ),
        pytest.param(
            {"expression": "authorizer.requestResource.check('create').allowed()"},
            0,
            "",
            id="authorizer",
        ),
        pytest.param(
            {
                "expression": "!authorizer.serviceAccount('default', 'x').group('').resource('pods')"
                ".namespace('default').check('create').allowed()"
            },
            0,
            "",
            id="authorizer of another",
        ),
    ],
)
async def test_a_validation_is_judged(
    api: EmbeddedCluster, validation: dict[str, str], code: int, why: str
) -> None:
    variables = [
        {"name": "one", "expression": "1"},
        {"name": "twice", "expression": "variables.one + 1"},
        {"name": "bad", "expression": "object.nope == 1"},
    ]
    if validation.get("messageExpression") == "object.nope":
        validation = {**validation, "messageExpression": "string(object.nope)"}
    await validating(api, validation, variables=variables)
    if not code:
        await api.client.create(CONFIGMAPS, config(), "default")
        return
    error = await refused(api, config(a="1"))
    assert (error.code, error.message) == (
        code,
        f'configmaps "ok" is forbidden: {DENIED}{why}',
    )
    assert (error.details or {})["causes"] == [{"message": DENIED + why}]


async def test_failure_policy_ignore_lets_errors_pass(api: EmbeddedCluster) -> None:
    await validating(api, "object.nope == 1", failurePolicy="Ignore")
    await api.client.create(CONFIGMAPS, config(), "default")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            {"matchConditions": [{"name": "c", "expression": "object.metadata.name == 'x'"}]},
            id="matchConditions",
        ),
        pytest.param({"rules": [rule(resourceNames=["x"])]}, id="resourceNames"),
        pytest.param({"match": {"excludeResourceRules": [rule()]}}, id="excluded"),
        pytest.param({"match": {"objectSelector": {"matchLabels": {"a": "b"}}}}, id="objects"),
        pytest.param(
            {"match": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, id="namespaces"
        ),
        pytest.param(
            {"binding": {"matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}}},
            id="of the binding",
        ),
        pytest.param({"rules": [rule("secrets")]}, id="another resource"),
        pytest.param({"rules": [rule(scope="Cluster")]}, id="scope"),
        pytest.param({"rules": [rule(operations=["DELETE"])]}, id="operations"),
        pytest.param({"binding": {"policyName": "other"}}, id="unbound"),
    ],
)
async def test_what_a_policy_is_not_about_passes(
    api: EmbeddedCluster, spec: dict[str, Any]
) -> None:
    await validating(api, "false", **spec)
    await api.client.create(CONFIGMAPS, config(), "default")


async def test_equivalent_resources_are_shown_in_the_version_of_the_rule(
    api: EmbeddedCluster,
) -> None:
    rules = [{**rule("horizontalpodautoscalers", "autoscaling"), "apiVersions": ["v1"]}]
    await validating(api, "object.apiVersion != 'autoscaling/v1'", rules=rules)
    scaled = {
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        },
    }
    with pytest.raises(StatusError, match="failed expression"):
        await api.client.create(
            GVR("autoscaling", "v2", "horizontalpodautoscalers"), scaled, "default"
        )


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        pytest.param({"name": "limits", "parameterNotFoundAction": "Deny"}, "at most 2", id="name"),
        pytest.param(
            {"selector": {"matchLabels": {"a": "b"}}, "parameterNotFoundAction": "Deny"},
            "at most 2",
            id="selector",
        ),
        pytest.param(
            {"name": "nope", "parameterNotFoundAction": "Deny"},
            "failed to configure binding: no params found for policy binding with `Deny` "
            "parameterNotFoundAction",
            id="missing",
        ),
        pytest.param({"name": "nope", "parameterNotFoundAction": "Allow"}, "", id="allowed"),
    ],
)
async def test_parameters(api: EmbeddedCluster, reference: dict[str, Any], why: str) -> None:
    limits = {"metadata": {"name": "limits", "labels": {"a": "b"}}, "data": {"max": "2"}}
    await api.client.create(CONFIGMAPS, limits, "default")
    await validating(
        api,
        {
            "expression": "size(object.data) <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max",
        },
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": reference},
    )
    body = config(a="1", b="2", c="3")
    if not why:
        await api.client.create(CONFIGMAPS, body, "default")
        return
    error = await refused(api, body)
    assert error.message == f'configmaps "ok" is forbidden: {DENIED}{why}'


async def test_an_unbound_policy_stops_to_refuse(api: EmbeddedCluster) -> None:
    await validating(api, "false")
    await refused(api, config())
    await api.client.delete(gvr("validating", binding=True), "b")
    await api.client.create(CONFIGMAPS, config(), "default")


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        pytest.param("1", "must evaluate to bool but got int", id="type"),
        pytest.param("object.x", "must evaluate to bool but got dyn", id="dyn"),
        pytest.param(
            "params.x == 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' "
            "(in container '')\n | params.x == 1\n | ^",
            id="no parameters",
        ),
        pytest.param(
            "request.nope == 1",
            "compilation failed: ERROR: <input>:1:8: undefined field 'nope'\n"
            " | request.nope == 1\n | .......^",
            id="field of the request",
        ),
    ],
)
async def test_expressions_are_compiled_when_a_policy_is_written(
    api: EmbeddedCluster, expression: str, why: str
) -> None:
    with pytest.raises(StatusError) as e:
        await validating(api, expression)
    assert e.value.code == 422
    assert e.value.message.endswith(f": {why}")


APPLIED = 'Object{metadata: Object.metadata{labels: {"by": request.operation}}}'
PATCHED = '[JSONPatch{op: "add", path: "/data/added", value: "by-" + object.metadata.name}]'


async def test_apply_configurations_and_patches_change_the_object(api: EmbeddedCluster) -> None:
    await mutating(api, APPLIED, PATCHED)
    made = await api.client.create(CONFIGMAPS, config(a="1"), "default")
    assert made["metadata"]["labels"] == {"by": "CREATE"}
    assert made["data"] == {"a": "1", "added": "by-ok"}


async def test_lists_are_merged_by_their_keys_and_defaulted(api: EmbeddedCluster) -> None:
    await mutating(
        api,
        """Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
            containers: [Object.spec.template.spec.containers{name: "side", image: "s"}]}}}}""",
        resource=rule("deployments", "apps"),
    )
    labels = {"a": "b"}
    container = {"name": "c", "image": "i"}
    body = {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    made = await api.client.create(DEPLOYMENTS, body, "default")
    found = made["spec"]["template"]["spec"]["containers"]
    assert [(c["name"], c["imagePullPolicy"]) for c in found] == [
        ("c", "Always"),
        ("side", "Always"),
    ]


@pytest.mark.parametrize(
    ("mutation", "why"),
    [
        pytest.param(
            "Object{metadata: Object.spec{name: 'x'}}",
            'type mismatch: unexpected type name "Object.spec", expected "Object.metadata", which '
            "matches field name path from root Object type",
            id="wrong name",
        ),
        pytest.param(
            "Object{nope: 1}",
            "error applying patch: failed to convert patch object to typed object: "
            ".nope: field not declared in schema",
            id="unknown field",
        ),
        pytest.param(
            '[JSONPatch{op: "add", path: "/nope/x", value: 1}]',
            'JSON Patch: add operation does not apply: doc is missing path: "/nope/x": '
            "missing value",
            id="missing path",
        ),
    ],
)
async def test_a_mutation_that_fails_refuses_the_object(
    api: EmbeddedCluster, mutation: str, why: str
) -> None:
    await mutating(api, mutation)
    error = await refused(api, config())
    assert (error.code, error.body["reason"]) == (403, "Invalid")
    assert error.message == f"policy 'p' with binding 'p' denied request: {why}"


async def test_a_failed_test_leaves_the_object_alone(api: EmbeddedCluster) -> None:
    test = '[JSONPatch{op: "test", path: "/data/a", value: "2"}, JSONPatch{op: "remove", path: "/data"}]'
    await mutating(api, test)
    made = await api.client.create(CONFIGMAPS, config(a="1"), "default")
    assert made["data"] == {"a": "1"}


@pytest.mark.parametrize(("policy", "seen"), [("Never", "false"), ("IfNeeded", "true")])
async def test_reinvocation(api: EmbeddedCluster, policy: str, seen: str) -> None:
    look = 'Object{data: {"seen": string(has(object.data) && "late" in object.data)}}'
    await mutating(api, look, name="a", reinvocationPolicy=policy)
    await mutating(api, 'Object{data: {"late": "yes"}}', name="b")
    made = await api.client.create(CONFIGMAPS, config(), "default")
    assert made["data"] == {"seen": seen, "late": "yes"}


async def test_warnings_do_not_refuse(api: EmbeddedCluster) -> None:
    await validating(
        api,
        {"expression": "false", "message": "careful"},
        binding={"validationActions": ["Warn", "Audit"]},
    )
    path = "/api/v1/namespaces/default/configmaps"
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}'
    headers = {"Content-Type": "application/json"}
    request = Request("POST", path, headers=headers, body=body, user=ADMIN)
    response = await api.api.handle(request)
    assert response.status == 201
    assert request.warnings == [
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': careful"
    ]
