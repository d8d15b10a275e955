"""Webhooks that validate: a real API server asks, over TLS, and tells who wrote."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Kubectl
from tests.operator.webhooks.kinds import (
    CACHES,
    CRDS,
    VALIDATING,
    Cache,
    CacheV1Beta1,
    cache,
    definition,
    install,
    post,
    review,
)

from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import StatusError
from cove.operator import (
    AdmissionRequest,
    Denied,
    InjectionError,
    Invalid,
    Operator,
    Webhooks,
)
from cove.operator.errors import EntityError
from cove.operator.runtime.inject import Providers
from cove.operator.webhooks import ClientConfig, webhook_configurations
from cove.operator.webhooks.admission import Admission
from cove.operator.webhooks.review import BadReviewError

SERVICE = ClientConfig(service=("ops", "cache-operator"))


class Billing:
    """Something that handlers ask for."""

    limit = 5


class Rules:
    """A webhook as a class, which has something provided, and no create."""

    def __init__(self, billing: Billing) -> None:
        self.billing = billing

    def update(self, old: Cache, new: Cache, warnings: list[str]) -> None:
        if new.spec.size > self.billing.limit:
            raise Invalid(f"at most {self.billing.limit}", field="spec.size")
        if new.spec.size < old.spec.size:
            warnings.append(f"shrinks from {old.spec.size} to {new.spec.size}")

    async def delete(self, old: Cache, request: AdmissionRequest) -> None:
        await asyncio.sleep(0)
        if old.spec.size > 3:
            raise Denied(f"{request.name} is too large to go", code=409)


def operator() -> Operator:
    return Operator("cache-operator")


async def refused(writing: Any) -> StatusError:
    with pytest.raises(StatusError) as e:
        await writing
    return e.value


def resize(api: EmbeddedCluster, size: int, **how: Any) -> Any:
    return api.client.patch(CACHES, "c", {"spec": {"size": size}}, "default", **how)


# -- K15


async def test_a_write_is_refused_with_code_message_and_field(api: EmbeddedCluster) -> None:
    op = operator()

    @op.validate(Cache, on="create")
    def check(new: Cache) -> None:
        if new.spec.size > 5:
            raise Invalid("at most 5", field="spec.size")

    await install(api.client)
    async with Webhooks(op, api.client):
        error = await refused(api.client.create(CACHES, cache(size=6), "default"))
        await api.client.create(CACHES, cache(size=5), "default")

    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == (
        'admission webhook "check.caches.cache.example.com" denied the request: '
        "spec.size: at most 5"
    )
    assert error.details is not None
    assert error.details["causes"] == [
        {"reason": "FieldValueInvalid", "message": "at most 5", "field": "spec.size"}
    ]


async def test_operations_have_old_and_new_and_what_they_ask_for(api: EmbeddedCluster) -> None:
    op = operator()
    op.provide(Billing)
    op.validate(Cache)(Rules)
    await install(api.client)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES, cache(size=9), "default")
        too_large = await refused(resize(api, 8))
        await resize(api, 4)
        stays = await refused(api.client.delete(CACHES, "c", "default"))
        await resize(api, 2)
        await api.client.delete(CACHES, "c", "default")

    assert (too_large.code, stays.code, stays.reason) == (422, 409, "Conflict")
    assert stays.message.endswith("denied the request: c is too large to go")


async def test_an_operation_that_is_not_implemented_is_not_registered() -> None:
    op = operator()
    op.validate(Cache)(Rules)

    (configuration,) = webhook_configurations(op, SERVICE)

    assert configuration["webhooks"][0]["rules"][0]["operations"] == ["UPDATE", "DELETE"]


async def test_a_dry_run_is_flagged(api: EmbeddedCluster) -> None:
    op = operator()
    seen: list[bool] = []

    @op.validate(Cache)
    async def check(dry_run: bool) -> None:
        seen.append(dry_run)

    await install(api.client)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES, cache(), "default", dry_run=True)
        await api.client.create(CACHES, cache(), "default")

    assert seen == [True, False]


@pytest.mark.requires("kubectl")
async def test_warnings_and_refusals_reach_kubectl(
    cluster: EmbeddedCluster, kubectl: Kubectl
) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache, warnings: list[str]) -> None:
        warnings.append("images without a tag\nmove")
        if new.spec.size > 5:
            raise Invalid("at most 5", field="spec.size")

    await install(cluster.client)
    async with Webhooks(op, cluster.client):
        good = await kubectl.attempt("apply", "-f", "-", stdin=json.dumps(cache(size=1)))
        bad = await kubectl.attempt("apply", "-f", "-", stdin=json.dumps(cache("d", size=6)))

    assert good.code == 0
    assert good.err.strip() == "Warning: images without a tag move"
    assert bad.code == 1
    assert 'The Cache "d" is invalid: spec.size: at most 5' in bad.err.replace("* ", "")


async def test_a_handler_knows_who_asks_for_what(api: EmbeddedCluster) -> None:
    op = operator()
    seen: list[AdmissionRequest] = []

    @op.validate(Cache, on="create update delete")
    def check(new: Cache | None, old: dict[str, Any] | None, request: AdmissionRequest) -> None:
        seen.append(request)
        assert (old is None) == (request.operation == "create")
        assert (new is None) == (request.operation == "delete")

    await install(api.client)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES, cache(odd=1), "default", field_manager="me")
        await resize(api, 2)
        await api.client.delete(CACHES, "c", "default")

    created, updated, deleted = seen
    assert (created.operation, created.user, created.name) == ("create", "admin", "c")
    assert "system:masters" in created.groups
    assert created.options["fieldManager"] == "me"
    assert created.object is not None
    assert created.object["spec"] == {"odd": 1}
    assert updated.old_object is not None
    assert deleted.object is None


async def test_subresources_are_asked_about_where_it_is_said(api: EmbeddedCluster) -> None:
    op = operator()
    seen: list[str] = []

    @op.validate(Cache, on="update", subresources=["status"])
    def check(request: AdmissionRequest) -> None:
        seen.append(request.subresource)

    await install(api.client)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES, cache(), "default")
        await resize(api, 2)
        await resize(api, 2, subresource="status")

    assert seen == ["status"]


async def test_an_object_that_does_not_fit_its_type_is_refused(api: EmbeddedCluster) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> None:
        pytest.fail("nothing to look at")

    await install(api.client)
    async with Webhooks(op, api.client):
        error = await refused(api.client.create(CACHES, cache(size="big"), "default"))

    assert error.code == 422
    assert "spec.size: expected" in error.message


async def test_all_that_is_wrong_is_told_at_once(api: EmbeddedCluster) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> None:
        raise Invalid.all(Invalid("is bad", field=f"spec.{name}") for name in ("size", "image"))

    await install(api.client)
    async with Webhooks(op, api.client):
        error = await refused(api.client.create(CACHES, cache(), "default"))

    assert error.message.endswith("request: spec.size: is bad; spec.image: is bad")
    assert error.details is not None
    assert [cause["field"] for cause in error.details["causes"]] == ["spec.size", "spec.image"]


async def test_a_scale_is_asked_about_as_the_document_it_is(api: EmbeddedCluster) -> None:
    op = operator()
    seen: list[dict[str, Any]] = []

    @op.validate(Cache, on="update", subresources=["scale"])
    def check(new: dict[str, Any]) -> None:
        seen.append(new)

    document = definition()
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"}
    document["spec"]["versions"][0]["subresources"]["scale"] = scale
    await api.client.create(CRDS, document)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES, cache(size=1), "default")
        replicas = {"spec": {"replicas": 4}}
        await api.client.patch(CACHES, "c", replicas, "default", subresource="scale")

    assert [(new["kind"], new["spec"]["replicas"]) for new in seen] == [("Scale", 4)]


# -- failures


async def failing(api: EmbeddedCluster, policy: Any) -> None:
    op = operator()

    @op.validate(Cache, failure_policy=policy)
    def check(new: Cache) -> None:
        raise KeyError("size")

    await install(api.client)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES, cache(), "default")


async def test_an_exception_is_told_and_fails_the_write(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    error = await refused(failing(api, "Fail"))

    assert error.code == 500
    assert error.message == (
        'Internal error occurred: failed calling webhook "check.caches.cache.example.com": '
        "failed to call webhook: /validate/caches.cache.example.com/v1/check: KeyError: 'size'"
    )
    assert "Traceback" not in error.message
    assert any(record.exc_info for record in caplog.records)


async def test_an_exception_may_be_ignored(api: EmbeddedCluster) -> None:
    await failing(api, "Ignore")


async def test_a_slow_handler_is_ended_by_its_timeout(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    op = operator()
    ended = asyncio.Event()

    @op.validate(Cache, timeout=1)
    async def check(new: Cache) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await install(api.client)
    async with Webhooks(op, api.client):
        error = await refused(api.client.create(CACHES, cache(), "default"))
        await asyncio.wait_for(ended.wait(), 5)

    assert error.code == 500
    assert "failed calling webhook" in error.message


async def test_leaving_answers_what_was_asked(api: EmbeddedCluster) -> None:
    op = operator()
    asked, go_on = asyncio.Event(), asyncio.Event()

    @op.validate(Cache)
    async def check(new: Cache) -> None:
        asked.set()
        await go_on.wait()
        raise Invalid("said in the end")

    await install(api.client)
    hooks = Webhooks(op, api.client)
    await hooks.__aenter__()
    writing = asyncio.create_task(refused(api.client.create(CACHES, cache(), "default")))
    await asked.wait()
    leaving = asyncio.create_task(hooks.__aexit__(None, None, None))
    await asyncio.sleep(0.1)
    assert not leaving.done()
    go_on.set()
    error = await writing
    await leaving

    assert error.message.endswith("said in the end")


@pytest.mark.parametrize(
    ("body", "how", "code", "says"),
    [
        pytest.param(b"", {}, 400, "Input data was truncated", id="nothing"),
        pytest.param(b"\xff\x00{", {}, 400, "no AdmissionReview", id="noise"),
        pytest.param(b"[]", {}, 400, "Expected `object`", id="a list"),
        pytest.param(b"{}", {}, 400, "expected admission.k8s.io/v1 AdmissionReview", id="empty"),
        pytest.param(
            json.dumps({**review(), "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
            {},
            400,
            "got admission.k8s.io/v1beta1",
            id="an old review",
        ),
        pytest.param(json.dumps(review(uid="")).encode(), {}, 400, "uid is empty", id="no uid"),
        pytest.param(json.dumps(review(uid=5)).encode(), {}, 400, "$.request.uid", id="a number"),
        pytest.param(
            json.dumps(review(object=None)).encode(), {}, 400, "request.object", id="no object"
        ),
        pytest.param(
            json.dumps(review(operation="CONNECT")).encode(), {}, 400, "CONNECT", id="connect"
        ),
        pytest.param(
            json.dumps(review(operation="DELETE", oldObject=cache())).encode(),
            {},
            400,
            "not asked about delete",
            id="another operation",
        ),
        pytest.param(
            json.dumps(
                review(resource={"group": "", "version": "v1", "resource": "pods"})
            ).encode(),
            {},
            400,
            "is about caches.cache.example.com/v1, not about pods./v1",
            id="another resource",
        ),
        pytest.param(b"a: b", {"content_type": "text/yaml"}, 415, "text/yaml", id="yaml"),
        pytest.param(b"", {"method": "GET"}, 405, "reviews are posted", id="a GET"),
        pytest.param(b" " * (17 << 20), {}, 413, "longer than", id="too long"),
    ],
)
async def test_what_is_no_review_is_refused_with_the_reason(
    api: EmbeddedCluster, body: bytes, how: dict[str, str], code: int, says: str
) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> None:
        pytest.fail("nobody asked")

    await install(api.client)
    async with Webhooks(op, api.client, probe=False) as hooks:
        ca = hooks.client_config.ca_bundle
        url = f"{hooks.base_url}{op.validators[0].path}"
        status, answer = await post(url, body, ca=ca, **how)
        elsewhere, _ = await post(f"{hooks.base_url}/validate/elsewhere", b"{}", ca=ca)

    told = json.loads(answer)
    assert (status, told["code"], told["kind"]) == (code, code, "Status")
    assert says in told["message"]
    assert elsewhere == 404


@given(st.data())
async def test_a_review_with_anything_in_it_is_answered_or_refused(data: st.DataObject) -> None:
    op = operator()

    @op.validate(Cache, on="create update delete")
    def check(new: Cache | None, old: Cache | None) -> None: ...

    admission = Admission(op.validators[0], Providers())
    junk = st.none() | st.integers() | st.text(max_size=2) | st.lists(st.none(), max_size=1)
    document = review(operation="UPDATE", oldObject=cache())
    place: Any = document
    for _ in range(data.draw(st.integers(0, 3))):
        if not isinstance(place, dict) or not place:
            break
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict):
            place[key] = data.draw(junk | st.just({}))
        place = place[key]
    if isinstance(place, dict):
        place[data.draw(st.sampled_from(["metadata", "name", "uid", "kind"]))] = data.draw(junk)

    try:
        answer = await admission(json.dumps(document).encode())
    except BadReviewError:
        return
    assert json.loads(answer)["response"]["uid"] == document["request"]["uid"]


async def test_the_uid_is_echoed_and_unknown_fields_do_not_hurt(api: EmbeddedCluster) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> None:
        pass

    await install(api.client)
    async with Webhooks(op, api.client, probe=False) as hooks:
        url = f"{hooks.base_url}{op.validators[0].path}?timeout=10s"
        body = json.dumps(review(uid="one-two", newInKubernetes=[1])).encode()
        status, answer = await post(url, body, ca=hooks.client_config.ca_bundle)

    assert status == 200
    assert json.loads(answer) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "one-two", "allowed": True},
    }


async def test_requests_are_counted_by_who_wants_to(api: EmbeddedCluster) -> None:
    op = operator()
    seen: list[tuple[str, int]] = []

    @op.validate(Cache)
    def check(new: Cache) -> None: ...

    def served(path: str, code: int, seconds: float) -> None:
        assert seconds > 0
        seen.append((path, code))

    await install(api.client)
    async with Webhooks(op, api.client, probe=False, served=served) as hooks:
        await api.client.create(CACHES, cache(), "default")
        await post(f"{hooks.base_url}/elsewhere", b"{}", ca=hooks.client_config.ca_bundle)

    assert seen == [("/validate/caches.cache.example.com/v1/check", 200), ("", 404)]


# -- declarations


def test_what_cannot_be_is_refused_where_it_is_declared() -> None:
    op = operator()

    def wrong(says: str, function: Any, **options: Any) -> None:
        with pytest.raises(EntityError, match=says):
            op.validate(Cache, **options)(function)

    def takes_new(new: Cache) -> None: ...
    def takes_other(new: CacheV1Beta1) -> None: ...
    def takes_old(old: Cache) -> None: ...
    def takes_text(dry_run: str) -> None: ...

    class Nothing: ...

    wrong("new is None on delete", takes_new, on="create delete")
    wrong("old is None on create", takes_old)
    wrong("new is a Cache", takes_other)
    wrong("dry_run is .*bool", takes_text)
    wrong("on='sometimes'", takes_new, on="sometimes")
    wrong("takes 1 to 30 s", takes_new, timeout=60)
    wrong("has none of the methods", Nothing)
    wrong("has no method create", Rules, on="create")
    wrong("scale need not be", takes_new, subresources=["scale"])
    wrong("write key=value", takes_new, selector="team")
    op.validate(Cache, name="one")(takes_new)
    wrong("already a webhook", takes_new, name="one")
    with pytest.raises(EntityError, match="on='delete'"):
        op.mutate(Cache, on="delete")(takes_new)


async def test_what_nobody_provides_is_told_before_anything_starts(api: EmbeddedCluster) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache, billing: Billing) -> None: ...

    await install(api.client)
    with pytest.raises(InjectionError, match="asks for billing"):
        async with Webhooks(op, api.client):
            pass

    assert (await api.client.list(VALIDATING)).items == []


async def test_a_validator_that_returns_something_is_a_mistake(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> bool:
        return False

    await install(api.client)
    async with Webhooks(op, api.client):
        error = await refused(api.client.create(CACHES, cache(), "default"))

    assert "returned bool" in error.message
