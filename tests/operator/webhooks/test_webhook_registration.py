"""What an API server is told of webhooks: put right while they run, taken back afterwards."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.operator.webhooks.kinds import (
    CACHES,
    CRDS,
    MUTATING,
    SECRETS,
    VALIDATING,
    Cache,
    CacheV1Beta1,
    cache,
    definition,
    install,
    names,
)

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator import Invalid, Operator, Webhooks
from cove.operator.errors import EntityError
from cove.operator.webhooks import (
    ClientConfig,
    UnreachableWebhooksError,
    WebhookError,
    conversion,
    rights,
    unregister,
    webhook_configurations,
)
from cove.operator.webhooks import hooks as hooks_module
from cove.operator.webhooks.hooks import _addresses, _urls

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SERVICE = ("default", "cache-operator")
SERVICES = GVR("", "v1", "services")
CRD = "caches.cache.example.com"
DEV = "cache-operator-dev"


class Same:
    """Both versions are alike but for the name of the size."""

    def to_hub(self, old: CacheV1Beta1) -> Cache:
        made = Cache()
        made.spec.size = old.spec.replicas
        return made

    def from_hub(self, new: Cache) -> CacheV1Beta1:
        made = CacheV1Beta1()
        made.spec.replicas = new.spec.size
        return made


def operator(*, limit: int = 5, mutates: bool = False, converts: bool = False) -> Operator:
    op = Operator("cache-operator")

    @op.validate(Cache)
    def check(new: Cache) -> None:
        if new.spec.size > limit:
            raise Invalid(f"at most {limit}", field="spec.size")

    if mutates:

        @op.mutate(Cache)
        def default(new: Cache) -> None:
            new.metadata.labels["seen"] = "yes"

    if converts:
        op.convert(CacheV1Beta1, to=Cache)(Same)
    return op


async def until(true: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(10):
        while not await true():
            await asyncio.sleep(0.01)


async def registered(api: EmbeddedCluster) -> list[str]:
    found = [*(await api.client.list(VALIDATING)).items, *(await api.client.list(MUTATING)).items]
    return sorted(doc["metadata"]["name"] for doc in found)


async def strategy(api: EmbeddedCluster) -> str:
    crd = await api.client.get(CRDS, CRD)
    return str(crd["spec"]["conversion"]["strategy"])


async def serve_as_service(api: EmbeddedCluster) -> None:
    """A Service that leads to loopback, at the very port it is asked for."""
    spec = {"type": "ExternalName", "externalName": "127.0.0.1"}
    await api.client.create(SERVICES, {"metadata": {"name": SERVICE[1]}, "spec": spec}, SERVICE[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- documents


def test_a_configuration_says_all_that_was_declared() -> None:
    op = Operator("cache-operator")

    @op.validate(
        Cache,
        on="create delete",
        subresources=["", "status"],
        match_conditions={"not-me": "request.userInfo.username != 'me'"},
        selector="team=a",
        namespace_selector={"matchExpressions": [{"key": "x", "operator": "Exists"}]},
        failure_policy="Ignore",
        timeout=3,
    )
    def check_it(new: Cache | None) -> None: ...

    @op.mutate(Cache, name="first.hooks.example.com", reinvocation="IfNeeded")
    def first(new: Cache) -> None: ...

    mutating, validating = webhook_configurations(
        op, ClientConfig(service=("ops", "hooks"), port=8443, ca_bundle=b"PEM")
    )

    assert mutating["kind"] == "MutatingWebhookConfiguration"
    assert mutating["metadata"]["name"] == "cache-operator"
    assert names(mutating["webhooks"]) == ["first.hooks.example.com"]
    assert mutating["webhooks"][0]["reinvocationPolicy"] == "IfNeeded"
    assert validating["webhooks"] == [
        {
            "name": "check-it.caches.cache.example.com",
            "clientConfig": {
                "service": {
                    "namespace": "ops",
                    "name": "hooks",
                    "port": 8443,
                    "path": "/validate/caches.cache.example.com/v1/check-it",
                },
                "caBundle": base64.b64encode(b"PEM").decode(),
            },
            "rules": [
                {
                    "operations": ["CREATE", "DELETE"],
                    "apiGroups": ["cache.example.com"],
                    "apiVersions": ["v1"],
                    "resources": ["caches", "caches/status"],
                    "scope": "Namespaced",
                }
            ],
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]},
            "objectSelector": {"matchLabels": {"team": "a"}},
            "sideEffects": "None",
            "timeoutSeconds": 3,
            "admissionReviewVersions": ["v1"],
            "matchConditions": [
                {"name": "not-me", "expression": "request.userInfo.username != 'me'"}
            ],
        }
    ]


async def test_a_server_takes_the_documents(api: EmbeddedCluster) -> None:
    config = ClientConfig(service=("ops", "hooks"))
    op = operator(mutates=True, converts=True)

    for doc in webhook_configurations(op, config):
        made = await api.client.resource_of(doc)
        await api.client.create(made.gvr, doc)
    crd = conversion(definition(Cache, CacheV1Beta1), config)
    created = await api.client.create(CRDS, crd)

    assert await registered(api) == ["cache-operator", "cache-operator"]
    path = created["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["path"]
    assert path == "/convert/caches.cache.example.com"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"base_url": "http://127.0.0.1:1"}, "API servers call https"),
        ({"base_url": "https://x", "service": SERVICE}, "not by both"),
        ({"tunnel": True}, "a tunnel has a base_url"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    api: EmbeddedCluster, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(EntityError, match=says):
        Webhooks(operator(), api.client, **more)


# -- in a cluster


async def test_a_service_leads_to_them_and_the_registration_stays(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1)
    await serve_as_service(api)
    port = free_port()
    op = operator(converts=True)
    how: dict[str, Any] = {
        "service": SERVICE,
        "service_port": port,
        "host": "127.0.0.1",
        "port": port,
    }
    async with Webhooks(op, api.client, **how):
        with pytest.raises(StatusError, match="at most 5"):
            await api.client.create(CACHES, cache(size=6), "default")
        secret = await api.client.get(SECRETS, "cache-operator-webhooks", "default")

    assert await registered(api) == ["cache-operator"]
    assert await strategy(api) == "Webhook"
    found = await api.client.get(VALIDATING, "cache-operator")
    config = found["webhooks"][0]["clientConfig"]
    assert config["caBundle"] == secret["data"]["ca.crt"]
    async with Webhooks(op, api.client, **how):
        await api.client.create(CACHES, cache(size=5), "default")
    await unregister(op, api.client)
    assert await registered(api) == []
    assert await strategy(api) == "None"


async def test_a_bundle_that_somebody_spoilt_is_put_right(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1)
    other = {"name": "other.example.com", "clientConfig": {"url": "https://other.example.com"}}
    other |= {"sideEffects": "None", "admissionReviewVersions": ["v1"]}
    async with Webhooks(operator(converts=True), api.client) as hooks:
        bundle = base64.b64encode(hooks.client_config.ca_bundle).decode()

        live = await api.client.get(VALIDATING, DEV)
        live["webhooks"][0]["clientConfig"]["caBundle"] = ""
        live["webhooks"][0]["timeoutSeconds"] = 7
        live["webhooks"].append(other)
        await api.client.update(VALIDATING, live)
        crd = await api.client.get(CRDS, CRD)
        crd["spec"]["conversion"] = {"strategy": "None"}
        await api.client.update(CRDS, crd)

        async def right() -> bool:
            found = await api.client.get(VALIDATING, DEV)
            return found["webhooks"][0]["clientConfig"].get("caBundle") == bundle  # type: ignore[no-any-return]

        async def converted() -> bool:
            return await strategy(api) == "Webhook"

        await until(right)
        await until(converted)
        found = await api.client.get(VALIDATING, DEV)

    # What others have said there is theirs.
    assert found["webhooks"][0]["timeoutSeconds"] == 7
    assert names(found["webhooks"])[1:] == ["other.example.com"]


async def test_a_configuration_that_is_gone_comes_back(api: EmbeddedCluster) -> None:
    await install(api.client)
    async with Webhooks(operator(), api.client):
        await api.client.delete(VALIDATING, DEV)

        async def there() -> bool:
            return await registered(api) == [DEV]

        await until(there)
        with pytest.raises(StatusError, match="at most 5"):
            await api.client.create(CACHES, cache(size=6), "default")


async def test_the_rights_that_are_told_are_all_that_is_needed(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1)
    await serve_as_service(api)
    op, user = operator(mutates=True, converts=True), "somebody"
    told = rights(op)
    await allow(api, "ClusterRole", told.cluster, user)
    await allow(api, "Role", told.namespace, user)
    document = kubeconfig.load(api.kubeconfig_path)
    connection = replace(document, impersonation={"Impersonate-User": user})
    port = free_port()
    how: dict[str, Any] = {"service": SERVICE, "service_port": port, "port": port}

    async with Client.connect(connection) as client:
        with pytest.raises(StatusError, match="forbidden"):
            await client.list(SECRETS, "default")
        async with Webhooks(op, client, host="127.0.0.1", **how):
            live = await api.client.get(VALIDATING, "cache-operator")
            live["webhooks"][0]["clientConfig"]["caBundle"] = ""
            await api.client.update(VALIDATING, live)

            async def right() -> bool:
                found = await api.client.get(VALIDATING, "cache-operator")
                return "caBundle" in found["webhooks"][0]["clientConfig"]

            await until(right)
        await unregister(op, client)

    assert await registered(api) == []
    assert rights(Operator("bare")) == ([], [])


async def allow(api: EmbeddedCluster, kind: str, rules: list[dict[str, Any]], user: str) -> None:
    group, namespace = "rbac.authorization.k8s.io", None if kind == "ClusterRole" else "default"
    reference = {"apiGroup": group, "kind": kind, "name": "hooks"}
    subject = {"apiGroup": group, "kind": "User", "name": user}
    for doc in (
        {"kind": kind, "rules": rules},
        {"kind": f"{kind}Binding", "roleRef": reference, "subjects": [subject]},
    ):
        doc |= {"apiVersion": f"{group}/v1", "metadata": {"name": "hooks"}}
        gvr = (await api.client.resource_of(doc)).gvr
        await api.client.create(gvr, doc, namespace)


async def test_a_fork_has_webhooks_of_its_own(api: EmbeddedCluster) -> None:
    await install(api.client)
    async with api.fork() as fork, Webhooks(operator(), fork.client):
        with pytest.raises(StatusError, match="at most 5"):
            await fork.client.create(CACHES, cache(size=6), "default")
        await api.client.create(CACHES, cache(size=6), "default")

    assert await registered(api) == []


async def test_a_conversion_needs_its_definition(api: EmbeddedCluster) -> None:
    with pytest.raises(WebhookError, match="is not there: install it"):
        async with Webhooks(operator(converts=True), api.client):
            pass

    assert await registered(api) == []


# -- K18: a developer's process


async def test_a_developers_process_is_asked_directly_and_leaves_nothing(
    api: EmbeddedCluster,
) -> None:
    await install(api.client, Cache, CacheV1Beta1)
    before = await api.client.get(CRDS, CRD)
    async with Webhooks(operator(mutates=True, converts=True), api.client) as hooks:
        assert hooks.base_url == f"https://127.0.0.1:{hooks.port}"
        created = await api.client.create(CACHES, cache(size=5), "default")
        assert await registered(api) == [DEV, DEV]

    after = await api.client.get(CRDS, CRD)
    assert created["metadata"]["labels"] == {"seen": "yes"}
    assert await registered(api) == []
    assert after["spec"] == before["spec"]
    assert "annotations" not in after["metadata"]
    assert (await api.client.list(SECRETS)).items == []
    await api.client.create(CACHES, cache("free", size=6), "default")


async def test_a_base_url_is_registered(api: EmbeddedCluster) -> None:
    await install(api.client)
    url = f"https://localhost:{free_port()}"

    async with Webhooks(operator(), api.client, base_url=url) as hooks:
        found = await api.client.get(VALIDATING, DEV)
        with pytest.raises(StatusError, match="at most 5"):
            await api.client.create(CACHES, cache(size=6), "default")

    assert hooks.base_url == url
    assert found["webhooks"][0]["clientConfig"]["url"].startswith(f"{url}/validate/")


async def test_a_tunnel_is_believed_by_its_own_certificate(api: EmbeddedCluster) -> None:
    await install(api.client)
    how = {"base_url": "https://tunnel.example.com", "tunnel": True, "probe": False}

    async with Webhooks(operator(), api.client, **how):  # type: ignore[arg-type]
        found = await api.client.get(VALIDATING, DEV)

    (webhook,) = found["webhooks"]
    assert "caBundle" not in webhook["clientConfig"]
    assert webhook["clientConfig"]["url"].startswith("https://tunnel.example.com/validate/")


def test_who_listens_everywhere_is_looked_for_at_all_names_of_the_machine() -> None:
    everywhere, here = _urls("0.0.0.0", 9443), _urls("::1", 9443)

    assert everywhere[:2] == ["https://127.0.0.1:9443", "https://host.docker.internal:9443"]
    assert here == ["https://[::1]:9443"]
    assert {urlsplit(url).hostname for url in everywhere} <= {*_addresses("x", "0.0.0.0")}


async def test_the_first_address_that_is_reached_is_taken(
    api: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await install(api.client)
    dead = f"https://127.0.0.1:{free_port()}"
    monkeypatch.setattr(hooks_module, "_urls", lambda host, port: [dead, f"https://{host}:{port}"])

    async with Webhooks(operator(), api.client) as hooks:
        assert hooks.base_url == f"https://127.0.0.1:{hooks.port}"
        assert await registered(api) == [DEV]


async def test_who_may_not_ask_whether_it_is_reached_is_believed(
    api: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await install(api.client)
    create = api.client.create

    async def refuse(gvr: GVR, *args: Any, **more: Any) -> Any:
        if gvr.resource == "configmaps":
            raise StatusError(403, "Forbidden", "configmaps is forbidden")
        return await create(gvr, *args, **more)

    monkeypatch.setattr(api.client, "create", refuse)
    async with Webhooks(operator(), api.client) as hooks:
        pass

    assert hooks.base_url == f"https://127.0.0.1:{hooks.port}"
    assert "cannot be asked: configmaps is forbidden" in caplog.text
    assert await registered(api) == []


async def test_an_address_that_is_not_reached_is_explained(api: EmbeddedCluster) -> None:
    await install(api.client)
    url = f"https://127.0.0.1:{free_port()}"

    with pytest.raises(UnreachableWebhooksError) as e:
        async with Webhooks(operator(), api.client, base_url=url, port=0):
            pass

    assert f"{url}: " in str(e.value)
    assert "connection refused" in str(e.value)
    assert "host.docker.internal" in str(e.value)
    assert await registered(api) == []


async def test_what_a_killed_process_left_is_replaced_by_the_next(
    api: EmbeddedCluster, tmp_path: Path
) -> None:
    await install(api.client, Cache, CacheV1Beta1)
    before = await api.client.get(CRDS, CRD)
    program = tmp_path / "run.py"
    program.write_text(
        "import asyncio, sys\n"
        "from cove.client import Client, kubeconfig\n"
        "from cove.operator import Webhooks\n"
        "from tests.operator.webhooks.test_webhook_registration import operator\n"
        "async def main():\n"
        "    async with Client.connect(kubeconfig.load(sys.argv[1])) as client:\n"
        "        op = operator(mutates=True, converts=True)\n"
        "        async with Webhooks(op, client):\n"
        "            print('ready', flush=True)\n"
        "            await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        str(api.kubeconfig_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    with pytest.raises(StatusError, match="failed calling webhook"):
        await api.client.create(CACHES, cache(size=1), "default")

    # The next one changes and converts nothing any more.
    async with Webhooks(operator(), api.client):
        during = await registered(api)
        strategy_then = await strategy(api)
        await api.client.create(CACHES, cache(size=1), "default")

    assert during == [DEV]
    assert strategy_then == "None"
    assert await registered(api) == []
    assert (await api.client.get(CRDS, CRD))["spec"] == before["spec"]


async def test_a_process_that_was_replaced_leaves_alone_what_is_anothers(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await install(api.client, Cache, CacheV1Beta1)
    first = Webhooks(operator(limit=5, converts=True), api.client)
    await first.__aenter__()
    async with Webhooks(operator(limit=3, converts=True), api.client) as second:

        async def noticed() -> bool:
            return caplog.text.count("has taken over") >= 2

        await until(noticed)
        await first.__aexit__(None, None, None)

        found = await api.client.get(VALIDATING, DEV)
        assert found["webhooks"][0]["clientConfig"]["url"].startswith(second.base_url)
        assert await strategy(api) == "Webhook"
        with pytest.raises(StatusError, match="at most 3"):
            await api.client.create(CACHES, cache(size=4), "default")

    assert await registered(api) == []
    assert await strategy(api) == "None"


async def test_a_conversion_of_others_is_as_before_afterwards(api: EmbeddedCluster) -> None:
    deployed = conversion(
        definition(Cache, CacheV1Beta1), ClientConfig(service=("ops", "hooks"), ca_bundle=b"")
    )
    await api.client.create(CRDS, deployed)
    before = await api.client.get(CRDS, CRD)
    async with Webhooks(operator(converts=True), api.client) as hooks:
        during = await api.client.get(CRDS, CRD)
    after = await api.client.get(CRDS, CRD)

    config = during["spec"]["conversion"]["webhook"]["clientConfig"]
    assert config["url"].startswith(hooks.base_url)
    assert after["spec"]["conversion"] == before["spec"]["conversion"]


async def test_an_operator_without_webhooks_serves_none(api: EmbeddedCluster) -> None:
    async with Webhooks(Operator("bare"), api.client) as hooks:
        assert await registered(api) == []

    assert hooks.port == 0


async def test_somebody_elses_certificate_is_not_believed(api: EmbeddedCluster) -> None:
    await install(api.client)
    async with Webhooks(operator(), api.client) as hooks:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", hooks.port, ssl=context)
