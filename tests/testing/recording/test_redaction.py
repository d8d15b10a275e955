"""No secret is on a timeline."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.elsewhere import serving

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.testing.recording import RecordingTransport, ServerTap, redact, redact_text
from cove.testing.recording.redact import harmless, redact_query
from cove.testing.timeline import Timeline

SECRETS = GVR("", "v1", "secrets")
ACCOUNTS = GVR("", "v1", "serviceaccounts")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Doc = dict[str, Any]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def covered(text: str) -> str:
    return f"<redacted: {len(text.encode())} bytes>"


def a_secret(**data: str) -> Doc:
    return {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": data}


def test_keys_and_lengths_stay() -> None:
    doc = {**a_secret(user=b64("me"), empty=""), "stringData": {"note": "häh"}, "type": "Opaque"}

    assert redact(doc) == {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": "s"},
        "data": {"user": "<redacted: 2 bytes>", "empty": "<redacted: 0 bytes>"},
        "stringData": {"note": "<redacted: 4 bytes>"},
        "type": "Opaque",
    }
    assert doc["stringData"] == {"note": "häh"}


KEY = "-----BEGIN EC PRIVATE KEY-----\nTUhjQ0FRRUVJ\n-----END EC PRIVATE KEY-----"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
KUBECONFIG = yaml.safe_dump(
    {
        "kind": "Config",
        "current-context": "x",
        "users": [{"name": "u", "user": {"token": "hush-hush"}}],
    }
)


@pytest.mark.parametrize(
    ("doc", "hidden"),
    [
        ({"kind": "List", "items": [a_secret(a=b64("hush"))]}, b64("hush")),
        ({"kind": "SecretList", "items": [{"data": {"a": b64("hush")}}]}, b64("hush")),
        ({"type": "ADDED", "object": a_secret(a=b64("hush"))}, b64("hush")),
        ({"kind": "AdmissionReview", "request": {"object": a_secret(a=b64("hush"))}}, b64("hush")),
        ({"kind": "TokenRequest", "status": {"token": "abc.def"}}, "abc.def"),
        ({"kind": "TokenReview", "spec": {"token": "abc.def"}}, "abc.def"),
        ({"kind": "Shop", "spec": {"db": {"Password": "hush"}}}, "hush"),
        ({"kind": "Config", "users": [{"user": {"client-key-data": "aHVzaA=="}}]}, "aHVzaA=="),
        ({"env": [{"name": "DB_PASSWORD", "value": "hush"}]}, "hush"),
        ({"env": [{"name": "GITHUB_TOKEN", "value": "hush"}]}, "hush"),
        ({"data": {"config": KUBECONFIG}}, "hush-hush"),
        ({"data": {"tls.key": KEY}}, "TUhjQ0FRRUVJ"),
        ({"data": {"tls.key": b64(KEY)}}, b64(KEY)[-20:]),
        ({"data": {"jwt": f"it is {JWT}."}}, "c2lnbmF0dXJl"),
        ({"args": ["--header", "Authorization: Bearer hush-hush"]}, "hush-hush"),
        ({"data": {"app.yaml": "db:\n  password: hush # x\n"}}, "hush"),
        ({"data": {"app.json": '{"db": {"apiKey": "hush\\"hush"}}'}}, "hush"),
        ({"data": {"app.yaml": "private_key: |\n  hush\n  hush\nnext: 1\n"}}, "hush"),
        ([{"op": "add", "path": "/spec/password", "value": "hush"}], "hush"),
        (
            {"metadata": {"annotations": {LAST_APPLIED: '{"spec":{"password":"hush"}}'}}},
            "hush",
        ),
        (
            {"kind": "Secret", "metadata": {"annotations": {LAST_APPLIED: '{"data":{"a":"x1"}}'}}},
            "x1",
        ),
    ],
)  # fmt: skip
def test_secrets_are_found_wherever_they_are(doc: Any, hidden: str) -> None:
    text = json.dumps(redact(doc))
    assert hidden not in text
    assert "<redacted: " in text


@pytest.mark.parametrize(
    "patch",
    [
        {"data": {"a": "hush"}},
        {"stringData": {"a": "hush"}},
        {"data": "hush"},
        {"data": ["hush"]},
        {"data": {"a": {"b": "hush"}}},
        {"metadata": {"annotations": {LAST_APPLIED: '{"data":{"a":"hush"}}'}}},
        [{"op": "replace", "path": "/data/a", "value": "hush"}],
        [{"op": "test", "path": "/stringData", "value": {"a": "hush"}}],
        [{"op": "replace", "path": "", "value": {"data": {"a": "hush"}}}],
        [{"op": "add", "path": "/metadata", "value": {"annotations": {LAST_APPLIED: "hush"}}}],
        [{"op": "add", "path": f"/metadata/annotations/{LAST_APPLIED.replace('/', '~1')}", "value": "hush"}],
        [{"op": "add", "path": "/metadata/annotations", "value": {LAST_APPLIED: '{"data":"hush"}'}}],
    ],
    ids=str,
)  # fmt: skip
def test_patches_of_secrets_are_redacted(patch: Any) -> None:
    assert "hush" not in json.dumps(redact(patch, secret=True))


@pytest.mark.parametrize(
    "doc",
    [
        {"kind": "ConfigMap", "data": {"a": "b", "note": "token: none is needed"}},
        {"spec": {"token": {"type": "string"}, "secretKeyRef": {"name": "s", "key": "password"}}},
        {"env": [{"name": "SHELL", "value": "/bin/sh"}, {"name": "DB_PASSWORD", "valueFrom": {}}]},
        {"kind": "Pod", "status": {"phase": "Running", "qosClass": "Basic tier"}},
        {"metadata": {"annotations": {LAST_APPLIED: '{"spec":{"replicas":1}}', "x": "{"}}},
        [{"op": "replace", "path": "/spec/replicas", "value": 3}, {"op": "remove", "path": "/a"}],
        {"caBundle": b64("-----BEGIN CERTIFICATE-----\nabc")},
        None, 3, True, "some text", "",
    ],
    ids=str,
)  # fmt: skip
def test_the_rest_is_left_alone(doc: Any) -> None:
    assert redact(doc) == doc


def test_texts_and_queries() -> None:
    assert redact_text(f"got {JWT}") == f"got {covered(JWT)}"
    assert redact_text("bearer abcdefghi, x") == "bearer <redacted: 9 bytes>, x"
    assert redact_text(KEY) == covered(KEY)
    assert redact_query("watch=1&access_token=abc&x") == "watch=1&access_token=redacted&x"


TEXTS = st.text("a:{}\n\"'|>ü ", max_size=8)
KEYS = ["kind", "data", "items", "metadata", "annotations", "op", "path", "value", "name", "token"]
LEAVES = st.sampled_from([None, True, 3, "Secret", "/data/a", '{"a":"b"}']) | TEXTS
DOCUMENTS = st.recursive(
    LEAVES,
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | TEXTS, each, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.booleans())
def test_nothing_is_too_strange(doc: Any, secret: bool) -> None:
    once = redact(doc, secret=secret)
    json.dumps(once)
    if not secret:
        assert type(once) is type(doc)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    sent = {"data": {"k": b64("hush-hush")}, "stringData": {"p": "line one\nline two"}}
    status = {
        "message": f'"s" is invalid: "line two" and {b64("hush-hush")}, hush-hush',
        "details": {"name": "s", "causes": [{"message": "is hush-hush", "field": "data[k]"}]},
    }

    told = harmless(status, sent)

    assert told["message"].startswith('"s" is invalid: "<redacted: 8 bytes>" and <redacted: ')
    assert "hush" not in json.dumps(told)
    assert told["details"]["causes"][0]["field"] == "data[k]"
    # What could not be read is not known: nothing of it is repeated.
    unread = harmless({"message": 'no object in {"data":{"k":"hush"'}, '{"data":{"k":"hush"')
    assert unread["message"] == "no object in <redacted: 19 bytes>"


# -- through a server

# Longer than any word of an answer, and of letters that no uid, hash or base64 of another has.
VALUE = st.text("QXZJqxzj", min_size=12, max_size=40)


async def _live(client: Client, value: str, other: str) -> None:
    """All that can be done with a Secret, and much that cannot."""
    data, more = {"k": b64(value)}, {"k": other}
    doc = {**a_secret(**data), "stringData": {"plain": other}}
    annotated = {"metadata": {"annotations": {LAST_APPLIED: json.dumps(doc)}}, "stringData": more}
    json_patch = [{"op": "replace", "path": "/data/k", "value": b64(other)}]
    await client.create(SECRETS, doc, "default")
    for attempt in (
        client.create(SECRETS, doc, "default"),
        client.create(SECRETS, {**doc, "metadata": {"name": "t"}, "data": {"k": value + "%"}}, "default"),
        client.create(SECRETS, {**doc, "metadata": {"name": "t"}, "data": [value]}, "default"),
        client.create(SECRETS, {**doc, "kind": "Pod"}, "default"),
        client.create(SECRETS, {**doc, "data": {value: b64(other)[:-1] + "%"}, "metadata": {"name": "t"}}, "default"),
        client.raw("POST", "/api/v1/namespaces/default/secrets", body=json.dumps(doc)[:-1].encode(), content_type="application/json"),
        client.raw("POST", "/api/v1/namespaces/default/secrets", body=value.encode(), content_type="text/plain"),
        client.get(SECRETS, "s", "default"),
        client.list(SECRETS),
        client.raw("GET", "/api/v1/secrets", accept="application/json;as=Table;g=meta.k8s.io;v=v1", query={"includeObject": "Object"}),
        client.raw("GET", "/api/v1/namespaces/default/secrets/s", accept="application/yaml"),
        client.patch(SECRETS, "s", annotated, "default"),
        client.patch(SECRETS, "s", json_patch, "default", type="json"),
        client.patch(SECRETS, "s", [{"op": "test", "path": "/data/k", "value": value}], "default", type="json"),
        client.patch(SECRETS, "s", {"data": {"k": value + "!"}}, "default", type="strategic"),
        client.apply(SECRETS, {**a_secret(k=b64(value)), "metadata": {"name": "a"}}, "default", field_manager="m"),
        client.raw("PATCH", "/api/v1/namespaces/default/secrets/y", query={"fieldManager": "m"}, body=yaml.safe_dump({**doc, "metadata": {"name": "y"}}).encode(), content_type="application/apply-patch+yaml"),
        client.update(SECRETS, {**doc, "data": {"k": b64(other)}}, "default"),
        client.create(GVR("authentication.k8s.io", "v1", "tokenreviews"), {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": value}}),
        client.delete(SECRETS, "s", "default"),
        client.delete_collection(SECRETS, "default"),
    ):  # fmt: skip
        try:
            await attempt
        except StatusError:
            pass


@pytest.mark.embedded("the tap is in the server's process")
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A shorter value would tell nothing more, and every try is a cluster.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(VALUE, VALUE)
def test_no_byte_of_a_secret_reaches_a_timeline(value: str, other: str) -> None:
    async def run() -> str:
        async with serving(nodes=0, controllers=False) as cluster:
            timeline = Timeline("a test")
            watch = Timeline("its watch")
            with ServerTap(cluster.api, timeline) as tap:
                # Once as the test itself, with what was before, once as somebody else.
                mine = RecordingTransport(cluster.client.transport, timeline, tap=tap)
                recorded = mine.client(cluster.client)
                theirs = RecordingTransport(cluster.client.transport, watch)
                begun, enough = asyncio.Event(), {"ADDED", "MODIFIED", "DELETED"}

                async def watching() -> None:
                    async with theirs.client(cluster.client).watch(SECRETS) as events:
                        async for event in events:
                            begun.set()
                            enough.discard(event.type)
                            if not enough:
                                return

                await cluster.client.create(SECRETS, {"metadata": {"name": "first"}}, "default")
                watcher = asyncio.create_task(watching())
                await begun.wait()
                await _live(recorded, value, other)
                await _live(cluster.client, value, other)
                await watcher
            assert len(timeline.calls) > 40
            assert any(call.before for call in timeline.calls)
            return json.dumps([timeline.to_json(), watch.to_json()], ensure_ascii=False)

    text = asyncio.run(run())

    # A key is no secret: the one attempt that had it in a key is the exception.
    text = text.replace(f'"{value}": "<redacted', '"KEY": "<redacted')
    for secret in (value, other, b64(value), b64(other)):
        assert secret not in text
    assert covered(value) in text


async def test_tokens_are_redacted(cluster: EmbeddedCluster) -> None:
    timeline = Timeline("a test")
    client = RecordingTransport(cluster.client.transport, timeline).client(cluster.client)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}

    answer = await client.create(ACCOUNTS, asked, "default", name="default", subresource="token")

    token = answer["status"]["token"]
    text = json.dumps(timeline.to_json())
    assert token not in text
    assert token.split(".")[2] not in text
    assert timeline.calls[0].response["status"]["token"] == covered(token)
