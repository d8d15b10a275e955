"""Admission webhooks: a running server asks real HTTPS servers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from tests.https import Webhook, allowed, bundle, patching, serving, webhook

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.bootstrap import seed
from cove.server.request import Request, User

GROUP = "admissionregistration.k8s.io"
CONFIGMAPS = GVR("", "v1", "configmaps")
NAMESPACES = GVR("", "v1", "namespaces")
PODS = GVR("", "v1", "pods")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
ADMIN = User("admin", ("system:masters",))
MUTATING = GVR(GROUP, "v1", "mutatingwebhookconfigurations")
VALIDATING = GVR(GROUP, "v1", "validatingwebhookconfigurations")


def rule(resource: str = "configmaps", group: str = "", **more: Any) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": [resource],
        "operations": ["*"],
        **more,
    }


def hook(asked: Webhook | dict[str, Any], **more: Any) -> dict[str, Any]:
    """A webhook entry; ``name`` is "x.example.com" unless said otherwise."""
    return {
        "name": "x.example.com",
        "clientConfig": asked.client_config if isinstance(asked, Webhook) else asked,
        "rules": [rule()],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }


async def configure(
    api: EmbeddedCluster, kind: GVR, *hooks: dict[str, Any], name: str = "hooks"
) -> None:
    await api.client.create(kind, {"metadata": {"name": name}, "webhooks": list(hooks)})


def config(name: str = "c", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def add(key: str, value: str = "yes") -> dict[str, Any]:
    return {"op": "add", "path": f"/data/{key}", "value": value}


async def create(api: EmbeddedCluster, obj: dict[str, Any] | None = None, **how: Any) -> Any:
    return await api.client.create(CONFIGMAPS, obj or config(a="b"), "default", **how)


async def refusal(api: EmbeddedCluster, **how: Any) -> StatusError:
    with pytest.raises(StatusError) as e:
        await create(api, **how)
    return e.value


async def raw(
    api: EmbeddedCluster, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, Any], list[str]]:
    """The answer to a request, with its warnings."""
    request = Request(
        method,
        path.partition("?")[0],
        query=path.partition("?")[2],
        headers={"Content-Type": "application/json", "User-Agent": "test", **headers},
        body=json.dumps(body).encode() if body is not None else b"",
        user=ADMIN,
    )
    response = await api.api.handle(request)
    warnings = [v for k, v in response.headers if k == "Warning"]
    return response.status, json.loads(response.body or b"{}"), warnings


# -- what a webhook is told


async def test_a_review_tells_the_write(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:
        await configure(api, VALIDATING, hook(asked))

        created = await create(api, field_manager="me")

    (request,) = asked.asked
    assert request["operation"] == "CREATE"
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert request["requestKind"] == request["kind"]
    assert (request["name"], request["namespace"]) == ("c", "default")
    assert request["userInfo"]["username"] == "admin"
    assert request["dryRun"] is False
    assert request["options"] == {
        "kind": "CreateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "fieldManager": "me",
    }
    assert request["oldObject"] is None
    # A validating webhook sees what will be stored but for its resourceVersion.
    created["metadata"].pop("resourceVersion")
    assert request["object"] == created
    assert asked.paths == ["/review?timeout=10s"]


async def test_updates_and_deletions_tell_the_old_object(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:
        await create(api)
        await configure(api, VALIDATING, hook(asked))

        await api.client.patch(CONFIGMAPS, "c", {"data": {"a": "z"}}, "default")
        await api.client.delete(CONFIGMAPS, "c", "default", grace=0)

    update, delete = asked.asked
    assert (update["operation"], delete["operation"]) == ("UPDATE", "DELETE")
    assert update["oldObject"]["data"] == {"a": "b"}
    assert update["object"]["data"] == {"a": "z"}
    assert update["options"]["kind"] == "UpdateOptions"
    assert delete["object"] is None
    assert delete["oldObject"]["data"] == {"a": "z"}
    assert delete["options"]["gracePeriodSeconds"] == 0


async def test_an_older_review_is_sent_where_nothing_else_is_listed(api: EmbeddedCluster) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        # Neither kind nor uid were looked at.
        return {"kind": "Anything", "apiVersion": "v0", "response": {"allowed": True}}

    async with webhook(answer) as asked:
        entry = hook(asked, admissionReviewVersions=["v1beta1"])
        await configure(api, VALIDATING, entry)

        await create(api)

    assert len(asked.asked) == 1


async def test_a_deleted_collection_asks_once_for_each(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:
        for name in ("a", "b", "c"):
            await create(api, config(name))
        await configure(api, VALIDATING, hook(asked, rules=[rule(operations=["DELETE"])]))

        await api.client.delete_collection(CONFIGMAPS, "default")

    assert sorted(r["name"] for r in asked.asked) == ["a", "b", "c"]


async def test_a_scale_is_shown_as_a_scale(api: EmbeddedCluster) -> None:
    deployment = {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    more = {"op": "replace", "path": "/spec/replicas", "value": 5}
    async with webhook(patching(more)) as asked:
        await api.client.create(DEPLOYMENTS, deployment, "default")
        rules = [rule("deployments/scale", "apps")]
        await configure(api, MUTATING, hook(asked, rules=rules))

        await api.client.patch(
            DEPLOYMENTS, "d", {"spec": {"replicas": 3}}, "default", subresource="scale"
        )
        found = await api.client.get(DEPLOYMENTS, "d", "default")

    (request,) = asked.asked
    assert request["subResource"] == "scale"
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["object"]["spec"] == {"replicas": 3}
    assert request["oldObject"]["spec"] == {"replicas": 1}
    assert found["spec"]["replicas"] == 5


async def test_evictions_are_asked_about_instead_of_the_deletion(api: EmbeddedCluster) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    async with webhook(allowed) as asked:
        await api.client.create(PODS, pod, "default")
        await configure(api, VALIDATING, hook(asked, rules=[rule("pods"), rule("pods/eviction")]))

        await api.client.create(
            PODS, {"metadata": {"name": "p"}}, "default", name="p", subresource="eviction"
        )

    assert [(r["operation"], r["subResource"]) for r in asked.asked] == [("CREATE", "eviction")]


async def test_a_connection_is_asked_about(api: EmbeddedCluster) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    async with webhook(lambda _: {"allowed": False, "status": {"message": "no"}}) as asked:
        await api.client.create(PODS, pod, "default")
        rules = [rule("pods/exec", operations=["CONNECT"])]
        await configure(api, VALIDATING, hook(asked, rules=rules))

        path = "/api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdin=true"
        status, doc, _ = await raw(api, "POST", path)

    assert (status, doc["message"]) == (
        400,
        'admission webhook "x.example.com" denied the request: no',
    )
    assert asked.asked[0]["object"] == {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdin": True,
        "command": ["ls", "-l"],
    }


async def test_equivalent_versions_are_converted_for_it(api: EmbeddedCluster) -> None:
    autoscaler = {
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        },
    }
    lower = {"op": "replace", "path": "/spec/maxReplicas", "value": 2}
    rules = [rule("horizontalpodautoscalers", "autoscaling", apiVersions=["v1"])]
    newer = GVR("autoscaling", "v2", "horizontalpodautoscalers")
    async with webhook(patching(lower)) as asked, webhook(allowed) as exact:
        await configure(
            api,
            MUTATING,
            hook(asked, rules=rules),
            hook(exact, rules=rules, matchPolicy="Exact", name="y.example.com"),
        )

        created = await api.client.create(newer, autoscaler, "default")

    assert asked.asked[0]["object"]["apiVersion"] == "autoscaling/v1"
    assert asked.asked[0]["requestKind"]["version"] == "v2"
    assert created["apiVersion"] == "autoscaling/v2"
    assert created["spec"]["maxReplicas"] == 2
    assert exact.asked == []


# -- which writes it is asked about


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        pytest.param({}, True, id="all of the resource"),
        pytest.param({"rules": [rule("secrets")]}, False, id="another resource"),
        pytest.param({"rules": [rule("configmaps/*")]}, True, id="any subresource"),
        pytest.param({"rules": [rule("configmaps/status")]}, False, id="a subresource"),
        pytest.param({"rules": [rule("*", "*", apiVersions=["*"])]}, True, id="everything"),
        pytest.param({"rules": [rule(operations=["UPDATE"])]}, False, id="another operation"),
        pytest.param({"rules": [rule(scope="Cluster")]}, False, id="another scope"),
        pytest.param({"rules": []}, False, id="no rules"),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
            True,
            id="the namespace",
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"team": "x"}}}, False, id="another namespace"
        ),
        pytest.param({"objectSelector": {"matchLabels": {"l": "1"}}}, True, id="the labels"),
        pytest.param({"objectSelector": {"matchLabels": {"l": "2"}}}, False, id="other labels"),
        pytest.param(
            {"matchConditions": [{"name": "n", "expression": "object.data.a == 'b'"}]},
            True,
            id="the condition",
        ),
        pytest.param(
            {"matchConditions": [{"name": "n", "expression": "request.operation == 'DELETE'"}]},
            False,
            id="another condition",
        ),
        pytest.param(
            {
                "matchConditions": [{"name": "n", "expression": "object.nope == 1"}],
                "failurePolicy": "Ignore",
            },
            False,
            id="a condition that cannot be told, ignored",
        ),
    ],
)
async def test_it_is_asked_about_what_it_matches(
    api: EmbeddedCluster, more: dict[str, Any], asked: bool
) -> None:
    async with webhook(allowed) as called:
        await configure(api, VALIDATING, hook(called, **more))

        labelled = {**config(a="b"), "metadata": {"name": "c", "labels": {"l": "1"}}}
        await create(api, labelled)

    assert len(called.asked) == int(asked)


async def test_a_condition_that_cannot_be_told_refuses(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as called:
        conditions = [{"name": "n", "expression": "object.nope == 1"}]
        await configure(api, VALIDATING, hook(called, matchConditions=conditions))

        error = await refusal(api)

    assert (error.code, error.reason) == (403, "Forbidden")
    assert "resulted in error: no such key: nope" in error.message
    assert called.asked == []


async def test_namespaces_are_selected_by_their_own_labels(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as called:
        entry = hook(
            called,
            rules=[rule("namespaces")],
            namespaceSelector={"matchLabels": {"team": "x"}},
        )
        await configure(api, VALIDATING, entry)

        await api.client.create(NAMESPACES, {"metadata": {"name": "n1", "labels": {"team": "x"}}})
        await api.client.create(NAMESPACES, {"metadata": {"name": "n2"}})
        await api.client.delete(NAMESPACES, "n1")
        await api.client.delete(NAMESPACES, "n2")

    assert [(r["operation"], r["name"], r["namespace"]) for r in called.asked] == [
        ("CREATE", "n1", "n1"),
        ("DELETE", "n1", "n1"),
    ]


async def test_nobody_is_locked_out_of_admission_itself(api: EmbeddedCluster) -> None:
    async with webhook(lambda _: {"allowed": False}) as called:
        everything = rule("*", "*", apiVersions=["*"])
        await configure(api, VALIDATING, hook(called, rules=[everything]))

        await api.client.delete(VALIDATING, "hooks")
        await create(api)

    assert called.asked == []


# -- what it answers


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        pytest.param(None, 400, "", "denied the request without explanation", id="nothing"),
        pytest.param({"message": "why"}, 400, "", "denied the request: why", id="a message"),
        pytest.param(
            {"reason": "Busy", "code": 200}, 400, "Busy", "denied the request: Busy", id="a reason"
        ),
        pytest.param(
            {"message": "why", "code": 418, "reason": "Teapot"},
            418,
            "Teapot",
            "denied the request: why",
            id="all",
        ),
    ],
)
@pytest.mark.parametrize("kind", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_a_refusal_is_told(
    api: EmbeddedCluster, kind: GVR, status: Any, code: int, reason: str, message: str
) -> None:
    def answer(_request: Any) -> dict[str, Any]:
        return {"allowed": False, **({"status": status} if status else {})}

    async with webhook(answer) as asked:
        await configure(api, kind, hook(asked))

        error = await refusal(api)

    assert (error.code, error.reason) == (code, reason)
    assert error.message == f'admission webhook "x.example.com" {message}'


async def test_warnings_reach_the_client(api: EmbeddedCluster) -> None:
    async with webhook(lambda _: {"allowed": True, "warnings": ["careful", "now"]}) as asked:
        await configure(api, VALIDATING, hook(asked))

        path = "/api/v1/namespaces/default/configmaps"
        status, _, warnings = await raw(api, "POST", path, config())

    assert status == 201
    assert warnings == ['299 - "careful"', '299 - "now"']


async def test_a_patch_is_applied_and_belongs_to_nobody(api: EmbeddedCluster) -> None:
    unknown = {"op": "add", "path": "/nonsense", "value": 1}
    async with webhook(patching(add("x"), unknown)) as asked:
        await configure(api, MUTATING, hook(asked))

        created = await create(api)

    assert created["data"] == {"a": "b", "x": "yes"}
    assert "nonsense" not in created
    (entry,) = created["metadata"]["managedFields"]
    assert "f:a" in entry["fieldsV1"]["f:data"]
    assert "f:x" not in entry["fieldsV1"]["f:data"]


async def test_what_a_patch_makes_is_defaulted_and_validated(api: EmbeddedCluster) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    added = {"op": "add", "path": "/spec/containers/-", "value": {"name": "s", "image": "j"}}
    async with webhook(patching(added)) as asked:
        await configure(api, MUTATING, hook(asked, rules=[rule("pods")]))

        created = await api.client.create(PODS, pod, "default")
        same = {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "s", "image": "i"}]}}
        with pytest.raises(StatusError) as e:
            await api.client.create(PODS, same, "default")

    assert created["spec"]["containers"][1]["imagePullPolicy"] == "Always"
    assert e.value.code == 422
    assert "spec.containers[1].name" in e.value.message


async def test_managed_fields_that_a_patch_breaks_are_kept(api: EmbeddedCluster) -> None:
    broken = {"op": "replace", "path": "/metadata/managedFields/0/fieldsType", "value": "V9"}
    async with webhook(patching(broken)) as asked:
        await configure(api, MUTATING, hook(asked))

        path = "/api/v1/namespaces/default/configmaps"
        status, doc, warnings = await raw(api, "POST", path, config(a="b"))

    assert status == 201
    assert doc["metadata"]["managedFields"][0]["fieldsType"] == "FieldsV1"
    assert "managedFields was in an invalid state after admission" in warnings[0]


async def test_a_patch_may_not_move_the_object(api: EmbeddedCluster) -> None:
    moved = {"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}
    async with webhook(patching(moved)) as asked:
        await configure(api, MUTATING, hook(asked))

        error = await refusal(api)

    assert error.code == 400
    assert "does not match the namespace sent on the request" in error.message


async def test_they_are_asked_in_order(api: EmbeddedCluster) -> None:
    seen: list[str] = []

    def tells(name: str) -> Any:
        def answer(request: dict[str, Any]) -> Any:
            seen.append(f"{name}:{','.join(sorted(request['object']['data']))}")
            return patching(add(name))(request)

        return answer

    async with (
        webhook(tells("one")) as one,
        webhook(tells("two")) as two,
        webhook(tells("three")) as three,
    ):
        await configure(api, MUTATING, hook(three), name="z")
        both = hook(one, name="n.example.com"), hook(two, name="m.example.com")
        await configure(api, MUTATING, *both, name="a")

        await create(api)

    assert seen == ["one:a", "two:a,one", "three:a,one,two"]


@pytest.mark.parametrize(("policy", "calls"), [("Never", 1), ("IfNeeded", 2)])
async def test_one_is_asked_again_about_what_others_changed(
    api: EmbeddedCluster, policy: str, calls: int
) -> None:
    async with webhook(patching(add("first"))) as first, webhook(patching(add("second"))) as second:
        await configure(
            api,
            MUTATING,
            hook(first, name="first.example.com", reinvocationPolicy=policy),
            hook(second, name="second.example.com", reinvocationPolicy=policy),
        )

        created = await create(api)

    assert set(created["data"]) == {"a", "first", "second"}
    assert len(first.asked) == calls
    assert len(second.asked) == 1


async def test_validating_ones_are_asked_at_once(api: EmbeddedCluster) -> None:
    both = asyncio.Barrier(2)

    async def answer(_request: Any) -> dict[str, Any]:
        # Nobody goes on before the other one was asked.
        await both.wait()
        return {"allowed": True}

    async with webhook(answer) as one, webhook(answer) as two:
        names = hook(one, name="one.example.com"), hook(two, name="two.example.com")
        await configure(api, VALIDATING, *names)

        await create(api)

    assert (len(one.asked), len(two.asked)) == (1, 1)


# -- dry run


@pytest.mark.parametrize("kind", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_a_dry_run_asks_only_those_without_side_effects(
    api: EmbeddedCluster, kind: GVR
) -> None:
    async with webhook(allowed) as harmless, webhook(allowed) as harmful:
        await configure(api, kind, hook(harmless, sideEffects="NoneOnDryRun"))
        await create(api, dry_run=True)
        entry = hook(harmful, name="y.example.com", failurePolicy="Ignore")
        await configure(api, kind, entry, name="more")
        _give_side_effects(api, f"{kind.resource}.{GROUP}", "more")

        error = await refusal(api, dry_run=True)
        await create(api)

    assert harmless.asked[0]["dryRun"] is True
    assert (error.code, error.reason) == (400, "BadRequest")
    assert error.message == 'admission webhook "y.example.com" does not support dry run'
    assert len(harmful.asked) == 1


def _give_side_effects(api: EmbeddedCluster, storage: str, name: str) -> None:
    """v1 takes no webhook with side effects; those of v1beta1 are still there."""
    store = api.api.store
    stored = store.state.get(storage, "", name)
    assert stored is not None
    data = stored.data.replace(b'"sideEffects":"None"', b'"sideEffects":"Some"')
    assert data != stored.data
    store.put(storage, "", name, stored.uid, lambda _revision: data)


# -- when it cannot be asked

DEAD = {"url": "https://127.0.0.1:1/review", "caBundle": ""}


@pytest.mark.parametrize("kind", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_nobody_there(api: EmbeddedCluster, kind: GVR) -> None:
    await configure(api, kind, hook(DEAD))

    error = await refusal(api)

    assert (error.code, error.reason) == (500, "InternalError")
    assert error.message == (
        'Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: '
        'Post "https://127.0.0.1:1/review?timeout=10s": dial tcp 127.0.0.1:1: connect: connection '
        "refused"
    )


@pytest.mark.parametrize("kind", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_a_failure_may_be_ignored(api: EmbeddedCluster, kind: GVR) -> None:
    await configure(api, kind, hook(DEAD, failurePolicy="Ignore"))

    created = await create(api)

    assert created["data"] == {"a": "b"}


async def test_it_has_only_so_much_time(api: EmbeddedCluster) -> None:
    released = asyncio.Event()

    async def answer(_request: Any) -> dict[str, Any]:
        await released.wait()
        return {"allowed": True}

    async with webhook(answer) as asked:
        await configure(api, VALIDATING, hook(asked, timeoutSeconds=1))

        error = await refusal(api)
        released.set()

    assert error.code == 500
    assert error.message.endswith(
        f'Post "https://127.0.0.1:{asked.port}/review?timeout=1s": context deadline exceeded'
    )


async def test_it_has_to_be_trusted(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:
        await configure(api, VALIDATING, hook({**asked.client_config, "caBundle": ""}))

        error = await refusal(api)

    assert error.message.endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert asked.asked == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(
            lambda _: web.Response(text="garbage"),
            "failed to call webhook: couldn't get version/kind; json parse error: invalid "
            "character 'g' looking for beginning of value",
            id="garbage",
        ),
        pytest.param(
            lambda _: web.Response(text=""),
            "failed to call webhook: 0-length response with status code: 200 and content type: "
            "text/plain; charset=utf-8",
            id="nothing",
        ),
        pytest.param(
            lambda _: web.Response(status=500, text="boom\n"),
            'failed to call webhook: an error on the server ("boom") has prevented the request '
            "from succeeding",
            id="500",
        ),
        pytest.param(
            lambda _: web.Response(status=404),
            "failed to call webhook: the server could not find the requested resource",
            id="404",
        ),
        pytest.param(
            lambda _: {"uid": "other", "allowed": True},
            'received invalid webhook response: expected response.uid="',
            id="another uid",
        ),
        pytest.param(
            lambda r: {
                "kind": "Pod",
                "apiVersion": "v1",
                "response": {"uid": r["uid"], "allowed": True},
            },
            "received invalid webhook response: expected webhook response of "
            "admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=Pod",
            id="another kind",
        ),
        pytest.param(
            lambda _: {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"},
            "received invalid webhook response: webhook response was absent",
            id="no response",
        ),
        pytest.param(
            patching(add("x")),
            "received invalid webhook response: validating webhook may not return response.patch",
            id="a patch nobody asked for",
        ),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(
    api: EmbeddedCluster, answer: Any, why: str
) -> None:
    async with webhook(answer) as asked:
        await configure(api, VALIDATING, hook(asked))
        error = await refusal(api)
        await api.client.patch(
            VALIDATING,
            "hooks",
            [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}],
            type="json",
        )

        created = await create(api)

    prefix = 'Internal error occurred: failed calling webhook "x.example.com": '
    assert error.code == 500
    assert error.message.startswith(prefix + why)
    assert created["data"] == {"a": "b"}


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param(
            [{"op": "add", "path": "/a/b", "value": 1}],
            'add operation does not apply: doc is missing path: "/a/b": missing value',
            id="add",
        ),
        pytest.param(
            [{"op": "remove", "path": "/data/z"}],
            "error in remove for path: '/data/z': Unable to remove nonexistent key: z: missing "
            "value",
            id="remove",
        ),
        pytest.param(
            [{"op": "test", "path": "/data/a", "value": "z"}],
            "testing value /data/a failed: test failed",
            id="test",
        ),
        pytest.param(
            [{"op": "replace", "path": "/kind", "value": "Secret"}],
            'admission webhook "x.example.com" changed kind of the object',
            id="another kind",
        ),
    ],
)
async def test_a_patch_that_does_not_apply_is_nobodys_policy(
    api: EmbeddedCluster, patch: Any, why: str
) -> None:
    async with webhook(patching(*patch)) as asked:
        await configure(api, MUTATING, hook(asked, failurePolicy="Ignore"))

        error = await refusal(api)

    assert (error.code, error.message) == (500, f"Internal error occurred: {why}")


async def test_a_deletion_cannot_be_patched(api: EmbeddedCluster) -> None:
    async with webhook(patching(add("x"))) as asked:
        await create(api)
        await configure(api, MUTATING, hook(asked))

        with pytest.raises(StatusError) as e:
            await api.client.delete(CONFIGMAPS, "c", "default")

    assert e.value.code == 500
    assert "which is not supported for this operation" in e.value.message


async def test_a_redirect_is_followed_with_the_same_request(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:

        async def elsewhere(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(asked.client_config["url"])

        async with serving(elsewhere) as port:
            there = {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle()}
            await configure(api, VALIDATING, hook(there))

            await create(api)

    assert len(asked.asked) == 1


# -- services


SERVICE = {"name": "hook", "namespace": "default", "path": "/at"}


async def service(api: EmbeddedCluster, **spec: Any) -> None:
    body = {"ports": [{"port": 443, "name": "https"}], **spec}
    await api.client.create(
        GVR("", "v1", "services"), {"metadata": {"name": "hook"}, "spec": body}, "default"
    )


def endpoints(api: EmbeddedCluster, port: int, *addresses: dict[str, Any]) -> None:
    """An EndpointSlice as a controller of the server's own would write it: with loopback."""
    seed(
        api.api,
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        {
            "metadata": {
                "name": "hook",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "hook"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port}],
            "endpoints": list(addresses),
        },
    )


async def test_a_service_is_found_by_its_ready_endpoints(api: EmbeddedCluster) -> None:
    async with webhook(allowed, "hook.default.svc") as asked:
        await service(api)
        gone = {"addresses": ["127.0.0.2"], "conditions": {"ready": False}}
        endpoints(api, asked.port, gone, {"addresses": ["127.0.0.1"]})
        config_ = {"service": SERVICE, "caBundle": bundle()}
        await configure(api, VALIDATING, hook(config_))

        await create(api)

    assert asked.paths == ["/at?timeout=10s"]


async def test_a_service_has_to_prove_its_name(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:
        await service(api)
        endpoints(api, asked.port, {"addresses": ["127.0.0.1"]})
        await configure(api, VALIDATING, hook({"service": SERVICE, "caBundle": bundle()}))

        error = await refusal(api)

    assert "x509: certificate is not valid for hook.default.svc" in error.message


async def test_a_service_may_be_a_name_outside(api: EmbeddedCluster) -> None:
    async with webhook(allowed, "hook.default.svc") as asked:
        await service(api, type="ExternalName", externalName="localhost", ports=[])
        there = {"service": {**SERVICE, "port": asked.port}, "caBundle": bundle()}
        await configure(api, VALIDATING, hook(there))

        await create(api)

    assert len(asked.asked) == 1


@pytest.mark.parametrize(
    ("made", "why"),
    [
        pytest.param(False, 'service "hook" not found', id="no service"),
        pytest.param(True, 'no endpoints available for service "hook"', id="no endpoints"),
    ],
)
async def test_a_service_without_anybody(api: EmbeddedCluster, made: bool, why: str) -> None:
    if made:
        await service(api)
    await configure(api, VALIDATING, hook({"service": SERVICE}))

    error = await refusal(api)

    assert error.message == (
        'Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: '
        f'Post "https://hook.default.svc:443/at?timeout=10s": {why}'
    )


@pytest.mark.parametrize("address", ["10.244.0.7", "10.96.0.9"])
async def test_simulated_addresses_are_never_called(api: EmbeddedCluster, address: str) -> None:
    await configure(api, VALIDATING, hook({"url": f"https://{address}:8443/"}))

    error = await refusal(api)

    assert error.message.endswith(
        f"dial tcp {address}:8443: connect: no route to host "
        "(the pods of this cluster are simulated)"
    )


async def test_an_address_that_is_claimed_is_called(api: EmbeddedCluster) -> None:
    async with webhook(allowed) as asked:
        subnet = api.api.config.pod_subnet
        claims: list[str] = []
        outgoing = api.api.outgoing
        outgoing._simulated = (*outgoing._simulated, type(subnet)("127.0.0.0/8"))
        outgoing.claimed = lambda address: claims.append(str(address)) is None
        await configure(api, VALIDATING, hook(asked))

        await create(api)

    assert claims == ["127.0.0.1"]


# -- a webhook that uses the API itself


async def test_a_webhook_may_read(api: EmbeddedCluster) -> None:
    read: list[Any] = []

    async def answer(_request: Any) -> dict[str, Any]:
        read.append(await api.client.get(NAMESPACES, "default"))
        return {"allowed": True}

    async with webhook(answer) as asked:
        await configure(api, VALIDATING, hook(asked))

        await create(api)

    assert read[0]["metadata"]["name"] == "default"


def writes_once(api: EmbeddedCluster, change: Any) -> Any:
    """Has the webhook write the same object when it is asked first."""
    written: list[Any] = []

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["userInfo"]["username"] == "admin" and not written:
            written.append(None)
            await change()
        return {"allowed": True}

    return answer


async def test_a_patch_is_made_again_of_what_a_webhook_wrote(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await api.client.patch(CONFIGMAPS, "c", {"data": {"hook": "was here"}}, "default")

    async with webhook(writes_once(api, change)) as asked:
        await create(api)
        await configure(api, VALIDATING, hook(asked, rules=[rule(operations=["UPDATE"])]))

        patched = await api.client.patch(CONFIGMAPS, "c", {"data": {"mine": "too"}}, "default")

    assert patched["data"] == {"a": "b", "hook": "was here", "mine": "too"}
    # The first, the webhook's own, and the first again over what that left.
    assert [r["oldObject"]["data"] for r in asked.asked] == [
        {"a": "b"},
        {"a": "b"},
        {"a": "b", "hook": "was here"},
    ]


async def test_an_update_without_a_version_is_made_again(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await api.client.patch(CONFIGMAPS, "c", {"data": {"hook": "was here"}}, "default")

    async with webhook(writes_once(api, change)) as asked:
        await create(api)
        await configure(api, VALIDATING, hook(asked, rules=[rule(operations=["UPDATE"])]))

        updated = await api.client.update(CONFIGMAPS, config(mine="alone"), "default")

    assert updated["data"] == {"mine": "alone"}
    assert len(asked.asked) == 3


async def test_an_update_of_a_version_conflicts(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await api.client.patch(CONFIGMAPS, "c", {"data": {"hook": "was here"}}, "default")

    async with webhook(writes_once(api, change)) as asked:
        created = await create(api)
        await configure(api, VALIDATING, hook(asked, rules=[rule(operations=["UPDATE"])]))

        with pytest.raises(StatusError) as e:
            await api.client.update(CONFIGMAPS, {**created, "data": {"mine": "alone"}}, "default")
        found = await api.client.get(CONFIGMAPS, "c", "default")

    assert (e.value.code, e.value.reason) == (409, "Conflict")
    assert found["data"] == {"a": "b", "hook": "was here"}


async def test_a_create_that_a_webhook_was_faster_with(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await create(api, config(hook="was here"))

    async with webhook(writes_once(api, change)) as asked:
        await configure(api, VALIDATING, hook(asked))

        error = await refusal(api)
        found = await api.client.get(CONFIGMAPS, "c", "default")

    assert error.reason == "AlreadyExists"
    assert found["data"] == {"hook": "was here"}


async def test_an_apply_that_a_webhook_was_faster_with_is_an_update(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await create(api, config(hook="was here"))

    async with webhook(writes_once(api, change)) as asked:
        await configure(api, VALIDATING, hook(asked))

        body = {"apiVersion": "v1", "kind": "ConfigMap", **config(mine="too")}
        found = await api.client.apply(CONFIGMAPS, body, "default", field_manager="m")

    assert found["data"] == {"hook": "was here", "mine": "too"}


async def test_a_deletion_of_what_a_webhook_deleted(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await api.client.delete(CONFIGMAPS, "c", "default")

    async with webhook(writes_once(api, change)) as asked:
        await create(api)
        await configure(api, VALIDATING, hook(asked, rules=[rule(operations=["DELETE"])]))

        with pytest.raises(StatusError) as e:
            await api.client.delete(CONFIGMAPS, "c", "default")

    assert e.value.code == 404


async def test_a_deletion_takes_what_a_webhook_changed(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await api.client.patch(
            CONFIGMAPS, "c", {"metadata": {"finalizers": ["example.com/x"]}}, "default"
        )

    async with webhook(writes_once(api, change)) as asked:
        await create(api)
        await configure(api, VALIDATING, hook(asked, rules=[rule(operations=["DELETE"])]))

        await api.client.delete(CONFIGMAPS, "c", "default")
        found = await api.client.get(CONFIGMAPS, "c", "default")

    # The finalizer was written after the deletion began, and holds it.
    assert found["metadata"]["finalizers"] == ["example.com/x"]
    assert "deletionTimestamp" in found["metadata"]


async def test_nothing_is_created_in_a_namespace_that_went_away(api: EmbeddedCluster) -> None:
    async def change() -> None:
        await api.client.delete(NAMESPACES, "n")

    async with webhook(writes_once(api, change)) as asked:
        await api.client.create(NAMESPACES, {"metadata": {"name": "n"}})
        await configure(api, VALIDATING, hook(asked))

        with pytest.raises(StatusError) as e:
            await api.client.create(CONFIGMAPS, config(), "n")

    assert e.value.code == 403
    assert "because it is being terminated" in e.value.message


async def test_forks_share_connections_but_not_configurations(api: EmbeddedCluster) -> None:
    async with webhook(lambda _: {"allowed": False}) as asked, api.fork() as fork:
        await configure(api, VALIDATING, hook(asked))

        await fork.client.create(CONFIGMAPS, config(), "default")
        await refusal(api)

    assert len(asked.asked) == 1


async def test_a_node_port_is_not_given_twice_while_a_webhook_is_asked(
    api: EmbeddedCluster,
) -> None:
    services = GVR("", "v1", "services")
    both = asyncio.Barrier(2)

    async def answer(_request: Any) -> dict[str, Any]:
        await both.wait()
        return {"allowed": True}

    def wanting(name: str) -> dict[str, Any]:
        ports = [{"port": 80, "nodePort": 30123}]
        return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}}

    async with webhook(answer) as asked:
        await configure(api, VALIDATING, hook(asked, rules=[rule("services")]))

        first = asyncio.create_task(api.client.create(services, wanting("one"), "default"))
        while both.n_waiting == 0:
            await asyncio.sleep(0)
        with pytest.raises(StatusError) as e:
            await api.client.create(services, wanting("two"), "default")
        await both.wait()
        await first

    assert "provided port is already allocated" in e.value.message
    addresses = await api.client.list(GVR("networking.k8s.io", "v1", "ipaddresses"))
    # What the second one was given is free again: those of "kubernetes" and "one" are left.
    assert len(addresses.items) == 2
