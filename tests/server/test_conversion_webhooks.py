"""Conversion webhooks: custom resources that a real HTTPS server converts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.https import Webhook, webhook

from cove.client import WatchEvent
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

GROUP = "example.com"
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
V1 = GVR(GROUP, "v1", "foos")
V2 = GVR(GROUP, "v2", "foos")


def version(name: str, field: str, *, storage: bool = False, **more: Any) -> dict[str, Any]:
    """A version whose spec has one text under a name of its own."""
    spec = {"type": "object", "properties": {field: {"type": "string"}}}
    properties = {"spec": spec, "status": {"type": "object", "properties": {"ok": {}}}}
    properties["status"]["properties"] = {"ok": {"type": "boolean"}}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        **more,
    }


def definition(asked: Webhook | None, *versions: dict[str, Any]) -> dict[str, Any]:
    client = {"url": "https://127.0.0.1:1/"} if asked is None else asked.client_config
    webhook_ = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    return {
        "metadata": {"name": f"foos.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": list(versions)
            or [version("v1", "text", storage=True), version("v2", "words")],
            "conversion": {"strategy": "Webhook", "webhook": webhook_},
        },
    }


def foo(name: str = "f", **spec: str) -> dict[str, Any]:
    return {"kind": "Foo", "metadata": {"name": name}, "spec": spec}


def old(name: str = "f", text: str = "hello") -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", **foo(name, text=text)}


def new(name: str = "f", words: str = "hello") -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v2", **foo(name, words=words)}


def converted(obj: dict[str, Any], want: str) -> dict[str, Any]:
    """spec.text of v1 is spec.words of v2; v2 says so in an annotation."""
    spec = obj.get("spec") or {}
    text = spec.get("text", spec.get("words"))
    meta = dict(obj["metadata"])
    annotations = {k: v for k, v in meta.get("annotations", {}).items() if k != "was"}
    if want.endswith("v2"):
        annotations["was"] = "v1"
    meta["annotations"] = annotations
    field = "words" if want.endswith("v2") else "text"
    out = {**obj, "apiVersion": want, "metadata": meta}
    if text is not None:
        out["spec"] = {field: text}
    return out


def converting(request: dict[str, Any]) -> dict[str, Any]:
    want = request["desiredAPIVersion"]
    objects = [converted(obj, want) for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": objects}


async def define(api: EmbeddedCluster, asked: Webhook | None, *versions: dict[str, Any]) -> None:
    await api.client.create(CRDS, definition(asked, *versions))


async def test_an_object_is_read_in_any_version(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        created = await api.client.create(V1, old(), "default")

        found = await api.client.get(V2, "f", "default")

    assert found["apiVersion"] == f"{GROUP}/v2"
    assert found["spec"] == {"words": "hello"}
    # Labels and annotations are the webhook's to change, the rest of metadata is not.
    expected = {**created["metadata"], "annotations": {"was": "v1"}}
    assert found["metadata"] == expected
    (request,) = asked.asked
    assert request["desiredAPIVersion"] == f"{GROUP}/v2"
    assert request["objects"] == [created]


async def test_an_object_is_written_in_any_version_and_stored_in_one(
    api: EmbeddedCluster,
) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)

        created = await api.client.create(V2, new(), "default")
        stored = api.api.store.state.get(f"foos.{GROUP}", "default", "f")
        found = await api.client.get(V1, "f", "default")

    assert created["spec"] == {"words": "hello"}
    assert created["apiVersion"] == f"{GROUP}/v2"
    assert stored is not None
    assert b'"text":"hello"' in stored.data
    assert found["spec"] == {"text": "hello"}
    assert found["metadata"]["uid"] == created["metadata"]["uid"]


@pytest.mark.parametrize("how", ["merge", "apply", "update"])
async def test_an_object_is_changed_in_another_version(api: EmbeddedCluster, how: str) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        created = await api.client.create(V1, old(), "default")

        if how == "merge":
            patch = {"spec": {"words": "bye"}}
            changed = await api.client.patch(V2, "f", patch, "default")
        elif how == "apply":
            body = new(words="bye")
            changed = await api.client.apply(V2, body, "default", field_manager="m", force=True)
        else:
            body = new(words="bye")
            body["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]
            changed = await api.client.update(V2, body, "default")
        found = await api.client.get(V1, "f", "default")

    assert changed["spec"] == {"words": "bye"}
    assert found["spec"] == {"text": "bye"}
    assert found["metadata"]["generation"] == 2


async def test_an_applied_field_of_another_version_conflicts(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        await api.client.apply(V1, old(), "default", field_manager="one")

        with pytest.raises(StatusError) as e:
            await api.client.apply(V2, new(words="bye"), "default", field_manager="two")
        await api.client.apply(V2, new(), "default", field_manager="two")

    assert e.value.code == 409
    assert 'conflict with "one"' in e.value.message


async def test_a_list_is_converted_in_one_review(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        for name in ("a", "b", "c"):
            await api.client.create(V1, old(name, f"text of {name}"), "default")

        first = await api.client.list(V2, "default")
        await api.client.list(V2, "default")
        await api.client.get(V2, "b", "default")

    assert [o["spec"]["words"] for o in first.items] == ["text of a", "text of b", "text of c"]
    # Asked about each once: what did not change is known.
    assert [len(r["objects"]) for r in asked.asked] == [3]


async def test_a_watch_tells_another_version(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        await api.client.create(V1, old("a"), "default")
        events: list[WatchEvent] = []

        async with api.client.watch(V2, "default") as watch:
            async for event in watch:
                events.append(event)
                if event.type == "DELETED":
                    break
                if event.type == "ADDED":
                    await api.client.patch(V1, "a", {"spec": {"text": "bye"}}, "default")
                else:
                    await api.client.delete(V1, "a", "default")

    assert [e.type for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert [e.object["spec"] for e in events] == [
        {"words": "hello"},
        {"words": "bye"},
        {"words": "bye"},
    ]
    assert {e.object["apiVersion"] for e in events} == {f"{GROUP}/v2"}


async def test_watches_share_what_was_asked(api: EmbeddedCluster) -> None:
    async def first(gvr: GVR) -> WatchEvent:
        async with api.client.watch(gvr, "default") as watch:
            async for event in watch:
                return event
        raise AssertionError("the watch ended")

    async with webhook(converting) as asked:
        await define(api, asked)
        watches = [asyncio.create_task(first(V2)) for _ in range(5)]
        await api.client.create(V1, old(), "default")

        events = await asyncio.gather(*watches)

    assert len(events) == 5
    assert len(asked.asked) == 1


async def test_the_status_and_the_end_of_an_object_in_another_version(
    api: EmbeddedCluster,
) -> None:
    subresources = {"subresources": {"status": {}}}
    async with webhook(converting) as asked:
        await define(
            api,
            asked,
            version("v1", "text", storage=True, **subresources),
            version("v2", "words", **subresources),
        )
        await api.client.create(V1, old(), "default")

        ok = {"status": {"ok": True}}
        changed = await api.client.patch(V2, "f", ok, "default", subresource="status")
        holding = {"metadata": {"finalizers": ["example.com/x"]}}
        await api.client.patch(V2, "f", holding, "default")
        await api.client.delete(V2, "f", "default")
        ending = await api.client.get(V1, "f", "default")
        await api.client.patch(V2, "f", {"metadata": {"finalizers": None}}, "default")
        with pytest.raises(StatusError) as e:
            await api.client.get(V1, "f", "default")

    assert changed["status"] == {"ok": True}
    assert ending["status"] == {"ok": True}
    assert "deletionTimestamp" in ending["metadata"]
    assert e.value.code == 404


async def test_objects_outlive_a_change_of_the_storage_version(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        only = definition(asked, version("v1", "text", storage=True))
        only["spec"]["conversion"] = {"strategy": "None"}
        await api.client.create(CRDS, only)
        await api.client.create(V1, old("a"), "default")
        both = definition(asked, version("v1", "text"), version("v2", "words", storage=True))
        await api.client.patch(CRDS, f"foos.{GROUP}", {"spec": both["spec"]})
        await api.client.create(V2, new("b", "mine"), "default")

        listed = await api.client.list(V2, "default")
        # Writing it without a change is how objects are moved.
        before = api.api.store.state.get(f"foos.{GROUP}", "default", "a")
        await api.client.patch(V1, "a", {}, "default")
        after = api.api.store.state.get(f"foos.{GROUP}", "default", "a")

    assert [o["spec"] for o in listed.items] == [{"words": "hello"}, {"words": "mine"}]
    assert before is not None
    assert after is not None
    assert b'"text"' in before.data
    assert b'"words"' in after.data


async def test_nobody_is_asked_about_the_version_that_is_stored(api: EmbeddedCluster) -> None:
    await define(api, None)

    await api.client.create(V1, old(), "default")
    await api.client.patch(V1, "f", {"spec": {"text": "bye"}}, "default")
    found = await api.client.get(V1, "f", "default")
    await api.client.delete(V1, "f", "default")

    assert found["spec"] == {"text": "bye"}


async def test_a_definition_goes_with_its_instances_when_nobody_answers(
    api: EmbeddedCluster,
) -> None:
    await define(api, None)
    await api.client.create(V1, old(), "default")

    await api.client.delete(CRDS, f"foos.{GROUP}")

    assert api.api.store.state.count(f"foos.{GROUP}") == 0


# -- bad behaviour


def with_metadata(**meta: Any) -> Any:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        found = converting(request)
        for obj in found["convertedObjects"]:
            obj["metadata"] = {
                k: v for k, v in {**obj["metadata"], **meta}.items() if v is not None
            }
        return found

    return answer


def with_objects(change: Any) -> Any:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        found = converting(request)
        return {**found, "convertedObjects": change(found["convertedObjects"])}

    return answer


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(
            with_metadata(name=None),
            "returned invalid object: must have the same name: f != ",
            id="no name",
        ),
        pytest.param(
            with_metadata(namespace="other"),
            "returned invalid object: must have the same namespace: default != other",
            id="another namespace",
        ),
        pytest.param(
            with_metadata(uid="other"),
            "returned invalid object: must have the same UID: ",
            id="another uid",
        ),
        pytest.param(
            with_metadata(labels={"a b": "c"}),
            "returned invalid metadata: metadata.labels: Invalid value: ",
            id="labels that are none",
        ),
        pytest.param(
            with_metadata(annotations={"a": 1}),
            "returned invalid metadata: metadata.annotations[a] must be a string, but is ",
            id="annotations that are none",
        ),
        pytest.param(with_objects(lambda _: []), "returned 0 objects, expected 1", id="too few"),
        pytest.param(
            with_objects(lambda found: found * 2), "returned 2 objects, expected 1", id="too many"
        ),
        pytest.param(
            with_objects(lambda found: [{**o, "apiVersion": f"{GROUP}/v1"} for o in found]),
            "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, "
            "received example.com/v1)",
            id="not converted",
        ),
        pytest.param(
            with_objects(lambda found: [{**o, "kind": "Bar"} for o in found]),
            "returned invalid object at index 0: invalid kind (expected Foo, received Bar)",
            id="another kind",
        ),
        pytest.param(
            lambda _: {"result": {"status": "Failure", "message": "not today"}},
            "failed: not today",
            id="a failure",
        ),
        pytest.param(
            lambda _: {"result": {}},
            "failed: response.result.status was '', not 'Success'",
            id="no status",
        ),
        pytest.param(
            lambda r: {**converting(r), "uid": "other"},
            'failed: expected response.uid="',
            id="another review",
        ),
        pytest.param(
            lambda _: {"kind": "Pod", "apiVersion": "v1"},
            "failed: expected webhook response of apiextensions.k8s.io/v1, "
            "Kind=ConversionReview, got v1, Kind=Pod",
            id="no review",
        ),
    ],
)
async def test_an_answer_that_is_none_is_told(api: EmbeddedCluster, answer: Any, why: str) -> None:
    async with webhook(answer) as asked:
        await define(api, asked)
        await api.client.create(V1, old(), "default")

        with pytest.raises(StatusError) as e:
            await api.client.get(V2, "f", "default")

    assert e.value.code == 500
    assert e.value.message.startswith(f"conversion webhook for {GROUP}/v1, Kind=Foo {why}")


async def test_a_bad_object_of_a_list_is_told_by_its_place(api: EmbeddedCluster) -> None:
    answer = with_objects(lambda found: [found[0], {**found[1], "metadata": {"name": "x"}}])
    async with webhook(answer) as asked:
        await define(api, asked)
        await api.client.create(V1, old("a"), "default")
        await api.client.create(V1, old("b"), "default")

        with pytest.raises(StatusError) as e:
            await api.client.list(V2, "default")

    assert e.value.message.endswith(
        "returned invalid converted object at index 1: must have the same name: b != x"
    )


async def test_nobody_there(api: EmbeddedCluster) -> None:
    await define(api, None)
    await api.client.create(V1, old(), "default")

    with pytest.raises(StatusError) as read:
        await api.client.get(V2, "f", "default")
    with pytest.raises(StatusError) as written:
        await api.client.create(V2, new("g"), "default")

    refused = (
        'failed: Post "https://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    assert read.value.message == f"conversion webhook for {GROUP}/v1, Kind=Foo {refused}"
    assert written.value.message == f"conversion webhook for {GROUP}/v2, Kind=Foo {refused}"
    assert api.api.store.state.count(f"foos.{GROUP}") == 1


async def test_a_failure_is_not_remembered(api: EmbeddedCluster) -> None:
    answers = iter([lambda _: {"result": {"status": "Failure"}}, converting])
    async with webhook(lambda r: next(answers)(r)) as asked:
        await define(api, asked)
        await api.client.create(V1, old(), "default")
        with pytest.raises(StatusError):
            await api.client.get(V2, "f", "default")

        found = await api.client.get(V2, "f", "default")

    assert found["spec"] == {"words": "hello"}


async def test_a_write_is_made_again_of_what_the_webhook_wrote(api: EmbeddedCluster) -> None:
    written: list[None] = []

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["desiredAPIVersion"].endswith("v1") and not written:
            written.append(None)
            await api.client.patch(V1, "f", {"metadata": {"labels": {"hook": "here"}}}, "default")
        return converting(request)

    async with webhook(answer) as asked:
        await define(api, asked)
        await api.client.create(V1, old(), "default")

        changed = await api.client.patch(V2, "f", {"spec": {"words": "bye"}}, "default")

    assert changed["metadata"]["labels"] == {"hook": "here"}
    assert changed["spec"] == {"words": "bye"}


async def test_admission_is_shown_the_version_it_asks_for(api: EmbeddedCluster) -> None:
    seen: list[Any] = []

    def judging(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request["object"])
        return {"allowed": True}

    rule = {
        "apiGroups": [GROUP],
        "apiVersions": ["v2"],
        "resources": ["foos"],
        "operations": ["*"],
    }
    async with webhook(converting) as asked, webhook(judging) as judge:
        await define(api, asked)
        entry = {
            "name": "x.example.com",
            "clientConfig": judge.client_config,
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        await api.client.create(
            GVR("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
            {"metadata": {"name": "w"}, "webhooks": [entry]},
        )

        await api.client.create(V1, old(), "default")

    assert seen[0]["apiVersion"] == f"{GROUP}/v2"
    assert seen[0]["spec"] == {"words": "hello"}


async def test_an_established_definition_takes_no_authority_that_is_none(
    api: EmbeddedCluster,
) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        client = {"clientConfig": {**asked.client_config, "caBundle": "Cg=="}}
        spec = {"spec": {"conversion": {"webhook": client}}}

        with pytest.raises(StatusError) as e:
            await api.client.patch(CRDS, f"foos.{GROUP}", spec)

    assert e.value.code == 422
    assert (
        "spec.conversion.webhookClientConfig.caBundle: Invalid value: []byte{0xa}: unable to load "
        "root certificates: unable to parse bytes as PEM block" in e.value.message
    )


async def test_the_history_of_an_object_in_another_version(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        await define(api, asked)
        await api.client.create(V1, old(), "default")
        await api.client.patch(V1, "f", {"spec": {"text": "bye"}}, "default")

        versions = await api.history(V2, name="f", namespace="default")

    assert [v.object["spec"] for v in versions] == [{"words": "hello"}, {"words": "bye"}]


async def test_selectors_are_about_the_version_that_is_listed(api: EmbeddedCluster) -> None:
    async with webhook(converting) as asked:
        await define(
            api,
            asked,
            version("v1", "text", storage=True, selectableFields=[{"jsonPath": ".spec.text"}]),
            version("v2", "words", selectableFields=[{"jsonPath": ".spec.words"}]),
        )
        await api.client.create(V1, old("a", "one"), "default")
        await api.client.create(V2, new("b", "two"), "default")

        by_words = await api.client.list(V2, "default", field_selector="spec.words=one")
        by_text = await api.client.list(V1, "default", field_selector="spec.text=two")

    assert [o["metadata"]["name"] for o in by_words.items] == ["a"]
    assert [o["metadata"]["name"] for o in by_text.items] == ["b"]
